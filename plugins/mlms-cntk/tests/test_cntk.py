"""digits-cnn in CNTK's environment: figures beside PyTorch's, what its profile says, and files that it can't run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlms.errors import InputError
from mlms.serving.process import Worker
from mlms.testing.served_digits import ServedDigitsContract

PACKAGE = Path(__file__).parents[1] / "mlms_cntk"
MODELS = PACKAGE / "assets/models/digits"


class TestServedDigits(ServedDigitsContract):
    framework = "cntk"
    module = PACKAGE / "serving.py"
    weights = MODELS / "digits-cnn.model"
    layers = (
        *("conv1", "conv1_bias", "relu1", "conv2", "conv2_bias", "relu2", "pool", "flatten"),
        *("fc1", "fc1_bias", "relu3", "fc2", "fc2_bias"),
    )
    first_type = "Convolution"

    def test_an_onnx_file_that_cntk_can_not_read(self, worker: Worker, tmp_path: Path) -> None:
        file = tmp_path / "model.onnx"
        file.write_bytes(b"rubbish")
        with pytest.raises(InputError, match=r"model\.onnx"):
            self.load(worker, file)


def test_without_open_mpi_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlms_cntk import serving

    monkeypatch.setattr(serving, "_loads", lambda name: False)
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: type("Spec", (), {"origin": "/cntk/x.py"}))
    with pytest.raises(ValueError, match="Open MPI") as refused:
        serving._link_open_mpi()
    assert "libopenmpi3" in refused.value.args[1]
    assert "mlms-onnxruntime" in refused.value.args[1]
