"""The conformance kit."""

from __future__ import annotations

import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("mlms_opencv", reason="the plugin is not installed")

from mlms.testing import FrameworkContract


class TestContract(FrameworkContract):
    framework = "opencv"
    model = "digits-cnn-opencv"
