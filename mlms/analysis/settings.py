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


def environments(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The machines of two runs and their software, flattened, without what changes by itself.

    A run's packages are those that mlms itself uses and its framework's, which is left out where the other run has
    another framework: ``settings`` tells them apart.
    """
    distributions = [(record.get("framework") or {}).get("distribution") for record in (one, other)]
    left_out = {f"packages.{name}" for name in distributions} if distributions[0] != distributions[1] else set()
    ours, theirs = (
        {key: value for key, value in flat(record.get("environment") or {}, without=_VOLATILE) if key not in left_out}
        for record in (one, other)
    )
    return ours, theirs


def same_environment(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs were made on one machine with one set of software, whatever their frameworks and variables."""
    ours, theirs = (
        {key: value for key, value in found.items() if not key.startswith("variables.")}
        | {"memory_bytes": round((found.get("memory_bytes") or 0) / 2**30)}
        for found in environments(one, other)
    )
    return ours == theirs


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
