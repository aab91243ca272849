"""The framework keeps the contract of mlms."""

import pytest

testing = pytest.importorskip("mlms.testing")


class TestContract(testing.FrameworkContract):
    framework = "jax"
    model = "digits-cnn-jax"
