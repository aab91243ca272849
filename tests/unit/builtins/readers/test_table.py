from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.contexts import context, make
from mlms.builtins.readers import COMPONENTS
from mlms.errors import DataError
from mlms.hooks import Dataset


def read(path: Path, content: str, labels: tuple[str, ...] | None = None, **options: str) -> Dataset:
    path.write_text(content, encoding="utf-8", newline="")
    dataset: Dataset = make(COMPONENTS, "table", options, context(path, labels))
    return dataset


def listed(dataset: Dataset) -> list[tuple[str, Any, Any]]:
    samples = [dataset[index] for index in range(len(dataset))]
    return [(sample.id, sample.value, sample.target) for sample in samples]


def test_csv(tmp_path: Path) -> None:
    content = '\ufefftext,stars\r\n"good, \nreally",5\r\n\r\nbad,1\r\n'
    dataset = read(tmp_path / "a.csv", content, value="text", target="stars")
    assert listed(dataset) == [("0", "good, \nreally", 5), ("1", "bad", 1)]


def test_tsv_with_ids(tmp_path: Path) -> None:
    assert listed(read(tmp_path / "a.tsv", "n\tx\nk1\t1.5\nk2\t2\n", value="x", id="n")) == [
        ("k1", 1.5, None),
        ("k2", 2.0, None),
    ]


def test_jsonl_keeps_its_types(tmp_path: Path) -> None:
    rows = [{"x": "1", "y": 2}, {"x": "ü", "y": 0.5}]
    content = "\n".join(map(json.dumps, rows)) + "\n\n"
    assert listed(read(tmp_path / "a.jsonl", content, value="x", target="y")) == [("0", "1", 2), ("1", "ü", 0.5)]


@pytest.mark.parametrize("column", [["007", "12"], ["1_000", "2"], ["nan", "1"], ["1", ""], ["1", "one"]])
def test_a_csv_column_that_is_not_all_plain_numbers_stays_text(tmp_path: Path, column: list[str]) -> None:
    content = "x,y\n" + "".join(f"{cell},0\n" for cell in column)
    assert [value for _, value, _ in listed(read(tmp_path / "a.csv", content, value="x"))] == column


def test_targets_become_indices_of_declared_labels(tmp_path: Path) -> None:
    content = "x,y\na,neg\nb,pos\n"
    assert [
        target for *_, target in listed(read(tmp_path / "a.csv", content, ("pos", "neg"), value="x", target="y"))
    ] == [
        1,
        0,
    ]


def test_numeric_labels_are_read_as_names_where_all_fit(tmp_path: Path) -> None:
    labels = ("1", "2", "3")
    names = read(tmp_path / "a.csv", "x,y\na,1\nb,3\n", labels, value="x", target="y")
    indices = read(tmp_path / "b.csv", "x,y\na,1\nb,0\n", labels, value="x", target="y")
    assert [target for *_, target in listed(names)] == [0, 2]
    assert [target for *_, target in listed(indices)] == [1, 0]


def test_targets_that_are_labels_and_indices_both_are_refused(tmp_path: Path) -> None:
    """Neither reading is the likelier one, and the wrong one moves every target by a class."""
    labels = ("1", "2", "3")
    with pytest.raises(DataError, match=r"'1' may be the label of class 0, or the index of the label '2'") as caught:
        read(tmp_path / "a.csv", "x,y\na,1\nb,2\n", labels, value="x", target="y")
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}:2")
    same = read(tmp_path / "b.csv", "x,y\na,1\nb,0\n", ("0", "1", "2"), value="x", target="y")
    assert [target for *_, target in listed(same)] == [1, 0]


def test_a_quote_is_a_character_in_tsv(tmp_path: Path) -> None:
    """As GLUE's files have it: read as CSV's quotes, the two would swallow the row between them."""
    content = 'text\tlabel\n"Yes\t1\nfine weather\t0\nNo"\t1\n6" long\t0\n'
    rows = [("0", '"Yes', 1), ("1", "fine weather", 0), ("2", 'No"', 1), ("3", '6" long', 0)]
    assert listed(read(tmp_path / "a.tsv", content, value="text", target="label")) == rows
    quoted = read(tmp_path / "a.csv", 'text,label\n"Yes, ""indeed""",1\n', value="text", target="label")
    assert listed(quoted) == [("0", 'Yes, "indeed"', 1)]


@pytest.mark.parametrize(
    ("name", "content", "line", "problem"),
    [
        ("a.tsv", 'x\ty\n"1\t2"\t3\n', "2", "3 cells"),
        ("a.csv", "x,y\n1,2\n1\n", "3", "1 cells"),
        ("a.csv", "x,x\n1,2\n", "1", "same name"),
        ("a.csv", 'x,y\n"1,2\n', "2", "malformed CSV"),
        ("a.csv", "z,y\n1,2\n", "2", "no column 'x'"),
        ("a.csv", 'x,y\n"a\nb",2\nc\n', "4", "1 cells"),
        ("a.jsonl", '{"x": 1}\n{"x": \n', "2", "malformed JSON"),
        ("a.jsonl", '{"x": 1}\n[1]\n', "2", "no JSON object"),
        ("a.jsonl", '{"x": 1}\n{"z": 1}\n', "2", "no column 'x'"),
        ("a.jsonl", '{"x": 1}\n{"x": null}\n', "2", "not NoneType"),
        ("a.jsonl", '{"x": 1}\n{"x": true}\n', "2", "not bool"),
        ("a.jsonl", '{"x": 1}\n' + "[" * 100_000 + "\n", "2", "malformed JSON"),
    ],
)
def test_bad_rows_are_named_by_line(tmp_path: Path, name: str, content: str, line: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        read(tmp_path / name, content, value="x")
    assert str(caught.value).startswith(f"{tmp_path / name}:{line}:")


def test_a_target_that_is_no_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'meh' is none of") as caught:
        read(tmp_path / "a.csv", "x,y\na,pos\nb,meh\n", ("pos", "neg"), value="x", target="y")
    assert f"{tmp_path / 'a.csv'}:3:" in str(caught.value)


def test_more_digits_than_a_number_has(tmp_path: Path) -> None:
    digits = "9" * 5000
    assert listed(read(tmp_path / "a.csv", f"x\n{digits}\n", value="x")) == [("0", digits, None)]
    with pytest.raises(DataError, match=r"a\.csv:3: there is no class 9{18}\.\.\."):
        read(tmp_path / "a.csv", f"x,y\na,1\na,{digits}\n", ("a", "b"), value="x", target="y")


def test_an_id_that_comes_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="also that of line 2") as caught:
        read(tmp_path / "a.csv", "x,n\na,1\nb,1\n", value="x", id="n")
    assert caught.value.place is not None
    assert caught.value.place.line == 3


@pytest.mark.parametrize(("name", "content"), [("a.csv", ""), ("a.csv", "x,y\n"), ("a.jsonl", "\n"), ("a.xls", "x")])
def test_no_rows_or_no_table(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(DataError, match=r"no rows|no table format"):
        read(tmp_path / name, content, value="x")


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x\n\xff\xfe\n")
    with pytest.raises(DataError, match="not UTF-8"):
        make(COMPONENTS, "table", {"value": "x"}, context(tmp_path / "a.csv"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_text_survives_jsonl(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    content = "".join(json.dumps({"x": text}, ensure_ascii=False) + "\n" for text in texts)
    dataset = read(tmp_path_factory.mktemp("t") / "a.jsonl", content, value="x")
    assert [value for _, value, _ in listed(dataset)] == texts
