"""YAML 1.2's core schema, built from libyaml's events; imports PyYAML, so import it only where YAML is read.

PyYAML's own loaders follow YAML 1.1 (``no`` is false, ``1e-3`` is text, ``1:30`` is ninety) and recurse in C without a
bound. Here ``true``, ``null``, ``8``, ``0o17``, ``0x1f`` and ``1e-3`` mean what YAML 1.2 says and everything else is
text. Only what JSON can hold comes out: mappings with text keys, lists, text, finite numbers, booleans and null.
Merge keys (``<<``) are not part of YAML 1.2 and are refused; anchors and aliases work within a bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mlms.errors import DocumentError, Place, Problem

MAX_DEPTH = 64
MAX_ALIASED = 10_000
"""Values that aliases may stand for in one document, all together."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML can be built without libyaml

Pointer = tuple[str | int, ...]
Positions = dict[tuple[Pointer, bool], tuple[int, int]]
"""(pointer, whether of the key) -> line and column, from 1."""

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {word: value for name, value in (("true", True), ("false", False), ("null", None))
          for word in (name, name.title(), name.upper())} | {"~": None, "": None}  # fmt: skip
_SYNTAX = {
    "exceeded maximum nesting depth": (f"nested more than {MAX_DEPTH} levels deep", None),  # libyaml's own bound
    "mapping values are not allowed in this context": (
        "a ':' stands where no key can be",
        "indent keys of one mapping alike, and put text that holds ': ' in quotes",
    ),
    "could not find expected ':'": ("a key without ':'", "write 'key: value'"),
    "did not find expected ',' or ']'": ("a '[' is not closed", "end the list with ']'"),
    "did not find expected ',' or '}'": ("a '{' is not closed", "end the mapping with '}'"),
    "found unexpected end of stream": ("a quote is not closed", None),
    "did not find expected key": ("this line fits neither the mapping above nor below", "indent keys alike"),
    "did not find expected node content": ("a value or a closing bracket is missing", None),
    "found undefined tag handle": ("tags (!) are not allowed", "put text that starts with '!' in quotes"),
}


class _Fatal(Exception):
    """Reading can't go on; the problem has been noted."""


def load(text: str, file: Path | str, positions: Positions | None = None) -> Any:
    """Read the one document in ``text``; ``file`` names it in errors; ``positions`` is filled where given.

    Raises:
        DocumentError: with every problem found, in the order of the text.
    """
    return _Builder(text, file, {} if positions is None else positions).document()


