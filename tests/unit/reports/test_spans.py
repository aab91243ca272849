from __future__ import annotations

import polars as pl
import pytest

from fakes.stored_run import LAYERS, stored_run
from mlms.reports.spans import CHILDREN, DEPTH, EXAMPLES, Line, Tree, span_tree

COLUMNS = ("span_id", "parent_id", "name", "start_ns", "end_ns")


def table(*rows: tuple[str, str | None, str, int, int]) -> pl.DataFrame:
    schema = {name: pl.Int64 if name.endswith("_ns") else pl.String for name in COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        trace_id=pl.lit("t"),
        level=pl.lit("application"),
        status=pl.lit("unset"),
        status_message=pl.lit(None, pl.String),
        attributes=pl.lit("{}"),
    )


def folded(spans: pl.DataFrame) -> Tree:
    tree = span_tree(spans)
    assert tree is not None
    return tree


def outline(lines: list[Line], indent: str = "") -> list[str]:
    found = []
    for line in lines:
        found.append(f"{indent}{line.count} {line.name} {line.total_ns}")
        found += outline(list(line.children), indent + "  ")
    return found


def test_siblings_of_one_name_are_one_line() -> None:
    spans = table(
        ("1", None, "evaluate", 0, 100),
        ("2", "1", "load", 0, 30),
        ("3", "1", "predict", 30, 40),
        ("4", "1", "predict", 40, 60),
        ("5", "3", "forward", 31, 39),
        ("6", "4", "forward", 41, 59),
    )
    tree = folded(spans)
    assert outline(list(tree.lines)) == ["1 evaluate 100", "  1 load 30", "  2 predict 30", "    2 forward 26"]
    predict = tree.lines[0].children[1]
    assert (predict.median_ns, predict.share) == (15.0, 30.0)
    assert [(entry.offset_ns, entry.duration_ns) for entry in predict.examples] == [(30, 10), (40, 20)]
    assert tree.unplaced == 0


def test_a_thousand_predictions_keep_the_first_few() -> None:
    run = stored_run(1024, layers=True)
    tree = folded(run.spans)
    measure = next(line for line in tree.lines[0].children if line.name == "measure")
    (predict,) = measure.children
    assert (predict.count, len(predict.examples)) == (1024, EXAMPLES)
    forward = next(line for line in predict.children if line.name == "forward")
    assert [line.name for line in forward.children] == list(LAYERS)
    assert (tree.spans, tree.unplaced) == (run.spans.height, 0)


def test_a_span_whose_parent_is_elsewhere_is_a_root() -> None:
    assert outline(list(folded(table(("1", "caller", "evaluate", 0, 9))).lines)) == ["1 evaluate 9"]


def test_spans_in_a_loop_are_counted_not_followed() -> None:
    tree = folded(table(("1", None, "a", 0, 9), ("2", "3", "b", 0, 9), ("3", "2", "c", 0, 9)))
    assert outline(list(tree.lines)) == ["1 a 9"]
    assert tree.unplaced == 2


def test_deep_trees_are_cut() -> None:
    chain = [(str(n), str(n - 1) if n else None, f"s{n}", n, 1000 - n) for n in range(60)]
    assert folded(table(*chain)).unplaced == 60 - DEPTH


def test_names_without_number_are_cut_to_those_with_most_time() -> None:
    children = [(f"c{n}", "root", f"name{n}", 10 * n, 10 * n + n) for n in range(1, 101)]
    tree = folded(table(("root", None, "root", 0, 2000), *children))
    (root,) = tree.lines
    assert [line.name for line in root.children] == [f"name{n}" for n in range(101 - CHILDREN, 101)]
    assert (root.omitted, tree.unplaced) == (100 - CHILDREN, 100 - CHILDREN)


def test_failures_are_counted_with_their_messages() -> None:
    spans = table(("1", None, "predict", 0, 9), ("2", None, "predict", 9, 18)).with_columns(
        status=pl.Series(["unset", "error"]), status_message=pl.Series([None, "out of memory"])
    )
    (line,) = folded(spans).lines
    assert line.failed == 1
    assert [(entry.failed, entry.message) for entry in line.examples] == [(False, ""), (True, "out of memory")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            '{"batch_size": 8, "shape": [1, 2], "model": "a"}',
            [("batch_size", "8"), ("shape", "[1, 2]"), ("model", "a")],
        ),
        ("not json", [("attributes", "not json")]),
        ("[1]", [("attributes", "[1]")]),
        (None, []),
    ],
)
def test_attributes(text: str | None, shown: list[tuple[str, str]]) -> None:
    spans = table(("1", None, "a", 0, 9)).with_columns(attributes=pl.lit(text, pl.String))
    assert folded(spans).lines[0].examples[0].attributes == shown


def test_no_spans_have_no_tree() -> None:
    assert span_tree(table()) is None
