"""The conformance kit for served frameworks."""

from __future__ import annotations

import pytest

pytest.importorskip("mlms_onnxruntime.serving")

from mlms.testing import FrameworkContract


class TestContract(FrameworkContract):
    framework = "onnxruntime"
    model = "digits-cnn-onnxruntime"
