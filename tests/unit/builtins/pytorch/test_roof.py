"""What PyTorch measures of this machine: orders of magnitude only, since tests share it."""

from __future__ import annotations

import pytest
import torch

from mlms.builtins.pytorch import roof
from mlms.builtins.pytorch.framework import PyTorch
from mlms.errors import DeviceError, InputError
from mlms.hooks import MeasuresRoof


def test_a_machine_is_measured_and_its_settings_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roof, "SECONDS", 0.02)
    monkeypatch.setattr(roof, "MOST_SECONDS", 0.1)
    before = (torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32)
    framework = PyTorch()
    assert isinstance(framework, MeasuresRoof)
    found = framework.measure_roof("cpu", "float32", 1)
    assert (torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32) == before
    assert 1e8 < found.flops_per_s < 1e15
    assert [size for size, _ in found.bandwidths] == sorted(roof.WORKING_SETS)
    assert all(1e7 < rate < 1e14 for _, rate in found.bandwidths)


def test_half_precision_is_no_slower_than_computing_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {torch.float16: 1e9, torch.float32: 2e11, torch.bfloat16: 4e11}
    monkeypatch.setattr(roof, "_matmul", lambda device, dtype: rates[dtype])
    monkeypatch.setattr(roof, "_triad", lambda device, size: 1e10)
    cpu = torch.device("cpu")
    measured = [roof.measure_roof(cpu, dtype, None).flops_per_s for dtype in rates]
    assert measured == [2e11, 2e11, 4e11]


def test_what_cant_be_measured_is_told() -> None:
    with pytest.raises(InputError, match="dtype 'int3'"):
        PyTorch().measure_roof("cpu", "int3", None)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError):
            PyTorch().measure_roof("cuda", "float32", None)
