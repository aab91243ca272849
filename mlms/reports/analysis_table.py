"""Analyses for a terminal. Imports rich; imported lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mlms.reports.format import plain
from mlms.reports.quantities import quantity
from mlms.reports.terminal import Fitting
from mlms.reports.where_time_goes import BOUND_COLUMNS, LAYER_COLUMNS, TYPE_COLUMNS, headline, layers_heading, notes
from mlms.runs.summary import NOTHING

LEAST_WANTED = (
    *("layer", "leaf", "predictions", "start_ns", "parameters", "self_flops", "input_bytes", "compute_ns", "memory_ns"),
    *("framework", "threads", "dtype", "runs", "parameter_bytes", "input_shapes", "call", "output_shapes", "lost_ns"),
    *("attainable_flops_per_s", "time_ns", "device", "output_bytes", "occupancy", "dram_write_bytes", "latency_ns"),
    *("memory_bound", "bytes", "flops"),
)
"""Columns that a narrow terminal goes without, the first ones first."""

LONGEST, WIDE = 28, 60
"""Characters of a name or shape; where there is room for more."""
SHORT_TYPE, SHORT_BOTH = 12, 29
"""A type, and a name and type together, where the screen is narrow."""


def overview_table(data: Mapping[str, Any]) -> ConsoleRenderable:
    """Layer types by time with the gap of each to its bound, then the layers that lose most: one screen."""
    bounded = data["roof"] is not None
    bound = BOUND_COLUMNS if bounded else {}
    title = Text(plain(data["run"]), style="bold")
    if data["way"]:
        title += Text(f"  {plain(data['way'])}", style="not bold dim")
    types = _table(data["types"], {**TYPE_COLUMNS, **bound})
    columns = {**LAYER_COLUMNS, **bound}
    rows = data["layers"]
    shorter, short = _named_shortly(rows, 2 * LONGEST, LONGEST), _named_shortly(rows, SHORT_BOTH, SHORT_TYPE)
    layers = Fitting([_table(each, columns, WIDE) for each in (rows, shorter, short)])
    return Group(
        title,
        Text(headline(data)),
        Text(),
        types,
        Text(layers_heading(data)),
        layers,
        *(Text(note, style="dim") for note in notes(data)),
    )


def frame_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], more: int) -> ConsoleRenderable:
    """Rows of an analysis, with as many columns as fit; ``more`` rows were left out."""
    return _Fitting(rows, columns, more)


class _Fitting:
    def __init__(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], more: int) -> None:
        self._rows, self._columns, self._more = rows, columns, more

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        dropped = [name for name in self._columns if all(row[name] is None for row in self._rows)]
        candidates = [name for name in LEAST_WANTED if name in self._columns and name not in dropped]
        while True:
            shown = {name: name.removesuffix("_ns") for name in self._columns if name not in dropped}
            table = _table(self._rows, shown)
            needed = Measurement.get(console, options.update(width=10_000), table).maximum
            if needed <= options.max_width or not candidates:
                break
            dropped.append(candidates.pop(0))
        yield table
        if dropped:
            yield Text(f"Columns without values or room: {', '.join(dropped)} (see --csv).", style="dim")
        if self._more:
            yield Text(f"{self._more:,} more rows; --top 0 shows all.", style="dim")


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], longest: int = LONGEST) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name, heading in columns.items():
        figures = any(isinstance(row[name], int | float) and not isinstance(row[name], bool) for row in rows)
        table.add_column(heading, justify="right" if figures else "left", no_wrap=True)
    for row in rows:
        cells = [_short(quantity(name, row[name]), longest) for name in columns]
        table.add_row(
            *("" if cell == NOTHING and name == "count" else cell for name, cell in zip(columns, cells, strict=True))
        )
    return table


def _named_shortly(rows: Sequence[Mapping[str, Any]], both: int, kind: int) -> list[dict[str, Any]]:
    """Rows whose types take ``kind`` characters at most, and their names what is left of ``both``."""
    kinds = [_short(str(row["type"]), kind) for row in rows]
    names = [(str(row["name"]), both - len(kind)) for row, kind in zip(rows, kinds, strict=True)]
    ends = [_short(name, longest) for name, longest in names]
    for end in {end for end in ends if ends.count(end) > 1}:  # such as ONNX's names
        alike = [place for place, found in enumerate(ends) if found == end]
        columns = zip(*(names[place][0] for place in alike), strict=False)
        shared = "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, columns))
        start = max(shared.rfind(mark) + 1 for mark in "/.")
        for place in alike:
            ends[place] = _short_from(start, *names[place])
    return [{**row, "name": name, "type": kind} for row, name, kind in zip(rows, ends, kinds, strict=True)]


def _short(text: str, longest: int) -> str:
    """The end of a long name tells more than its beginning."""
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def _short_from(start: int, text: str, longest: int) -> str:
    """What a long name has from a place on.

    >>> _short_from(7, "/model/layer1.0/activation/Relu_output_0", 17)
    '…layer1.0/activa…'
    """
    if len(text) <= longest:
        return text
    rest = f"…{text[start:]}" if start else text
    return rest if len(rest) <= longest else f"{rest[: longest - 1]}…"
