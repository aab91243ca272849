"""The JSON Schemas (draft 2020-12) of all documents, and what is wrong with a document in plain words."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlms.errors import DocumentError, Place, Problem
from mlms.manifests.reader import INLINE, Document, place_of

SCHEMAS = ("model", "framework", "dataset", "manifest", "run")

Pointer = tuple[str | int, ...]
PlaceOf = Callable[[Pointer, bool], Place]
"""Where the value (or, with True, the key) at a pointer stands."""

_FILES = Path(__file__).parent / "schemas"
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_PYTHON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of document, complete in itself: schemas that it refers to are bundled in its ``$defs``."""
    return copy.deepcopy(_bundled(kind))


@functools.cache
def _bundled(kind: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_FILES / f"{kind}.json").read_text("utf-8"))
    if kind == "manifest":  # the one that refers to another
        document["$defs"]["model.json"] = _bundled("model")
    return document


def check(document: Document, kind: str | None = None) -> None:
    """Check a document against the schema of ``kind``, or of the kind that it names.

    Raises:
        DocumentError: with every problem found.
    """
    problems = problems_in(document.data, document.place, kind)
    if problems:
        raise DocumentError(problems)


def problems_in(data: Mapping[str, Any], place: PlaceOf, kind: str | None = None) -> list[Problem]:
    """What is wrong with a whole document's ``data``; ``place`` tells where its values stand."""
    given = data.get("kind")
    if given is None:
        hint = f"add 'kind: {kind}'" if kind else f"add 'kind:' with one of {', '.join(SCHEMAS)}"
        return [Problem(place((), False), "", "missing key 'kind'", hint)]
    if kind is None and given not in SCHEMAS:
        nearest = _nearest(str(given), SCHEMAS) or f"it is one of {', '.join(SCHEMAS)}"
        return [Problem(place(("kind",), False), "kind", f"unknown kind {_show(given)}", nearest)]
    if kind is not None and given != kind:
        return [Problem(place(("kind",), False), "kind", f"this is a {given}, not a {kind}")]
    return _problems(_validator_of(given), data, place, ())


def problems_against(
    schema: Mapping[str, Any], data: Any, *, path: Path | None, pointer: Sequence[str | int] = ()
) -> list[Problem]:
    """What is wrong with ``data`` that stands at ``pointer`` in the document ``path``, by a component's schema."""

    def place(at: Pointer, key: bool) -> Place:
        return place_of(path, at, key=key) if path is not None else Place(INLINE)

    return _problems(_validator(json.dumps(schema, sort_keys=True)), data, place, tuple(pointer))


@functools.cache
def _validator_of(kind: str) -> Any:
    return _compile(_bundled(kind))


@functools.lru_cache(maxsize=1024)
def _validator(text: str) -> Any:
    return _compile(json.loads(text))


def _compile(document: dict[str, Any]) -> Any:
    from jsonschema import Draft202012Validator, validators

    # 8.0 is no whole number here: components are handed ints where they ask for ints.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda checker, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extend: Any = validators.extend  # jsonschema leaves it without types
    return extend(Draft202012Validator, {"pattern": _pattern}, type_checker=types)(document)


