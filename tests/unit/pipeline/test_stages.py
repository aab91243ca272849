from __future__ import annotations

from typing import Any

import pytest

from mlms.errors import DataError, ModelError
from mlms.pipeline.stages import Stage, apply


def refuse(value: Any) -> Any:
    raise DataError("not this one", hint="another")


def test_each_stage_takes_what_the_one_before_gave() -> None:
    stages = [Stage("a", "p", lambda value: value + 1), Stage("b", "p", lambda value: value * 10)]
    assert apply(stages, 1, "s") == 20
    assert apply([], 1, "s") == 1


def test_a_failure_names_step_plugin_and_sample() -> None:
    stages = [Stage("preprocess[0] halve", "acme 1.0", lambda value: value / 0)]
    with pytest.raises(ModelError) as caught:
        apply(stages, 1, "cat.jpg")
    for part in ("preprocess[0] halve", "acme 1.0", "cat.jpg", "ZeroDivisionError"):
        assert part in str(caught.value)


def test_errors_of_mlms_pass_as_they_are() -> None:
    with pytest.raises(DataError, match="not this one"):
        apply([Stage("a", "p", refuse)], 1, "s")
