"""What the user sees: progress on standard error, results on standard output.

Rich is imported here, so this module is imported only by commands that print tables or progress.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from mlms.progress import Advance, Silent

DRAW_INTERVAL_S = 0.1
WORTH_A_LINE_S = 10.0


def results_console() -> Console:
    """Standard output; no colour and no wrapping surprises when it is a pipe."""
    return Console(highlight=False, soft_wrap=False)


def messages_console() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False)


class TerminalProgress:
    """Progress bars on a terminal, a line for each finished task that took long in a log, warnings in both.

    The display has no thread of its own: it is drawn when the work reports, so that it doesn't run beside a
    measurement.
    """

    def __init__(self) -> None:
        self._console = messages_console()

    @contextmanager
    def task(self, description: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        if not self._console.is_terminal:
            done, began = 0, monotonic()

            def count(amount: int) -> None:
                nonlocal done
                done += amount

            yield count
            if monotonic() - began >= WORTH_A_LINE_S:
                counted = f"{done:,} {unit}, " if done and unit != "bytes" else ""
                self._console.print(f"{_escape(description)}: {counted}{monotonic() - began:.0f} s", soft_wrap=True)
            return
        with Progress(*_columns(total, unit), console=self._console, transient=True, auto_refresh=False) as progress:
            task = progress.add_task(description, total=total)
            progress.refresh()
            drawn = progress.get_time()

            def advance(amount: int) -> None:
                nonlocal drawn
                progress.update(task, advance=amount)
                if progress.get_time() - drawn >= DRAW_INTERVAL_S:
                    progress.refresh()
                    drawn = progress.get_time()

            yield advance

    def warn(self, message: str) -> None:
        self._console.print(f"[yellow]warning:[/yellow] {_escape(message)}", soft_wrap=True)


def progress(quiet: bool) -> TerminalProgress | Silent:
    return Silent() if quiet else TerminalProgress()


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _columns(total: int | None, unit: str) -> list[ProgressColumn | str]:
    columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    if total is not None:
        columns.append(BarColumn(bar_width=30))
    if unit == "bytes":
        columns += [DownloadColumn(), TransferSpeedColumn()]
    else:
        columns += [MofNCompleteColumn() if total is not None else TextColumn("{task.completed:,}"), TextColumn(unit)]
    return [*columns, TimeElapsedColumn()]
