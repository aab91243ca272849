"""Rules that several tests of a contract hold something against; each fails the test with what the author can do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from mlms.errors import MlmsError
from mlms.executor.loading import LoadedModel
from mlms.testing.recording import Span

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], what: str) -> T:
    """The call's result; a failed test if it takes longer."""
    ended: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            ended.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        pytest.fail(f"{what}: no answer within {seconds:g} s, the model hangs")
    if raised:
        raise raised[0]
    return ended[0]


def assert_refused(
    load: Callable[[], LoadedModel], kind: type[MlmsError], what: str, names: str, hint: bool = True
) -> None:
    """Loading raises ``kind``, and says what the user can do."""
    try:
        load().predictor.close()
    except Exception as raised:
        error = raised
    else:
        pytest.fail(f"{what} must raise {kind.__name__}, but the model was loaded")
    assert isinstance(error, kind), f"{what} must raise {kind.__name__}, not {type(error).__name__}: {error}"
    assert names in str(error), f"the error for {what} must name '{names}': {error}"
    assert error.hint or not hint, f"the error for {what} must have a hint on how to mend it: {error}"


def assert_placed(span: Span) -> None:
    """A span lies within its parent, below a prediction, and says what a span of its level says."""
    assert span.name, f"a {span.level} span has no name"
    assert span.start_ns <= span.end_ns, f"{span} ends before it begins"
    if span.parent is None:
        assert span.level == "model", f"{span} lies in no prediction"
        return
    assert span.parent.start_ns <= span.start_ns, f"{span} begins before {span.parent}, in which it lies"
    assert span.end_ns <= span.parent.end_ns, f"{span} ends after {span.parent}, in which it lies"
    if span.level == "layer":
        kind = span.attributes.get("mlms.layer.type")
        assert isinstance(kind, str), f"{span} must have the attribute mlms.layer.type: {dict(span.attributes)}"
        assert kind, f"{span} has an empty mlms.layer.type"


def assert_plain(facts: Mapping[str, Any], whose: str) -> None:
    try:
        json.dumps(facts)
    except (TypeError, ValueError) as error:
        pytest.fail(f"{whose} must give plain values, which a record can hold: {error}")
