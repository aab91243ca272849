import json
import time
from pathlib import Path

import numpy as np
import pytest

from mlms.profilers.energy import read_energy
from mlms.profilers.meters import meters
from mlms.profilers.sampler import Sampler

S = 1_000_000_000


def write(path: Path, watts: float = 40.0, wraps_at: float = 1e6, every: int = S // 20, start: int = 10**18) -> Path:
    """Samples over four seconds: a package at constant power, and a GPU at 100 W that fills its memory."""
    lines = [{"meters": ["package-0 (intel-rapl:0)", "GPU-1"], "wraps_at": [wraps_at, None], "memory": ["GPU-1"]}]
    rows = [
        [start + at, (7 + watts * at / S) % wraps_at, 100 * at / S, at // every] for at in range(0, 4 * S + 1, every)
    ]
    path.write_text("\n".join(json.dumps(line) for line in [*lines, *rows]) + "\n")
    return path


def window(start: float, end: float) -> tuple[int, int]:
    return 10**18 + int(start * S), 10**18 + int(end * S)


def test_energy_is_power_over_the_window(tmp_path: Path) -> None:
    energy = read_energy(write(tmp_path / "power"), window(1.51, 3.51), window(0, 1), None)
    assert energy is not None
    assert energy.joules == pytest.approx(80.0)
    assert energy.idle_watts is not None
    assert energy.idle_watts == pytest.approx(40.0)
    assert (energy.source, energy.samples, energy.used_bytes) == ("RAPL package-0 (intel-rapl:0)", 40, None)


def test_counters_that_wrap_go_on(tmp_path: Path) -> None:
    energy = read_energy(write(tmp_path / "power", wraps_at=50.0), window(1.5, 3.5), window(0, 1), None)
    assert energy is not None
    assert energy.joules == pytest.approx(80.0)


def test_the_gpu_in_use_counts_and_no_other(tmp_path: Path) -> None:
    energy = read_energy(write(tmp_path / "power"), window(1, 3), window(0, 1), "GPU-1")
    assert energy is not None
    assert energy.joules == pytest.approx(280.0)
    assert energy.source == "RAPL package-0 (intel-rapl:0) + NVML GPU-1"
    assert energy.used_bytes == 60


def test_a_short_window_is_refused(tmp_path: Path) -> None:
    energy = read_energy(write(tmp_path / "power"), window(1, 1.9), window(0, 1), None)
    assert energy is not None
    assert (energy.joules, energy.samples) == (None, 19)


def test_nothing_without_a_counter_of_what_was_used(tmp_path: Path) -> None:
    lines = [{"meters": ["GPU-1"], "wraps_at": [None], "memory": ["GPU-1"]}, [0, 1.0, 5]]
    (tmp_path / "power").write_text("\n".join(map(json.dumps, lines)))
    assert read_energy(tmp_path / "power", (0, 1), (0, 1), None) is None


def powercap(root: Path) -> Path:
    for name, label in {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram"}.items():
        (root / name).mkdir()
        (root / name / "name").write_text(label + "\n")
        (root / name / "energy_uj").write_text("1500000\n")
        (root / name / "max_energy_range_uj").write_text("262143328850\n")
    return root


def test_domains_that_overlap_are_not_added_up(tmp_path: Path) -> None:
    found = [meter for meter in meters(powercap(tmp_path)) if not meter.name.startswith("GPU-")]
    assert [meter.name for meter in found] == ["package-0 (intel-rapl:0)", "dram (intel-rapl:0:1)"]
    assert [meter.joules() for meter in found] == [1.5, 1.5]
    assert found[0].wraps_at == pytest.approx(262143.32885)


def test_a_sampler_is_a_process_that_stops_when_told(tmp_path: Path) -> None:
    folder = tmp_path / "powercap"
    folder.mkdir()
    powercap(folder)
    sampler = Sampler.start(tmp_path / "samples", folder)
    assert sampler is not None
    time.sleep(2)
    sampler.stop()
    sampler.stop()
    head, *rows = map(json.loads, (tmp_path / "samples").read_text().splitlines())
    assert head["meters"][:2] == ["package-0 (intel-rapl:0)", "dram (intel-rapl:0:1)"]
    assert rows[0][1:3] == [1.5, 1.5]
    steps = np.diff([row[0] for row in rows]) / S
    assert len(rows) > 5
    assert np.median(steps) == pytest.approx(0.05, abs=0.02)


def test_no_process_where_nothing_is_metered(tmp_path: Path) -> None:
    if any(meter.name.startswith("GPU-") for meter in meters()):
        pytest.skip("a GPU is metered")
    assert Sampler.start(tmp_path / "samples", tmp_path) is None
