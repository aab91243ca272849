from __future__ import annotations

import polars as pl
import pytest

from mlms.reports.predictions import MISTAKES, Confusion, Mistake, mistakes

FRAME = pl.DataFrame(
    {
        "sample": ["a", "b", "c", "d", "e", "f"],
        "target": [0, 0, 1, 1, 1, None],
        "class": [0, 1, 1, 0, 0, 1],
        "label": ["cat", "dog", "dog", "cat", "cat", "dog"],
        "scores": [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.55, 0.45], [0.5, 0.5]],
    }
)


def test_confusions_mistakes_and_matrix() -> None:
    found = mistakes(FRAME, None)
    assert found is not None
    assert (found.samples, found.wrong) == (5, 3)
    assert found.confusions == [Confusion("dog", "cat", 2, 200 / 3), Confusion("cat", "dog", 1, 50.0)]
    assert found.most == [
        Mistake("d", "dog", "cat", 0.7),
        Mistake("b", "cat", "dog", 0.6),
        Mistake("e", "dog", "cat", 0.55),
    ]
    assert found.least == []
    assert found.matrix is not None
    assert (found.matrix.classes, found.matrix.counts) == (["cat", "dog"], [[1, 1], [2, 1]])


def test_labels_of_the_dataset_come_first() -> None:
    found = mistakes(FRAME, ["Felis", "Canis"])
    assert found is not None
    assert found.matrix is not None
    assert found.matrix.classes == ["Felis", "Canis"]


def test_a_class_beyond_the_labels_keeps_its_number() -> None:
    found = mistakes(FRAME, ["Felis"])
    assert found is not None
    assert found.matrix is not None
    assert found.matrix.classes == ["Felis", "1"]


def test_scores_and_labels_are_optional() -> None:
    found = mistakes(FRAME.drop("scores", "label"), None)
    assert found is not None
    assert found.most == [Mistake("b", "0", "1", None), Mistake("d", "1", "0", None), Mistake("e", "1", "0", None)]


def test_many_mistakes_show_both_ends() -> None:
    count = 30
    frame = pl.DataFrame(
        {
            "sample": [f"{index:02}" for index in range(count)],
            "target": [0] * count,
            "class": list(range(1, count + 1)),
            "scores": [[index / count] for index in range(count)],
        }
    )
    found = mistakes(frame, None)
    assert found is not None
    assert [entry.sample for entry in found.most] == [f"{index:02}" for index in range(29, 29 - MISTAKES, -1)]
    assert [entry.sample for entry in found.least] == [f"{index:02}" for index in range(MISTAKES - 1, -1, -1)]
    assert found.matrix is None


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.drop("target"),
        FRAME.drop("class"),
        FRAME.head(0),
        FRAME.with_columns(target=pl.lit(None, pl.Int64)),
        FRAME.with_columns(target=pl.lit("a text")),
    ],
    ids=["no target", "another task", "empty", "no targets known", "targets of another kind"],
)
def test_tables_that_are_no_classification(frame: pl.DataFrame) -> None:
    assert mistakes(frame, None) is None
