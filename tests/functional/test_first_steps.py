"""What somebody new tries, rightly or not, and what they are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fakes.program import Ended, mlms
from fakes.records import write_run


def refused(ended: Ended, *told: str) -> None:
    assert ended.code == 2
    assert ended.out == ""
    for text in told:
        assert text in ended.err


def test_singular_and_plural_are_both_understood() -> None:
    assert mlms("list", "exporter").out == mlms("list", "exporters").out != ""
    assert mlms("show", "processors", "resize").out == mlms("show", "processor", "resize").out != ""
    refused(mlms("list", "modles"), "there are no 'modles'", "did you mean 'models'?")
    refused(mlms("show", "modle", "alexnet"), "'modle' is no kind", "did you mean 'model'?")
    refused(mlms("show", "thing", "alexnet"), "one of model, framework, dataset, processor")


@pytest.mark.parametrize("filter_", [["--task", "image_classification"], ["--framework", "pytorch"], ["--tag", "x"]])
def test_a_filter_that_can_not_apply_is_refused_and_not_answered_with_nothing(filter_: list[str]) -> None:
    refused(mlms("list", "processors", *filter_), "processors have a --name only")


def test_a_component_without_options_says_so() -> None:
    assert "options: none" in mlms("show", "exporter", "markdown").out
    assert mlms("show", "exporter", "markdown", "--json").data[0]["options"]["additionalProperties"] is False


def test_validate_names_the_nearest_kind() -> None:
    Path("b.yaml").write_text("kind: modle\n", "utf-8")
    refused(mlms("validate", "b.yaml"), "b.yaml:1:7: unknown kind 'modle'", "did you mean 'model'?")
    Path("c.yaml").write_text("name: x\n", "utf-8")
    refused(mlms("validate", "c.yaml"), "missing key 'kind'")


def test_validate_takes_a_record(workplace: Path) -> None:
    path = write_run(workplace / "runs") / "run.json"
    assert mlms("validate", path).out == f"{path}: valid run digits-cnn\n"
    path.write_text(path.read_text("utf-8").replace('"finished"', '"done"'), "utf-8")
    refused(mlms("validate", path), "'done'", "status")


def test_doctor_leaves_nothing_behind(workplace: Path) -> None:
    ended = mlms("doctor")
    assert ended.code == 0
    assert re.search(r"frameworks: [1-9]", ended.out)
    assert list(workplace.iterdir()) == []


def test_no_runs_yet_says_where_and_what_to_do() -> None:
    ended = mlms("runs", "list", "--output", "elsewhere")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "there are no runs in 'elsewhere'; `mlms eval MANIFEST` makes one\n"
    refused(mlms("runs", "show", "@last"), "there are no runs in 'runs'", "mlms eval MANIFEST")


def test_no_position_is_given_in_a_manifest_that_nobody_wrote() -> None:
    wrong = mlms("run", "image_classification", "--model", "digits-cnn", "--trace-level", "deep")
    refused(wrong, "error: the manifest: 'deep' is not allowed here at 'trace.level'", "none, application, model")


def test_a_name_that_is_none_comes_with_the_rule() -> None:
    refused(mlms("init", "model", "../x"), "'../x' is not a name", "begin with a letter or digit")
