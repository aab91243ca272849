from __future__ import annotations

from mlms.manifests.types import PublishedFigure
from mlms.metrics.published import beside_published

FIGURES = (
    PublishedFigure("top1", 70.0, "other-set"),
    PublishedFigure("top1", 69.5, "my-set", "https://example.org/paper"),
    PublishedFigure("top5", 90.0, "my-set"),
)


def test_the_figure_of_this_metric_on_this_dataset() -> None:
    entry = beside_published("top1", 70.25, "%", 100, "my-set", FIGURES)
    assert entry == {
        "name": "top1",
        "value": 70.25,
        "unit": "%",
        "samples": 100,
        "published": {"value": 69.5, "dataset": "my-set", "source": "https://example.org/paper", "difference": 0.75},
    }


def test_nothing_was_published_for_it() -> None:
    assert beside_published("top1", 70.25, "%", 100, "third-set", FIGURES)["published"] is None
    assert beside_published("f1", 0.5, "", 100, "my-set", FIGURES)["published"] is None
