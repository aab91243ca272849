"""A hook without documentation, or with a signature that plugins can't read, fails here."""

from __future__ import annotations

import inspect

import pytest

from mlms.hooks import specs
from mlms.hooks.components import HOOKS

SPECS = {name: value for name, value in vars(specs).items() if name.startswith("mlms_")}


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_is_documented_and_typed(name: str) -> None:
    function = SPECS[name]
    assert inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())


def test_every_registration_hook_is_gathered() -> None:
    registration = {
        name.removeprefix("mlms_") for name, value in SPECS.items() if not inspect.signature(value).parameters
    }
    assert registration == set(HOOKS)
