import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlms.errors import DocumentError
from mlms.manifests import yaml12


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request, monkeypatch):
    """Every test runs on libyaml and on PyYAML's own parser."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML without libyaml")
    monkeypatch.setattr(yaml12, "LOADER", getattr(yaml, request.param))


def read(text):
    return yaml12.load(text, "x.yaml")


def problems(text):
    with pytest.raises(DocumentError) as caught:
        read(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, word) for word in ("no", "yes", "on", "off", "y", "n", "No", "ON")],
        *[("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None), ("Null", None)],
        *[("8", 8), ("-8", -8), ("+8", 8), ("007", 7), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1"), ("1_000", "1_000")],
        *[("1e-3", 0.001), ("1E3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-1.5e+2", -150.0), ("1.2.3", "1.2.3")],
        *[("1/255", "1/255"), ("1:30", "1:30"), ("2026-11-23", "2026-11-23"), ("-", None), (".", "."), ("+", "+")],
        *[("'8'", "8"), ('"null"', "null"), ("!!str 8", "8"), ("!!float 3", 3.0), ("!!int 3", 3), ("! 8", "8")],
        *[("=", "="), ("nan", "nan"), ("inf", "inf"), ("1e", "1e"), ("0o18", "0o18"), ("tRUE", "tRUE")],
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    if text == "-":
        assert read("a: [x, -1]")["a"] == ["x", -1]
        return
    result = read(f"key: {text}")["key"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_refused(text):
    (problem,) = problems(f"a: 1\nb: {text}")
    assert (problem.place.line, problem.place.column, problem.path) == (2, 4, "b")
    assert "finite" in problem.message


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 4000, "0o" + "7" * 5000])
def test_number_with_too_many_digits_is_refused(number):
    assert "digits" in problems(f"a: {number}")[0].message


def test_duplicate_keys_are_all_reported_with_their_first_line():
    first, second = problems("a: 1\nb: {c: 1, c: 2}\na: 3")
    assert (first.place.line, first.place.column, first.path) == (2, 11, "b.c")
    assert (second.place.line, second.path) == (3, "a")
    assert "first in line 1" in second.message


@pytest.mark.parametrize("key", ["8", "true", "null", "1.5", "[a]", "{a: b}", "~"])
def test_keys_must_be_text(key):
    (problem,) = problems(f"a:\n  ? {key}\n  : 1")
    assert "must be text" in problem.message
    assert problem.place.line == 2


def test_words_of_yaml_1_1_are_keys():
    assert read("no: 1\non: 2\n'8': 3") == {"no": 1, "on": 2, "8": 3}


def test_merge_keys_are_refused_but_quoted_ones_are_text():
    assert "merge keys" in problems("a: &a {x: 1}\nb:\n  <<: *a")[0].message
    assert read("'<<': 1") == {"<<": 1}


def test_tab_indentation_is_named():
    (problem,) = problems("a:\n\tb: 1")
    assert "tab" in problem.message
    assert problem.hint == "indent with spaces"
    assert problem.place.line == 2


def test_aliases_give_equal_but_separate_values():
    data = read("a: &x {n: [1]}\nb: *x\nc: *x")
    assert data["a"] == data["b"] == data["c"] == {"n": [1]}
    data["b"]["n"].append(2)
    assert data["a"] == {"n": [1]}


def test_billion_laughs_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert "aliases stand for more than" in problems("\n".join(lines))[-1].message


def test_cycles_and_unknown_aliases_are_refused():
    assert "inside its own anchor" in problems("a: &a [1, *a]")[0].message
    assert problems("a: *b")


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000])
def test_deep_nesting_is_refused(text):
    assert "nested more than" in problems(text)[0].message


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object:os.system x", "a: !foo {}", "a: !!set {x}", "a: !!int x", "a: !!bool yes", "a: !!binary aGk="],
)
def test_tags_are_refused(text):
    assert "tag" in problems(text)[0].message


def test_a_second_document_is_refused():
    (problem,) = problems("a: 1\n---\nb: 1")
    assert "second document" in problem.message
    assert problem.place.line == 2


@pytest.mark.parametrize(
    "text", ["a: b: c", "a: [1, 2", "a: {b: 1", 'a: "x', "a: 'x", "a\nb: 1", "- a\nb: 1", "a: \x07"]
)
def test_syntax_errors_are_problems(text):
    assert problems(text)[0].message


def test_positions_of_values_and_keys():
    positions = {}
    yaml12.load("a:\n  - b: 1\n    c: [2, 33]\n", "x", positions)
    assert positions[("a", 0, "c", 1), False] == (3, 12)
    assert positions[("a", 0, "c"), True] == (3, 5)
    assert positions[(), False] == (1, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abcdefgh<", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def test_json_reads_as_itself():
    import json

    @given(json_values)
    def check(value):
        result = read(json.dumps({"v": value}))["v"]
        assert result == value
        assert not isinstance(result, float) or math.isfinite(result)

    check()


def test_dotted():
    assert yaml12.dotted(("input", 0, "dtype")) == "input[0].dtype"
    assert yaml12.dotted(()) == ""
