"""The runs under one folder: listed, and found by what a person remembers of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from mlms.errors import Place, StorageError, UnknownNameError
from mlms.runs.partial import FAILED
from mlms.runs.record import FILE
from mlms.runs.run import Run
from mlms.storage import reading

LAST = "@last"
_MOST_NAMED = 5


def scan(root: Path) -> tuple[list[Run], list[StorageError]]:
    """All runs, newest first, and what is wrong with each directory that should be one but isn't whole.

    A folder that doesn't exist holds no runs. Runs that are being written and those that failed are left out.

    Raises:
        StorageError: ``root`` can't be read.
    """
    try:
        folders = sorted(path for path in root.iterdir() if _may_be_run(path))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        hint = "name the folder of the runs with --output or MLMS_RUNS"
        raise StorageError(f"can't list runs: {error.strerror}", place=Place(root), hint=hint) from error
    found, problems = [], []
    for folder in folders:
        try:
            found.append(Run(folder))
        except StorageError as problem:
            problems.append(problem)
    found.sort(key=lambda run: (run.record["started_at"], run.id), reverse=True)
    return found, problems


def _may_be_run(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and not path.name.endswith(FAILED)


def runs(root: Path) -> Iterator[Run]:
    """All whole runs, newest first."""
    return iter(scan(root)[0])


def find(root: Path, reference: str) -> Run:
    """A run by ``@last`` (``@last~1`` is the one before it), path, id, name (its newest) or unique beginning of an id,
    looked for in this order.

    Raises:
        UnknownNameError: no run, or more than one, answers to it.
        StorageError: the one that does is damaged, or it is a path that can't be looked at.
    """
    if reference.startswith(LAST):
        return _last(root, reference)
    with reading(Path(reference)):
        return _find(root, reference)


def _find(root: Path, reference: str) -> Run:
    for path in (Path(reference), root / reference):
        if (path / FILE).is_file():
            return Run(path)
    if Path(reference).name == FILE and Path(reference).is_file():
        return Run(Path(reference).parent)
    known = list(runs(root))
    for run in known:
        if run.name == reference:
            return run
    matches = [run for run in known if reference and run.id.startswith(reference)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(run.id for run in matches[:_MOST_NAMED]) + (", ..." if len(matches) > _MOST_NAMED else "")
        raise UnknownNameError(f"'{reference}' fits {len(matches)} runs: {names}", hint="give more of the id")
    if Path(reference).is_dir() or (root / reference).is_dir():
        return Run(reference if Path(reference).is_dir() else root / reference)  # raises: it says what is missing
    near = get_close_matches(reference, [name for run in known for name in (run.name, run.id)], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "`mlms runs list` shows the runs there are"
    raise UnknownNameError(f"no run '{reference}' in '{root}'", hint=hint)


def _last(root: Path, reference: str) -> Run:
    """``@last``, or ``@last~N``: N runs before it."""
    form = re.fullmatch(rf"{LAST}(?:~(\d{{1,9}}))?", reference)
    if form is None:
        raise UnknownNameError(f"'{reference}' is no run", hint=f"{LAST} is the newest, {LAST}~1 the one before it")
    known, back = list(runs(root)), int(form[1] or 0)
    if not known:
        raise UnknownNameError(f"there are no runs in '{root}'", hint="`mlms eval MANIFEST` makes one")
    if back >= len(known):
        raise UnknownNameError(f"'{reference}' goes back too far: {len(known)} runs in {root}")
    return known[back]


def finished_runs(root: Path) -> dict[tuple[str, int | None], Path]:
    """Directory of the newest finished run by its evaluation's digest and the number of the repeat, if it is one."""
    finished: dict[tuple[str, int | None], Path] = {}
    for run in runs(root):
        if run.record.get("status") == "finished":
            repeat = run.record.get("repeat")
            finished.setdefault((run.record["digest"], repeat["index"] if repeat else None), run.path)
    return finished
