"""The frameworks that ship with mlms, and one made of a serving module, keep the contract that plugins are held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.distributions import importable
from mlms.testing import FrameworkContract

SERVED_PLUGIN = Path(__file__).parents[1] / "fakes" / "served_plugin"


@pytest.fixture(scope="module", autouse=True)
def _served_plugin() -> Iterator[None]:
    with importable(SERVED_PLUGIN):
        yield


class TestPyTorch(FrameworkContract):
    framework = "pytorch"
    model = "digits-cnn"


class TestServed(FrameworkContract):
    framework = "served"
    model = "served-digits"
    dataset = "digits-test"
    assets = (SERVED_PLUGIN / "assets",)


class TestServedByAWorker(FrameworkContract):
    framework = "served-venv"
    model = "served-digits-venv"
    assets = (SERVED_PLUGIN / "assets",)
