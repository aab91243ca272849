"""digits-cnn in MXNet's environment: figures beside PyTorch's, what its profile says, and files that it can't run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlms.errors import InputError
from mlms.serving.process import Worker
from mlms.testing.served_digits import ServedDigitsContract, images

PACKAGE = Path(__file__).parents[1] / "mlms_mxnet"
MODELS = PACKAGE / "assets/models/digits"


class TestServedDigits(ServedDigitsContract):
    framework = "mxnet"
    module = PACKAGE / "serving.py"
    weights = MODELS / "digits-cnn.params"
    files = {"symbol": MODELS / "digits-cnn-symbol.json"}  # noqa: RUF012
    layers = (
        "sg_mkldnn_conv_act_0",
        "sg_mkldnn_conv_act_1",
        "pool",
        "flatten",
        "sg_mkldnn_fully_connected_eltwise_0",
        "sg_mkldnn_fully_connected_1",
    )
    first_type = "_sg_mkldnn_conv"
    clock_ns = 1_000_000  # its profiler's time of day, in whole microseconds, is set against ours once

    def test_the_symbol_has_to_fit_too(self, worker: Worker, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no symbol"):
            self.load(worker, self.weights, files={})
        file = tmp_path / "other-symbol.json"
        file.write_text("{}")
        with pytest.raises(InputError, match="other-symbol"):
            self.load(worker, self.weights, files={"symbol": str(file)})

    def test_operators_are_what_the_engine_ran(self, worker: Worker) -> None:
        self.load(worker, self.weights)
        worker.ask("observe", images(2), level="operator")
        for _ in range(70):  # more than are read at a time
            worker.ask("predict_watched", images(2))
            worker.ask("take")
        worker.ask("unobserve")
        worker.ask("observe", images(2), level="operator")
        worker.ask("predict_watched", images(2))
        ((_, *spans),) = worker.ask("unobserve")["value"]
        assert {name for name, level, *_ in spans if level == "operator"} >= {"_sg_mkldnn_conv", "Pooling", "Flatten"}

    def test_random_weights_come_from_the_seed(self, worker: Worker) -> None:
        self.load(worker, None, seed=1)
        before = worker.ask("predict", images(2))["outputs"]["fc2_output"]
        self.load(worker, None, seed=1)
        np.testing.assert_array_equal(worker.ask("predict", images(2))["outputs"]["fc2_output"], before)
