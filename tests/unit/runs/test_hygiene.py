from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.runs.hygiene import (
    Throttling,
    describe_hygiene,
    governor,
    members,
    numa_nodes,
    ranges,
    smt,
    throttling,
    turbo,
)


@given(st.sets(st.integers(0, 300)))
def test_ranges_are_read_back(numbers: set[int]) -> None:
    assert members(ranges(numbers)) == sorted(numbers)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_what_the_kernel_tells(tmp_path: Path) -> None:
    cpu = "devices/system/cpu"
    root = write(
        tmp_path,
        {
            f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave",
            f"{cpu}/cpu1/cpufreq/scaling_governor": "performance",
            f"{cpu}/intel_pstate/no_turbo": "1",
            f"{cpu}/smt/active": "1",
            f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "3",
            f"{cpu}/cpu1/thermal_throttle/core_throttle_count": "4",
            "devices/system/node/node0/cpulist": "0-1",
            "devices/system/node/node1/cpulist": "2-3",
        },
    )
    assert governor([0, 1], root) == "performance, powersave"
    assert governor([1], root) == "performance"
    assert turbo(root) is False
    assert smt(root) is True
    assert numa_nodes([0, 3], root) == [0, 1]
    assert numa_nodes([2], root) == [1]
    assert throttling(root).thermal == 7


@pytest.mark.parametrize(("boost", "on"), [("1", True), ("0", False)])
def test_turbo_of_other_processors(boost: str, on: bool, tmp_path: Path) -> None:
    assert turbo(write(tmp_path, {"devices/system/cpu/cpufreq/boost": boost})) is on


def test_what_the_kernel_keeps_to_itself(tmp_path: Path) -> None:
    assert (governor([0], tmp_path), turbo(tmp_path), smt(tmp_path), numa_nodes([0], tmp_path)) == (None,) * 4
    assert throttling(tmp_path).thermal is None


def test_throttling_is_the_rise_of_what_is_counted() -> None:
    assert Throttling(5, 10).since(Throttling(3, 9)) == 3
    assert Throttling(5, None).since(Throttling(5, None)) == 0
    assert Throttling(None, None).since(Throttling(None, None)) is None


def test_this_machine() -> None:
    described = describe_hygiene()
    assert members(described["affinity"])
    assert len(described["load_average"]) == 3
