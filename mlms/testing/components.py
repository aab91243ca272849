"""What holds for the components of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator, SchemaError

from mlms import api
from mlms.hooks import Component
from mlms.hooks.components import Registered


def registered(kind: str, name: str) -> Registered[Any]:
    """The component of a kind ("framework", "reader", ...) as an installed plugin offers it."""
    components = api.load_plugins()
    registry = components.registries[kind]
    if name not in registry:
        broken = "".join(f"\n{plugin} was left out:\n{plugin.error}" for plugin in components.broken)
        pytest.fail(
            f"no installed plugin offers the {kind} '{name}': is its package installed (pip install -e .), with an "
            f"entry point in the group mlms?{broken}"
        )
    return registry.get(name)


def check_component(component: Component[Any], name: str) -> None:
    """A component's own fields: name, summary and the schema of its options."""
    assert component.name == name, f"the component is called '{component.name}'; YAML calls it '{name}'"
    assert component.summary.strip(), f"'{name}' has no summary: `mlms list` shows one line of what it is"
    assert "\n" not in component.summary, f"the summary of '{name}' is more than one line"
    assert callable(component.make), f"'{name}': make must be a function of (options, context)"
    try:
        Draft202012Validator.check_schema(component.options)
    except SchemaError as error:
        pytest.fail(f"the options of '{name}' are no JSON Schema (draft 2020-12): {error.message}")
    assert component.options.get("type") == "object", f"the options of '{name}' must be a schema of type object"
    assert not Draft202012Validator(component.options).is_valid({"no-such-option": 1}), (
        f"'{name}' takes options that it doesn't have: set additionalProperties to false, so that a misspelt one is "
        "an error"
    )


def make(component: Component[Any], options: Mapping[str, Any], context: Any) -> Any:
    """Make it, once its own schema takes the options."""
    problems = [problem.message for problem in Draft202012Validator(component.options).iter_errors(dict(options))]
    assert not problems, f"the schema of '{component.name}' refuses the options {dict(options)}: {problems[0]}"
    return component.make(dict(options), context)
