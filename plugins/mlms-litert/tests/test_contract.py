"""The conformance kit."""

from __future__ import annotations

import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
pytest.importorskip("mlms_litert", reason="the plugin is not installed")

from mlms.testing import FrameworkContract


class TestContract(FrameworkContract):
    framework = "litert"
    model = "digits-cnn-litert"
