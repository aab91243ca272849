"""How a figure reads, told by the name of its column."""

from __future__ import annotations

from mlms.reports.format import plain, size
from mlms.runs.summary import NOTHING, format_duration

_PERCENT = ("share", "explained", "efficiency", "gpu_share")
_RATES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(column: str, value: object) -> str:
    """A value of a column, by the column's unit.

    >>> quantity("self_ns", 80111), quantity("flops_per_s", 2.05e11), quantity("gap", 1.391), quantity("share", 67.13)
    ('80.11 µs', '205 GFLOP/s', '1.39×', '67.1 %')
    >>> quantity("output_bytes", 2048), quantity("flops", 4_100_000), quantity("leaf", True), quantity("type", None)
    ('2.0 KiB', '4.10 M', 'yes', '-')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return plain(value)
    if column.endswith("_ns"):
        return format_duration(value)
    if column.endswith("bytes"):
        return size(value)
    if column in _PERCENT:
        return f"{value:,.1f} %"
    if column == "gap":
        return f"{value:,.{2 if value < 99.95 else 0}f}×"
    if column.endswith("flops_per_s"):
        return f"{scaled(value)}FLOP/s"
    if column.endswith(("flops", "parameters")):
        return scaled(value).rstrip()
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if abs(value) < 1e5 else f"{value:,.0f}"


def scaled(value: float) -> str:
    """Three digits and a decimal prefix.

    >>> scaled(2.05e11), scaled(950), scaled(0)
    ('205 G', '950 ', '0 ')
    """
    for factor, prefix in _RATES:
        if abs(value) >= 0.9995 * factor:
            digits = max(0, 2 - len(str(int(abs(value) / factor))) + 1)
            return f"{value / factor:,.{digits}f} {prefix}"
    return f"{value:,.0f} "
