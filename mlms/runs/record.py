"""The run record, ``run.json``: what was run, with what, and what came of it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from mlms.errors import DocumentError, Place, StorageError

FILE = "run.json"
SCHEMA_VERSION = 1

_SLUG_LENGTH = 48
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def new_run_id(name: str, digest: str, started_at: datetime) -> str:
    """``YYYYmmdd-HHMMSS-<slug of the name>-<first 8 digits of the digest>``, in UTC.

    >>> new_run_id("Résumé / net", "1a2b3c4d5e6f", datetime(2026, 11, 23, 21, 15, tzinfo=timezone.utc))
    '20261123-211500-resume-net-1a2b3c4d'
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name)[:_SLUG_LENGTH].strip("-") or "run"
    return f"{started_at.astimezone(timezone.utc):%Y%m%d-%H%M%S}-{slug}-{digest[:8]}"


def check(record: Mapping[str, Any], path: Path) -> None:
    """Hold a record that goes to ``path`` against the schema of runs.

    Raises:
        DocumentError: with every problem found.
    """
    from mlms.manifests.schema import problems_in

    problems = problems_in(record, lambda pointer, key: Place(path), "run")
    if problems:
        raise DocumentError(problems)


def read(directory: Path) -> dict[str, Any]:
    """The record of a run directory.

    Raises:
        StorageError: it is no run directory, its record is damaged, or another version of mlms wrote it.
    """
    file = directory / FILE
    try:
        record = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError(
            f"this is no run: it holds no {FILE}" if directory.is_dir() else "there is no such run directory",
            place=Place(directory),
            hint="`mlms runs list` shows the runs there are",
        ) from error
    except OSError as error:
        raise StorageError(f"can't read this: {error.strerror}", place=Place(file)) from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"this record is damaged: {error}", place=Place(file), hint="repeat the run") from error
    if not isinstance(record, dict) or record.get("kind") != "run":
        raise StorageError("this is not the record of a run", place=Place(file), hint="its 'kind' must be 'run'")
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:  # no older one was ever released, so there is none to bring forward
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        writer = f"mlms {record['mlms_version']}" if record.get("mlms_version") else "the version of mlms that wrote it"
        raise StorageError(
            f"this record has schema_version {version!r}; this mlms reads {SCHEMA_VERSION}",
            place=Place(file),
            hint=f"upgrade mlms, or open it with {writer}" if newer else f"repeat the run, or open it with {writer}",
        )
    wrong = ", ".join(repr(key) for key in _misshapen(record))
    if wrong:
        raise StorageError(
            f"this record is damaged: without a proper {wrong}", place=Place(file), hint="repeat the run"
        )
    return record


def _misshapen(record: Mapping[str, Any]) -> Iterator[str]:
    """The keys below which the record isn't of the schema's shape: types, and keys that must be there.

    What reads a record relies on that. The whole schema was held against it when it was written; doing that again would
    take most of the time of listing hundreds of runs.
    """
    run = _definitions()["run"]
    for key, schema in run["properties"].items():
        if not _fits(record[key], schema) if key in record else key in run["required"]:
            yield key


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if "$ref" in schema:
        schema = _definitions()[schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type", ())
    if kinds and not any(_is(value, kind) for kind in ((kinds,) if isinstance(kinds, str) else kinds)):
        return False
    if isinstance(value, list):
        return all(_fits(item, schema["items"]) for item in value) if "items" in schema else True
    if not isinstance(value, dict):
        return True
    known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
    if not all(key in value for key in schema.get("required", ())):
        return False
    return all(_fits(item, known.get(key, others)) for key, item in value.items()) if known or others else True


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


@cache
def _definitions() -> Mapping[str, Any]:
    from mlms.manifests.schema import schema

    return schema("run")["$defs"]  # type: ignore[no-any-return]
