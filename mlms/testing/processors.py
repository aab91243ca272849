"""The contract of a processor: ``mlms.hooks.Processor``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from mlms import api
from mlms.errors import DataError
from mlms.hooks import Context, Processor
from mlms.testing.components import check_component, make, registered

NOTHING = object()


class ProcessorContract:
    """Derive a class from it with ``processor``, ``value`` and, unless it takes everything, ``bad_value``."""

    processor: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    value: ClassVar[Any]
    """One that it takes."""
    bad_value: ClassVar[Any] = NOTHING
    """One that it refuses."""

    @pytest.fixture
    def made(self) -> Processor:
        component = registered("processor", self.processor).component
        found: Processor = make(component, self.options, Context(labels=api.load_catalog().labels))
        return found

    def test_component(self) -> None:
        check_component(registered("processor", self.processor).component, self.processor)

    def test_it_is_called_with_a_value(self, made: Processor) -> None:
        assert isinstance(made, Processor), "a processor is called with one sample's value"

    def test_the_value_is_left_alone(self, made: Processor) -> None:
        value = copy.deepcopy(self.value)
        if isinstance(value, np.ndarray):
            value.flags.writeable = False  # as a dataset may give it
        made(value)
        assert same(value, self.value), "a processor must leave the value that it is given alone"

    def test_it_keeps_no_state(self, made: Processor) -> None:
        first = made(self.value)
        with ThreadPoolExecutor(4) as pool:
            for other in pool.map(made, [self.value] * 16):
                assert same(first, other), "the same value has another result: processors run in threads, without state"

    def test_a_bad_value_is_an_error_with_a_hint(self, made: Processor) -> None:
        if self.bad_value is NOTHING:
            pytest.skip("no bad_value is given")
        try:
            made(self.bad_value)
        except Exception as raised:
            error = raised
        else:
            pytest.fail("the bad value was taken; a processor raises DataError for what it can't take")
        assert isinstance(error, DataError), f"a bad value must raise DataError, not {type(error).__name__}: {error}"
        assert error.hint, f"the error for a bad value must have a hint on how to mend it: {error}"


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, arrays and what holds them too."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other)) and np.asarray(one).dtype == np.asarray(other).dtype
    if is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
