"""A score beside the figure somebody published for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlms.manifests.types import PublishedFigure


def beside_published(
    metric: str, value: float, unit: str, samples: int, dataset: str, published: Sequence[PublishedFigure]
) -> Mapping[str, Any]:
    """One entry of the record's ``metrics``; ``published`` is None where nothing was published for this dataset."""
    figure = next((item for item in published if item.metric == metric and item.dataset == dataset), None)
    return {
        "name": metric,
        "value": value,
        "unit": unit,
        "samples": samples,
        "published": figure
        and {
            "value": figure.value,
            "dataset": figure.dataset,
            "source": figure.source,
            "difference": value - figure.value,
        },
    }
