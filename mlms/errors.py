"""Every error mlms raises on purpose.

    MlmsError                      exit 2
    ├── InputError                 something the user gave is wrong
    │   ├── DocumentError          a YAML document; carries every problem found in it
    │   ├── UnknownNameError       a name that nothing answers to
    │   ├── VersionError           found, but not in a version that fits
    │   ├── DataError              a dataset or one of its samples
    │   ├── DeviceError            a device that this machine does not have
    │   └── StorageError           a place that can't be read or written
    ├── FetchError                 a download that failed
    │   └── ChecksumError          bytes that are not the ones the asset names
    ├── CollectorError             a collector that did not take all spans
    ├── PluginError                a plugin that fails to import, register or make its component
    ├── ModelError         exit 1  the model or its framework raised
    │   ├── OutOfMemoryError       ... for want of memory
    │   └── ProcessError           ... so that its process crashed, was killed, or ran past its timeout
    └── EvaluationsFailed  exit 1  a sweep ended with failures

An error is one message for the person in front of the terminal: what is wrong, where, and the mend. Anything else
that escapes is a bug in mlms and is shown with its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, as editors count it: line and column start at 1; ``None`` where unknown."""

    file: Path | str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [str(self.file), self.line, self.column]
        return ":".join(str(part) for part in parts if part is not None)


class MlmsError(Exception):
    """An error with a message, an optional place and the mend (``hint``)."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, message: str, *, place: Place | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.__dict__, self.args)


def _rebuild(cls: type[MlmsError], state: dict[str, object], args: tuple[object, ...]) -> MlmsError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InputError(MlmsError):
    """Something the user gave is wrong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a document: where, at which key (``scenario.type``), what, and the mend."""

    place: Place
    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        at = f" at '{self.path}'" if self.path else ""
        text = f"{self.place}: {self.message}{at}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


MOST_SHOWN = 20
"""Problems of one document in a message; more have a cause in common, or fill a screen."""


class DocumentError(InputError):
    """A document with one or more problems, reported at once: all in ``problems``, the first in the message."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        if more := len(self.problems) - len(lines):
            lines.append(f"... and {more} more problem{'s' if more > 1 else ''}")
        super().__init__("\n".join(lines))


def problems_of(error: MlmsError, place: Place) -> tuple[Problem, ...]:
    """What an error says, to be reported together with others; ``place`` is for one that has none."""
    if isinstance(error, DocumentError):
        return error.problems
    return (Problem(error.place or place, "", error.message, error.hint),)


class UnknownNameError(InputError):
    """A name that nothing answers to."""


class VersionError(InputError):
    """Something was found, but not in a version that fits."""


class DataError(InputError):
    """A dataset that is missing, empty or doesn't fit, or a sample that can't be read."""


class DeviceError(InputError):
    """A device that this machine does not have."""


class StorageError(InputError):
    """A file or directory that can't be read or written."""


class FetchError(MlmsError):
    """A download that failed; what arrived is kept so that the next try resumes."""


class ChecksumError(FetchError):
    """Bytes that are not the ones the asset names."""


class CollectorError(MlmsError):
    """A collector that did not take all spans of a trace."""


class PluginError(MlmsError):
    """A plugin that fails to import, to register or to make its component; the message names it."""


class ModelError(MlmsError):
    """The model or its framework raised; the message names the model and the step."""

    exit_code = EXIT_FAILED


class OutOfMemoryError(ModelError):
    """The model did not fit into memory."""


class ProcessError(ModelError):
    """The process of an isolated evaluation ended without a result; the message names how, and during what."""


class EvaluationsFailed(MlmsError):
    """A sweep ended with failures, each of which has been reported."""

    exit_code = EXIT_FAILED
