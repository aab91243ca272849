"""The profilers for NVIDIA GPUs where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.program import mlms
from mlms.runs.run import Run


def test_without_a_gpu_one_line_says_what_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCUPTI_LIBCUDA", str(tmp_path / "libcuda.so.1"))
    ended = mlms(
        *("run", "image_classification", "--model", "digits-cnn", "--dataset", "digits-test", "--device", "cpu"),
        *("--min-queries", "16", "--min-duration", "10ms", "--quiet", "--output", str(tmp_path)),
        *("--trace-level", "layer", "--profiler", "cupti", "--profiler", "cupti_counters"),
    )
    assert ended.code == 0, ended.err
    (path,) = (path for path in tmp_path.iterdir() if (path / "run.json").is_file())
    (warning,) = (warning for warning in Run(path).record["warnings"] if "cupti" in warning)
    assert warning.startswith("cupti: off: ")
    assert "(" in warning  # the mend


def test_the_doctor_says_whether_gpu_work_can_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCUPTI_LIBCUDA", str(tmp_path / "libcuda.so.1"))
    ended = mlms("doctor")
    assert ended.code == 0, ended.err
    (line,) = (line for line in ended.out.splitlines() if "profiler cupti:" in line)
    assert "off" in line
