"""digits-cnn in Caffe2's environment: figures beside PyTorch's, what its profile says, and files that it can't run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlms.errors import InputError
from mlms.serving.process import Worker
from mlms.testing.served_digits import ServedDigitsContract

PACKAGE = Path(__file__).parents[1] / "mlms_caffe2"
MODELS = PACKAGE / "assets/models/digits"


class TestServedDigits(ServedDigitsContract):
    framework = "caffe2"
    module = PACKAGE / "serving.py"
    weights = MODELS / "digits-cnn-init.pb"
    files = {"predict_net": MODELS / "digits-cnn-predict.pb"}  # noqa: RUF012
    layers = ("conv1", "relu1", "conv2", "relu2", "pool", "flatten", "fc1", "relu3", "fc2")
    first_type = "Conv"

    def test_both_nets_are_needed(self, worker: Worker) -> None:
        with pytest.raises(InputError, match="no predict net"):
            self.load(worker, self.weights, files={})
        with pytest.raises(InputError, match="make up weights"):
            self.load(worker, None)
        with pytest.raises(InputError, match="conv1_w"):
            self.load(worker, MODELS / "digits-cnn-predict.pb")