def _pattern(validator: Any, pattern: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    """The keyword ``pattern``. Python's ``$`` also fits before a last newline, that of JSON Schema doesn't."""
    from jsonschema import ValidationError

    exact = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(value, str) and not re.search(exact, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _problems(validator: Any, data: Any, place: PlaceOf, base: Pointer) -> list[Problem]:
    from mlms.manifests.yaml12 import dotted

    found: dict[tuple[Pointer, str], Problem] = {}
    for error in validator.iter_errors(data):
        for pointer, key, message, hint in _explain(error):
            at = (*base, *pointer)
            if (at, message) not in found:
                found[at, message] = Problem(place(at, key), dotted(at), message, hint)
    return sorted(found.values(), key=lambda problem: (problem.place.line or 0, problem.place.column or 0))


Explanation = tuple[Pointer, bool, str, str | None]
"""Pointer, whether its key is meant, message, hint."""


def _explain(error: Any) -> Iterator[Explanation]:
    """One violated keyword in plain words."""
    at: Pointer = tuple(error.absolute_path)
    described: str | None
    value, rule, keyword = error.instance, error.validator_value, error.validator
    if "propertyNames" in error.relative_schema_path:
        yield (*at, value), True, f"{_show(value)} is not a name", "letters, digits, '.', '_' and '-'"
    elif keyword in ("additionalProperties", "unevaluatedProperties") and isinstance(value, dict):
        known = list(error.schema.get("properties", ()))
        for key in value:
            if key not in known:
                yield (*at, key), True, f"unknown key '{key}'", _nearest(key, known) or _known(known)
    elif keyword == "required":
        for key in rule:
            if key not in value:
                described = error.schema.get("properties", {}).get(key, {}).get("description")
                yield at, False, f"missing key '{key}'", described
    elif keyword == "dependentRequired":
        for key, needed in rule.items():
            missing = [name for name in needed if key in value and name not in value]
            if missing:
                yield (*at, key), True, f"'{key}' needs '{missing[0]}' beside it", None
    elif keyword == "type":
        types = [rule] if isinstance(rule, str) else rule
        yield at, False, f"expected {_alternatives(types)}, not {_show(value)}", _type_hint(types, value)
    elif keyword in ("enum", "const"):
        allowed = [str(item) for item in (rule if keyword == "enum" else [rule])]
        hint = _nearest(str(value), allowed) or f"it is {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}"
        yield at, False, f"{_show(value)} is not allowed here", hint
    elif keyword in ("anyOf", "oneOf"):
        yield from _explain_choice(error, at)
    else:
        template = _MESSAGES.get(keyword, "{value} breaks the rule '{keyword}: {rule}'")
        described = error.schema.get("description") if keyword in _NEEDS_DESCRIPTION else None
        yield at, False, template.format(value=_show(value), rule=rule, keyword=keyword), described


_MESSAGES = {
    "pattern": "{value} doesn't have the right form",
    "format": "{value} doesn't have the right form",
    "not": "{value} is not allowed here",
    "minimum": "{value} is less than {rule}",
    "maximum": "{value} is more than {rule}",
    "exclusiveMinimum": "{value} must be more than {rule}",
    "exclusiveMaximum": "{value} must be less than {rule}",
    "multipleOf": "{value} is not a multiple of {rule}",
    "minLength": "text with at least {rule} characters is needed",
    "maxLength": "the text is longer than {rule} characters",
    "minItems": "at least {rule} entries are needed",
    "maxItems": "at most {rule} entries are allowed",
    "uniqueItems": "two entries are equal",
    "minProperties": "at least {rule} keys are needed",
    "maxProperties": "at most {rule} keys are allowed",
}
_NEEDS_DESCRIPTION = {"pattern", "format", "not", "minProperties", "maxProperties", "minLength"}


def _explain_choice(error: Any, at: Pointer) -> Iterator[Explanation]:
    """Explain the alternative that the value comes nearest to; the others would only confuse."""
    if all(set(option) == {"required"} for option in error.validator_value):
        keys = [option["required"][0] for option in error.validator_value]
        given = [key for key in keys if key in error.instance]
        message = f"'{given[0]}' and '{given[1]}' exclude each other" if given else "a key is missing"
        yield at, False, message, f"give exactly one of {_join(keys)}"
        return
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    fitting = [errors for errors in branches.values() if not any(map(_is_top_type, errors))]
    if not fitting:
        types = [t for errors in branches.values() for inner in errors if _is_top_type(inner) for t in _types(inner)]
        types = list(dict.fromkeys(types))
        yield (
            at,
            False,
            f"expected {_alternatives(types)}, not {_show(error.instance)}",
            _type_hint(types, error.instance),
        )
        return
    described = error.schema.get("description")  # alternatives have none of their own
    for inner in min(fitting, key=lambda errors: (_unknown_keys(errors), len(errors))):
        for pointer, is_key, message, hint in _explain(inner):
            yield pointer, is_key, message, hint or (described if pointer == at else None)


def _is_top_type(error: Any) -> bool:
    """Whether the alternative was of another type altogether."""
    if error.relative_path:
        return False
    return error.validator == "type" or (
        error.validator == "const" and type(error.instance) is not type(error.validator_value)
    )


def _types(error: Any) -> list[str]:
    if error.validator == "const":
        return [_PYTHON_TYPES[type(error.validator_value)]]
    return [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)


def _unknown_keys(errors: Sequence[Any]) -> int:
    return sum(
        len(set(error.instance) - set(error.schema.get("properties", ())))
        for error in errors
        if error.validator == "additionalProperties" and not error.relative_path
    )


def _type_hint(types: Sequence[str], value: Any) -> str | None:
    if value is None:
        return "give it a value, or leave the key out"
    if "boolean" in types and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off", "y", "n"):
        return f"write {'true' if value.lower() in ('yes', 'on', 'y') else 'false'}"
    if "string" in types and isinstance(value, bool | int | float):
        return "put it in quotes"
    if "integer" in types and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if set(types) & {"integer", "number"} and isinstance(value, str):
        return "write a number, without quotes or unit"
    return None


def _nearest(name: str, known: Sequence[str]) -> str | None:
    matches = get_close_matches(name.lower(), [item.lower() for item in known], n=1, cutoff=0.6)
    return next(f"did you mean '{item}'?" for item in known if item.lower() == matches[0]) if matches else None


def _known(keys: Sequence[str]) -> str:
    return f"known keys are {', '.join(keys)}" if keys else "no keys are known here"


def _alternatives(types: Sequence[str]) -> str:
    return _join([_TYPES[item] for item in types], quote=False)


def _join(words: Sequence[str], quote: bool = True) -> str:
    shown = [f"'{word}'" if quote else word for word in words]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _show(value: Any) -> str:
    """A value as the user wrote it, in short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"
