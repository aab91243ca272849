"""A finished run, opened."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlms.runs import record as run_record
from mlms.runs.directory import COUNTERS, PREDICTIONS, SPANS
from mlms.runs.partial import LATENCIES
from mlms.runs.summary import Row, summary_rows

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from mlms.tracing.counters import CounterTable


class Run:
    """A run directory: its record as plain data, its measurements as polars frames (read when asked for).

    Raises:
        StorageError: ``path`` is no whole run directory, or one that this version can't read.
    """

    def __init__(self, path: Path | str, record: dict[str, Any] | None = None) -> None:
        """``record`` is given where it is not written yet."""
        self.path = Path(path)
        self.record: dict[str, Any] = run_record.read(self.path) if record is None else record

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def metrics(self) -> dict[str, float]:
        """Figures by name, in the units of the record; one that could not be computed is left out."""
        return {entry["name"]: entry["value"] for entry in self.record["metrics"] if entry["value"] is not None}

    @property
    def percentiles(self) -> dict[float, float]:
        """Latencies in ns by percentile, such as 50.0; one that too few queries were made for is left out."""
        entries = (self.record["latency"] or {"percentiles": ()})["percentiles"]
        return {entry["percentile"]: entry["value"] for entry in entries if entry["value"] is not None}

    @property
    def missing(self) -> list[str]:
        """Measurements that the record names and the directory lacks: those of a run that was copied in part."""
        named = set((self.record.get("files") or {}).values())
        files = (LATENCIES, PREDICTIONS, SPANS, COUNTERS)
        return [name for name in files if name in named and not (self.path / name).is_file()]

    @property
    def summary(self) -> list[Row]:
        """What is worth showing, in plain text, most wanted first."""
        return summary_rows(self.record)

    @property
    def latencies(self) -> pl.DataFrame:
        """One row a query: ``query``, ``phase`` ("warmup" or "measured"), ``start_ns``, ``latency_ns``, ``samples``.

        ``waited_ns`` is the part of the latency before the query's prediction began (``server``).

        Raises:
            StorageError: the file is missing or damaged; so for the frames below.
        """
        return self._frame(LATENCIES)

    @property
    def predictions(self) -> pl.DataFrame:
        """One row a sample; the columns are those of the task."""
        return self._frame(PREDICTIONS)

    @property
    def spans(self) -> pl.DataFrame:
        """One row a span; ``mlms.tracing.spans`` describes the columns."""
        from mlms.tracing.spans import SpanTable

        return SpanTable.read(self.path / SPANS).frame

    @property
    def counters(self) -> pl.DataFrame:
        """One row a sample of a figure; ``mlms.tracing.counters`` describes the columns. Empty without profilers."""
        return self.counter_table.frame

    @property
    def counter_table(self) -> CounterTable:
        """The same, and what the samples are of."""
        from mlms.tracing.counters import CounterTable

        if not (self.record.get("files") or {}).get("counters"):
            return CounterTable.of(())
        return CounterTable.read(self.path / COUNTERS)

    def _frame(self, name: str) -> pl.DataFrame:
        from mlms.tracing import parquet

        return parquet.read(self.path / name)

    def __repr__(self) -> str:
        figures = "".join(f", {name}={value:g}" for name, value in self.metrics.items())
        return f"<Run {self.id}{figures}>"

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.name), caption=Text(str(self.path)), show_header=False)
        for row in self.summary:
            table.add_row(Text(row.label), Text(row.value), Text(row.note, style="dim"))
        return table

    def _repr_html_(self) -> str:
        cells = (
            f"<tr><th>{escape(row.label)}</th><td>{escape(row.value)}</td><td>{escape(row.note)}</td></tr>"
            for row in self.summary
        )
        return f"<table><caption>{escape(self.name)}</caption>{''.join(cells)}</table>"
