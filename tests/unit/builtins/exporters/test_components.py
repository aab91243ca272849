"""What every exporter must do, whatever its format."""

import copy
from pathlib import Path
from typing import Any

import pytest

from fakes.exported import exported, opened, write_loadgen_logs
from mlms.builtins.exporters import COMPONENTS
from mlms.hooks import Component, Context, Exporter
from mlms.manifests.schema import problems_against

OPTIONS = {"huggingface": {"dataset": "org/digits"}}


def by_name(component: Component[Exporter]) -> str:
    return component.name


@pytest.mark.parametrize("component", COMPONENTS, ids=by_name)
def test_the_protocol(component: Component[Exporter], tmp_path: Path) -> None:
    options: dict[str, Any] = OPTIONS.get(component.name, {})
    assert problems_against(component.options, options, path=None) == []
    assert problems_against(component.options, {"no-such-option": 1}, path=None)
    assert component.summary.endswith(".")
    assert "\n" not in component.summary
    exporter = component.make(options, Context(labels=lambda name: ()))
    assert isinstance(exporter, Exporter)
    assert exporter.writes in ("text", "folder")
    run = opened(tmp_path / "runs")
    write_loadgen_logs(run)
    before = copy.deepcopy(run.record)
    files = sorted(run.path.rglob("*"))
    made = []
    for number in range(2):
        target = tmp_path / str(number)
        target.mkdir()
        made.append(exported(component.name, run, target=target if exporter.writes == "folder" else None, **options))
        assert any(target.iterdir()) == (exporter.writes == "folder")
    assert made[0] == made[1], "the same run gives the same document"
    assert made[0].strip()
    assert run.record == before
    assert sorted(run.path.rglob("*")) == files
    assert str(tmp_path) not in made[0], "no path of this machine"
