from __future__ import annotations

import pytest

from mlms.errors import DataError, ModelError, PluginError
from mlms.hooks.blame import blaming


def test_names_the_culprit_and_keeps_the_cause() -> None:
    with pytest.raises(PluginError, match=r"the oven failed: KeyError: 'bread'") as caught, blaming("the oven failed"):
        raise KeyError("bread")
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_kind_of_error_can_be_chosen() -> None:
    with pytest.raises(ModelError, match="x: ValueError: y"), blaming("x", ModelError):
        raise ValueError("y")


def test_errors_of_mlms_pass_as_they_are() -> None:
    error = DataError("no such file", hint="look again")
    with pytest.raises(DataError) as caught, blaming("the reader"):
        raise error
    assert caught.value is error


def test_an_interrupt_is_nobodys_fault() -> None:
    with pytest.raises(KeyboardInterrupt), blaming("the reader"):
        raise KeyboardInterrupt
