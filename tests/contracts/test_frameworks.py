"""The framework that ships with mlms keeps the contract that plugins are held to."""

from __future__ import annotations

from mlms.testing import FrameworkContract


class TestPyTorch(FrameworkContract):
    framework = "pytorch"
    model = "digits-cnn"
