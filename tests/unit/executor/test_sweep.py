from typing import Any

import pytest

from mlms import api
from mlms.errors import DocumentError
from mlms.executor.sweep import turns
from mlms.manifests.types import ExecutionSpec, Plan

MANIFEST: dict[str, Any] = {
    "kind": "manifest",
    "schema_version": 1,
    "name": "m",
    "model": "alexnet",
    "weights": "random",
    "dataset": "synthetic",
    "metrics": ["top1"],
}


def plan(**more: Any) -> Plan:
    return api.plan({**MANIFEST, **more}, check=False)


def order(plan: Plan) -> list[str]:
    return [f"{evaluation.seed}{'' if repeat is None else repeat.index}" for evaluation, repeat in turns(plan)]


def test_one_after_the_other_or_in_turn() -> None:
    two = {"matrix": {"seed": [7, 8]}}
    assert order(plan(**two)) == ["7", "8"]
    assert order(plan(**two, interleave=True)) == ["7", "8"]
    assert order(plan(**two, repeat=2)) == ["71", "72", "81", "82"]
    assert order(plan(**two, repeat=2, interleave=True)) == ["71", "81", "72", "82"]


def test_what_makes_a_process_necessary_implies_it() -> None:
    def execution(**more: Any) -> ExecutionSpec:
        return plan(**more).evaluations[0].execution

    assert execution() == ExecutionSpec("none", None, 1, 0, "disabled")
    assert execution(repeat=3).isolation == "process"
    assert execution(timeout=1).isolation == "process"
    assert execution(timeout="2m", cold_start=2, gc="enabled") == ExecutionSpec("process", 120.0, 1, 2, "enabled")
    assert execution(cold_start=2).isolation == "none"
    assert execution(isolation="none", timeout=None, repeat=1).isolation == "none"


@pytest.mark.parametrize("more", [{"timeout": 1}, {"repeat": 2}])
def test_no_isolation_where_it_is_needed_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="can't go with 'isolation: none'"):
        plan(isolation="none", **more)


@pytest.mark.parametrize(
    "more", [{"timeout": 0}, {"timeout": "0s"}, {"timeout": "0.0ms"}, {"repeat": 0}, {"cold_start": -1}]
)
def test_numbers_that_mean_nothing_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        plan(**more)


def test_how_it_is_run_is_not_what_is_run() -> None:
    digest = plan().evaluations[0].digest
    assert plan(isolation="process", timeout="5m", repeat=3, interleave=True).evaluations[0].digest == digest
    assert plan(gc="enabled").evaluations[0].digest != digest
    assert plan(cold_start=1).evaluations[0].digest != digest
