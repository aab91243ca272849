from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.exported import FAILED, changed, exported, opened
from fakes.records import record

# junit-10.xsd of Jenkins' xUnit plugin: the attributes that each element may carry, and its children in their order.
COUNTS = {"tests", "failures", "errors", "skipped", "time"}
ATTRIBUTES = {
    "testsuites": {"name", "disabled", *COUNTS},
    "testsuite": {"name", "id", "timestamp", "hostname", "package", "group", "file", "log", "url", "version", *COUNTS},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time", "status", "assertions", "class", "file", "line", "group", "url"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}


def parsed(text: str) -> ElementTree.Element:
    """The document, held against the schema's structure."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set()), element.tag
    for suite in root:
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert all(len(case) <= 1 and case.get("name") and case.get("classname") for case in cases)
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(kind) == str(len(suite.findall(f"testcase/{tag}")))
        assert float(suite.get("time", "-1")) >= 0
    return root


def verdicts(suite: ElementTree.Element) -> dict[str, str]:
    return {str(case.get("name")): case[0].tag if len(case) else "passed" for case in suite.findall("testcase")}


def published(reproduced: bool | None) -> list[dict[str, object]]:
    metric = record()["metrics"][0]
    return [{**metric, "published": {**metric["published"], "reproduced": reproduced}}]


@pytest.mark.parametrize(("reproduced", "verdict"), [(True, "passed"), (False, "failure"), (None, "skipped")])
def test_a_good_run_passes_and_published_figures_are_judged(
    reproduced: bool | None, verdict: str, tmp_path: Path
) -> None:
    run = opened(tmp_path)
    run.record["metrics"] = published(reproduced)
    (suite,) = parsed(exported("junit", run))
    assert verdicts(suite) == {
        "the evaluation finishes": "passed",
        "the scenario is valid": "passed",
        "top1 is as published": verdict,
    }
    assert suite.get("timestamp") == "2026-11-23T21:15:00"
    assert suite.get("time") == "6.876544"
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["top1"] == "98.8889 %"
    assert "top1: 98.8889 %" in str(suite.findtext("system-out"))


def test_an_invalid_load_fails_with_its_reasons(tmp_path: Path) -> None:
    problems = ["100 queries where 662 are needed", "raise min_queries"]
    (suite,) = parsed(exported("junit", opened(tmp_path, **changed("scenario", valid=False, problems=problems))))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == problems[0]
    assert failure.text == "\n".join(problems)


def test_a_failed_run_is_an_error_and_counts_add_up(tmp_path: Path) -> None:
    root = parsed(exported("junit", opened(tmp_path, "a"), opened(tmp_path, "b", **FAILED)))
    error = root.find("testsuite[2]/testcase/error")
    assert error is not None
    assert (error.get("type"), error.get("message"), error.text) == ("ModelError", "it broke � <badly>", "mend it")
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("5", "1", "0")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_any_text_gives_well_formed_xml(text: str, tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.record["name"] = text or "x"
    run.record["warnings"] = [text]
    exported("junit", run).encode()
    parsed(exported("junit", run))
