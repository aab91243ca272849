"""The conformance kit for served frameworks."""

from __future__ import annotations

import pytest

pytest.importorskip("mlms_openvino.serving")

from mlms.testing import FrameworkContract


class TestContract(FrameworkContract):
    framework = "openvino"
    model = "digits-cnn-openvino"
