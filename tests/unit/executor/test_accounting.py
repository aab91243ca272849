from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlms.errors import ModelError
from mlms.executor.accounting import power_sampled, resources
from mlms.executor.loading import LoadedModel
from mlms.hooks import Batch, Outputs
from mlms.pipeline.preparation import Prepared
from mlms.profilers.energy import Energy
from mlms.profilers.region import MeasuredRegion

LOADED = [Prepared(index, str(index), None, {"x": np.zeros(4, dtype=np.float32)}) for index in range(2)]


class Plain:
    def predict(self, batch: Batch) -> Outputs:
        return {"y": batch["x"]}

    def describe(self) -> Mapping[str, Any]:
        return {"parameters": 10, "size_bytes": 40}

    def close(self) -> None:
        pass


class Telling(Plain):
    def flops(self, batch: Batch) -> int | None:
        return 100 * len(batch["x"])

    def device_peak_bytes(self) -> int | None:
        return 12345


class Failing(Plain):
    def flops(self, batch: Batch) -> int | None:
        raise ArithmeticError("can't count")


def taken(predictor: Plain, energy: Energy | None = None, batch_size: int = 3) -> dict[str, Any]:
    with MeasuredRegion("disabled") as region:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
    answered = (0, 1), {"y": np.zeros((2, 1), dtype=np.float32), "words": ["a", "b"]}
    return resources(region, LoadedModel("net", predictor), LOADED, batch_size, answered, energy)


def test_what_a_predictor_tells() -> None:
    found = taken(Telling(), Energy("NVML GPU-1", 5.0, 2.0, 30, 99))
    assert found["flops_per_sample"] == 100
    assert found["arithmetic_intensity"] == 300 / (40 + 3 * 4 * 4 + 3 * 4)
    assert (found["device_peak_bytes"], found["device_used_bytes"]) == (12345, 99)
    assert (found["energy_joules"], found["energy_idle_watts"], found["energy_samples"]) == (5.0, 2.0, 30)
    assert 0.04 < found["cpu_seconds"] < 0.5
    assert found["cpu_share"] > 0


def test_what_it_does_not_tell_is_null() -> None:
    found = taken(Plain())
    nulls = {key for key, value in found.items() if value is None}
    energy = {"energy_joules", "energy_idle_watts", "energy_source", "device_used_bytes"}
    assert nulls == {"device_peak_bytes", "flops_per_sample", "arithmetic_intensity", *energy}


def test_a_counter_that_was_lost_is_null() -> None:
    assert taken(Plain(), Energy("RAPL", float("nan"), None, 30, None))["energy_joules"] is None


def test_a_predictor_that_fails_at_it_is_named() -> None:
    with pytest.raises(ModelError, match="model 'net' failed to account for itself: ArithmeticError: can't count"):
        taken(Failing())


def test_where_nothing_is_metered_nothing_waits(tmp_path: Path) -> None:
    start = time.monotonic()
    with power_sampled(tmp_path) as power, MeasuredRegion("disabled") as region:
        pass
    energy = power.energy(region, None)
    if energy is None:
        assert time.monotonic() - start < 1
        assert list(tmp_path.iterdir()) == []
    else:  # a machine with meters: a region this short gets no figure
        assert energy.joules is None
