import json
from pathlib import Path

from fakes.exported import FAILED, exported, opened
from mlms.runs.record import check


def test_one_run_is_its_record(tmp_path: Path) -> None:
    run = opened(tmp_path, name="Größe")
    text = exported("json", run)
    assert json.loads(text) == run.record
    assert "Größe" in text
    check(json.loads(text), tmp_path)


def test_several_runs_are_a_list(tmp_path: Path) -> None:
    runs = [opened(tmp_path, "a"), opened(tmp_path, "b", **FAILED)]
    assert json.loads(exported("json", *runs)) == [run.record for run in runs]
