"""What two runs were made with, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ABSENT = "(absent)"
_VOLATILE = frozenset({"fingerprint", "load_average", "throttled_before", "throttled_after"})
"""Of the environment: different from run to run on the same machine, or shown apart."""
_DESCRIPTIVE = frozenset({"description", "homepage", "license", "tags", "file", "published"})
"""Of an asset: what bears on no figure."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that two runs differ in, with what each has (``ABSENT`` where it has none)."""

    key: str
    baseline: Any
    other: Any


def settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for and with what it was done: the evaluation, versions and weights, flattened."""
    evaluation = {
        key: value for key, value in (record.get("evaluation") or {}).items() if key not in ("name", "digest")
    }
    framework, weights = record.get("framework") or {}, (record.get("model") or {}).get("weights") or {}
    git = (record.get("manifest") or {}).get("git") or {}
    made_with = {
        "mlms": record.get("mlms_version"),
        "framework.installed": framework.get("installed"),
        "framework.plugin": framework.get("plugin"),
        "weights.sha256": weights.get("sha256"),
        "manifest.commit": git.get("commit"),
    }
    return {**dict(flat(evaluation, without=_DESCRIPTIVE)), **made_with}


def environment(record: Mapping[str, Any]) -> dict[str, Any]:
    """The machine and its software, flattened, without what changes by itself."""
    return dict(flat(record.get("environment") or {}, without=_VOLATILE))


def differing(baseline: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The keys in which two flattened mappings differ, in order of name."""
    keys = sorted(baseline.keys() | other.keys())
    pairs = (Setting(key, baseline.get(key, ABSENT), other.get(key, ABSENT)) for key in keys)
    return tuple(pair for pair in pairs if pair.baseline != pair.other)


def flat(value: Any, path: str = "", without: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Nested data as dotted paths with plain values; lists of plain values stay whole.

    >>> dict(flat({"a": {"b": 1, "name": 2}, "c": [{"d": 3}], "e": [4, 5]}, without=frozenset({"name"})))
    {'a.b': 1, 'c[0].d': 3, 'e': [4, 5]}
    """
    if isinstance(value, Mapping):
        for key, below in value.items():
            if key not in without:
                yield from flat(below, f"{path}.{key}" if path else str(key), without)
    elif isinstance(value, list | tuple) and any(isinstance(entry, Mapping | list | tuple) for entry in value):
        for index, entry in enumerate(value):
            yield from flat(entry, f"{path}[{index}]", without)
    else:
        yield path, value
