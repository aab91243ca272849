"""What a machine was measured to do, in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.records import record
from mlms.analysis.across_stack.roofs import Way, keep_roof, known_roof, machine, way_of
from mlms.errors import StorageError
from mlms.hooks import Roof

WAY = Way("pytorch", "2.15.0+cpu", "cpu", "float32", 2)
ENVIRONMENT: dict[str, Any] = record()["environment"]


def test_what_is_kept_is_found_on_the_same_machine_only(tmp_path: Path) -> None:
    roof = Roof(2e11, ((1024, 1e11), (4096, 5e10)))
    assert known_roof(ENVIRONMENT, WAY, tmp_path) is None
    file = keep_roof(ENVIRONMENT, WAY, roof, tmp_path)
    assert file.parent == tmp_path / "roofs" / machine(ENVIRONMENT)
    assert known_roof(ENVIRONMENT, WAY, tmp_path) == roof
    assert known_roof({**ENVIRONMENT, "gpus": [{"name": "A GPU"}]}, WAY, tmp_path) is None
    assert known_roof(ENVIRONMENT, Way("pytorch", "2.15.0+cpu", "cpu", "float32", 4), tmp_path) is None
    assert known_roof({**ENVIRONMENT, "packages": {}, "variables": {"A": "B"}}, WAY, tmp_path) == roof
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing is left beside it"


def test_the_best_of_all_measurements_stays(tmp_path: Path) -> None:
    keep_roof(ENVIRONMENT, WAY, Roof(2e11, ((1024, 1e11), (4096, 5e10))), tmp_path)
    keep_roof(ENVIRONMENT, WAY, Roof(1e11, ((1024, 2e11), (4096, 4e10))), tmp_path)
    assert known_roof(ENVIRONMENT, WAY, tmp_path) == Roof(2e11, ((1024, 2e11), (4096, 5e10)))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"roof": {}}', '{"roof": {"flops_per_s": 1, "bandwidths": 3}}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    file = keep_roof(ENVIRONMENT, WAY, Roof(1.0, ((1, 1.0),)), tmp_path)
    file.write_text(text)
    assert known_roof(ENVIRONMENT, WAY, tmp_path) is None
    keep_roof(ENVIRONMENT, WAY, Roof(3.0, ((1, 1.0),)), tmp_path)
    assert known_roof(ENVIRONMENT, WAY, tmp_path) == Roof(3.0, ((1, 1.0),))


def test_a_cache_that_cant_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't write here"):
        keep_roof(ENVIRONMENT, WAY, Roof(1.0, ((1, 1.0),)), tmp_path / "file")


def test_how_a_run_was_made() -> None:
    found = record()
    assert way_of(found) == Way("pytorch", "2.15.0", "cpu", "float32", 2)
    assert str(way_of(found)) == "pytorch 2.15.0, cpu, float32, 2 threads"
    found["model"]["describe"]["device"] = "cuda:0"
    assert way_of(found) == Way("pytorch", "2.15.0", "cuda:0", "float32", None)
    found["model"]["describe"] = {}
    assert way_of(found) is None