class _Builder:
    def __init__(self, text: str, file: Path | str, positions: Positions) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=LOADER)
        self.text = text
        self.file = file
        self.positions = positions
        self.problems: list[Problem] = []
        self.anchors: dict[str, Any] = {}
        self.open: set[str] = set()
        self.aliased = 0

    def document(self) -> Any:
        data = None
        try:
            next(self.events)  # the stream's start
            event = next(self.events)
            if isinstance(event, yaml.DocumentStartEvent):
                data = self.value(next(self.events), (), 0)
                next(self.events)
                event = next(self.events)
                if isinstance(event, yaml.DocumentStartEvent):
                    self.note(event, (), "a second document starts here", "keep one document a file")
        except _Fatal:
            pass  # noted where it was raised
        except yaml.MarkedYAMLError as error:
            text = str(error.problem)
            message, hint = _SYNTAX.get(text, (f"not valid YAML: {text}", None))
            mark = error.problem_mark
            if "cannot start any token" in text and mark and self.text[mark.index : mark.index + 1] == "\t":
                message, hint = "a tab is used for indentation", "indent with spaces"
            place = Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file)
            self.problems.append(Problem(place, "", message, hint))
        except yaml.reader.ReaderError as error:
            message = f"character {error.position + 1}: {error.reason}"
            self.problems.append(Problem(Place(self.file), "", message, "save the file as plain UTF-8 text"))
        if self.problems:
            raise DocumentError(self.problems)
        return data

    def note(self, event: Any, pointer: Pointer, message: str, hint: str | None = None) -> None:
        mark = event.start_mark
        place = Place(self.file, mark.line + 1, mark.column + 1)
        self.problems.append(Problem(place, dotted(pointer), message, hint))

    def value(self, event: Any, pointer: Pointer, depth: int) -> Any:
        mark = event.start_mark
        self.positions[pointer, False] = (mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, pointer)
        if depth > MAX_DEPTH:
            self.note(event, (), f"nested more than {MAX_DEPTH} levels deep")
            raise _Fatal
        anchor = event.anchor
        if anchor is not None:
            self.open.add(anchor)
        data: Any
        if isinstance(event, yaml.ScalarEvent):
            data = self.scalar(event, pointer)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.check_tag(event, "seq", pointer)
            data = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                data.append(self.value(item, (*pointer, len(data)), depth + 1))
        else:
            self.check_tag(event, "map", pointer)
            data = self.mapping(pointer, depth)
        if anchor is not None:
            self.open.discard(anchor)
            self.anchors[anchor] = data
        return data

    def mapping(self, pointer: Pointer, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.value(event, (*pointer, "?"), depth + 1)
            at = self.positions.pop(((*pointer, "?"), False))
            if not isinstance(key, str):
                name = key if isinstance(key, int | float) else "that is no text"
                self.note(event, pointer, f"key {name} must be text", "put the key in quotes")
            elif key == "<<" and event.implicit[0]:
                hint = "write the keys out, or alias the whole value"
                self.note(event, pointer, "merge keys ('<<') are not part of YAML 1.2", hint)
            elif key in data:
                line = self.positions[(*pointer, key), True][0]
                self.note(event, (*pointer, key), f"key '{key}' is given twice (first in line {line})", "keep one")
            else:
                self.positions[(*pointer, key), True] = at
                data[key] = None
                data[key] = self.value(next(self.events), (*pointer, key), depth + 1)
                continue
            self.value(next(self.events), (*pointer, "?"), depth + 1)
        return data

    def alias(self, event: Any, pointer: Pointer) -> Any:
        if event.anchor in self.open:
            self.note(event, pointer, f"'*{event.anchor}' stands inside its own anchor '&{event.anchor}'")
            raise _Fatal
        if event.anchor not in self.anchors:
            self.note(event, pointer, f"'*{event.anchor}' has no anchor '&{event.anchor}' before it")
            return None
        return self.copy(self.anchors[event.anchor], event)

    def copy(self, data: Any, event: Any) -> Any:
        self.aliased += 1
        if self.aliased > MAX_ALIASED:
            self.note(event, (), f"aliases stand for more than {MAX_ALIASED:,} values", "write the values out")
            raise _Fatal
        if isinstance(data, dict):
            return {key: self.copy(value, event) for key, value in data.items()}
        if isinstance(data, list):
            return [self.copy(value, event) for value in data]
        return data

    def check_tag(self, event: Any, name: str, pointer: Pointer) -> None:
        if event.tag not in (None, "!", _TAG + name):
            self.note(event, pointer, f"tag '{event.tag}' is not allowed", "leave the tag out")

    def scalar(self, event: Any, pointer: Pointer) -> Any:
        text = event.value
        if event.tag in ("!", _TAG + "str") or (event.tag is None and not event.implicit[0]):
            return text
        value = self.plain(event, text, pointer)
        if event.tag is not None:
            kinds = {"null": type(None), "bool": bool, "int": int, "float": float}
            expected = kinds.get(event.tag.removeprefix(_TAG))
            if expected is float and type(value) is int:
                return float(value)
            if type(value) is not expected:
                self.note(event, pointer, f"tag '{event.tag}' is not allowed here", "leave the tag out")
        return value

    def plain(self, event: Any, text: str, pointer: Pointer) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "+-.0123456789":  # most scalars: spare them four regular expressions
            return text
        try:
            if _INT.fullmatch(text):
                return int(text)
            if _BASED.fullmatch(text):
                whole = int(text, 0)
                str(whole)  # these are read without the bound, but not written
                return whole
        except ValueError:  # Python's bound on digits
            self.note(event, pointer, "a number with too many digits")
            return 0
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
        elif not _NOT_FINITE.fullmatch(text):
            return text
        self.note(event, pointer, f"{text} is not a finite number", f"for the text, write '{text}' in quotes")
        return 0.0


def dotted(pointer: Pointer) -> str:
    """A pointer as people write it: ``("input", 0, "dtype")`` is ``input[0].dtype``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in pointer)
    return "".join(parts).removeprefix(".")
