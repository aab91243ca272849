from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mlms.errors import DataError, ModelError, OutOfMemoryError
from mlms.executor.loading import LoadedModel
from mlms.hooks import Batch, Outputs

BATCH = {"x": np.zeros(1)}


class Moody:
    """Raises what it was given, whatever it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = 0

    def predict(self, batch: Batch) -> Outputs:
        if self.error:
            raise self.error
        return {"y": batch["x"]}

    def describe(self) -> Mapping[str, Any]:
        if self.error:
            raise self.error
        return {"device": "cpu"}

    def close(self) -> None:
        self.closed += 1
        if self.error:
            raise self.error


def test_a_model_answers_and_is_closed() -> None:
    moody = Moody()
    with LoadedModel("net", moody) as model:
        assert model.predict(BATCH)["y"] is BATCH["x"]
        assert model.describe() == {"device": "cpu"}
        assert moody.closed == 0
    assert moody.closed == 1


def test_a_model_is_closed_when_it_fails() -> None:
    moody = Moody()
    with pytest.raises(RuntimeError, match="elsewhere"), LoadedModel("net", moody):
        raise RuntimeError("elsewhere")
    assert moody.closed == 1


def test_what_it_raises_names_the_model() -> None:
    model = LoadedModel("net", Moody(ValueError("bad day")))
    with pytest.raises(ModelError, match="model 'net' failed to predict: ValueError: bad day"):
        model.predict(BATCH)
    with pytest.raises(ModelError, match="model 'net' failed to describe itself: ValueError: bad day"):
        model.describe()
    with pytest.raises(ModelError, match="model 'net' failed to close: ValueError: bad day"):
        model.__exit__(None, None, None)


@pytest.mark.parametrize("error", [OutOfMemoryError("too large"), DataError("no")])
def test_errors_of_mlms_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        LoadedModel("net", Moody(error)).predict(BATCH)
    assert caught.value is error
