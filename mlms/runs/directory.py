"""A run directory in the making: written under a hidden name beside its final place, then renamed; whole or absent."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlms.errors import DocumentError, FetchError, InputError, StorageError
from mlms.runs import record as run_record
from mlms.runs.partial import LATENCIES, LOG, SCRATCH, claim, failed, keep, partial
from mlms.storage import writing
from mlms.utf8 import storable

if TYPE_CHECKING:
    import polars as pl

    from mlms.tracing.counters import CounterTable
    from mlms.tracing.spans import SpanTable, StoredSpans

PREDICTIONS = "predictions.parquet"
SPANS = "spans.parquet"
COUNTERS = "counters.parquet"
REPORT = "report.html"
FILES = {
    "latencies": LATENCIES,
    "predictions": PREDICTIONS,
    "spans": SPANS,
    "counters": COUNTERS,
    "log": LOG,
    "report": REPORT,
}
"""The record's ``files``."""

PHASES = ("warmup", "measured")

_PROBE_BYTES = 1 << 16


def root_from(output: Path | None) -> Path:
    """The folder that run directories go to: the one given, else ``$MLMS_RUNS``, else ``./runs``."""
    return output or Path(os.environ.get("MLMS_RUNS") or "runs")


def check_writable(root: Path) -> None:
    """Make the folder if need be, and write to it for trial: before anything is measured.

    Raises:
        StorageError: it can't be made or written, or its disk is full.
    """
    probe = root / f".probe-{os.getpid()}"
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)


class RunDirectory:
    """Writes one run's files. ``path`` is the hidden place while writing, and the final one once it is whole."""

    def __init__(self, root: Path, run_id: str) -> None:
        """Reserve a place; ``id`` is ``run_id``, with a number after it where that is taken.

        Raises:
            StorageError: ``root`` can't be written.
        """
        self.kept_log: Path | None = None  # that of a run that failed
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
            for candidate in chain([run_id], (f"{run_id}-{number}" for number in count(2))):
                self.id = candidate
                self.final = root / candidate
                self.path = partial(self.final)
                lock = claim(self.path)
                if lock is None:
                    continue
                # Only who holds the hidden place makes a final one of it, so what isn't there now will not come.
                if not (self.final.exists() or failed(self.final).exists()):
                    self._lock = lock
                    return
                self.path.rmdir()
                os.close(lock)

    @classmethod
    @contextmanager
    def create(cls, root: Path, run_id: str) -> Iterator[RunDirectory]:
        """A directory that is complete when the context ends, and gone if an exception ends it.

        What ``logging`` is told under the name "mlms", from INFO on, goes to its log file meanwhile. Where it ends with
        an error, ``partial.keep`` keeps all that there is once latencies are written; before that the log, unless the
        error is plainly the input's or the network's.

        Raises:
            StorageError: a file can't be written.
        """
        directory = cls(root, run_id)
        try:
            with directory._log():
                yield directory
            if not (directory.path / run_record.FILE).is_file():
                raise RuntimeError(f"no record was written for run {directory.id}")
            with writing(directory.final):
                directory.path.rename(directory.final)
            directory.path = directory.final
        except BaseException as error:
            if isinstance(error, Exception):
                with suppress(OSError):  # the error that is on its way matters more
                    log = not isinstance(error, (InputError, FetchError))
                    directory.kept_log = keep(directory.path, directory.final, log)
            shutil.rmtree(directory.path, ignore_errors=True)
            raise
        finally:
            os.close(directory._lock)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write ``run.json``, once its content fits the schema of runs.

        Raises:
            RuntimeError: it doesn't, which is a bug of ours; with every problem.
            StorageError: it can't be written.
        """
        try:
            run_record.check(record, self.final / run_record.FILE)
        except DocumentError as error:
            raise RuntimeError(f"the record does not fit its schema:\n{error}") from error
        if record["id"] != self.id:
            raise ValueError(f"the record is of run {record['id']}, the directory of run {self.id}")
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        with writing(self.path / run_record.FILE):
            (self.path / run_record.FILE).write_text(text + "\n", "utf-8")

    def write_latencies(self, latencies: pl.DataFrame) -> None:
        """Write one row a query: its number, its phase (one of ``PHASES``), its time (Unix, ns), and its samples.

        ``waited_ns``, where given, is the part of its latency before its prediction began.
        """
        import polars as pl

        from mlms.tracing import parquet

        schema = {
            "query": pl.Int64,
            "phase": pl.String,
            "start_ns": pl.Int64,
            "latency_ns": pl.Int64,
            "samples": pl.Int32,
        }
        if "waited_ns" in latencies.columns:
            schema["waited_ns"] = pl.Int64
        parquet.write(latencies.select(pl.col(name).cast(kind) for name, kind in schema.items()), self.path / LATENCIES)

    def write_predictions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one row a sample; all rows have the same columns. Names of files may be no UTF-8."""
        import polars as pl

        from mlms.tracing import parquet

        parquet.write(pl.DataFrame([storable(row) for row in rows], infer_schema_length=None), self.path / PREDICTIONS)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the same disk for what memory can't hold; gone afterwards."""
        with writing(self.path):
            folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self.path))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write_spans(self, tables: Iterable[SpanTable], resource: Mapping[str, Any], scratch: Path) -> StoredSpans:
        """Write the trace, whose spans come in tables."""
        from mlms.tracing.span_file import write_tables
        from mlms.tracing.spans import StoredSpans

        write_tables(tables, resource, self.path / SPANS, scratch)
        return StoredSpans(self.path / SPANS)

    def write_counters(self, counters: CounterTable) -> None:
        """Write what profilers sampled."""
        counters.write(self.path / COUNTERS)

    def write_report(self, html: str) -> None:
        """Write the HTML report; whole, or not at all."""
        report = self.path / REPORT
        try:
            with writing(report):
                report.write_text(html, "utf-8")
        except StorageError:
            report.unlink(missing_ok=True)  # gives its space back to what matters more
            raise

    @contextmanager
    def _log(self) -> Iterator[None]:
        logger = logging.getLogger("mlms")
        with writing(self.path / LOG):
            handler = _LogFile(self.path / LOG)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(min(level or logging.INFO, logging.INFO))
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()
        with writing(self.path / LOG):
            if handler.failure is not None:
                raise handler.failure


class _LogFile(logging.FileHandler):
    """A log whose failure is kept for later, not printed between the lines of a progress display."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.failure: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failure = error
        else:
            super().handleError(record)
