"""What becomes of counters when a run is over: a file, a summary for the record, metrics at a collector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlms.analysis.counters import summarize_counters
from mlms.executor.recording import Warnings
from mlms.profilers.region import MeasuredRegion
from mlms.runs.directory import COUNTERS, RunDirectory
from mlms.tracing.clock import unix_ns
from mlms.tracing.otlp import METRICS, ExportReport, endpoint_from_environment, send_counters
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Tracing, describe_resource

if TYPE_CHECKING:
    from mlms.tracing.counters import CounterTable


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters of a run; ``table`` is None where there are none."""

    table: CounterTable | None
    summary: Sequence[Mapping[str, Any]]

    @property
    def samples(self) -> int:
        return 0 if self.table is None else len(self.table)


def keep_counters(recorder: Recorder, region: MeasuredRegion, directory: RunDirectory, tracing: Tracing) -> Counted:
    """Write the counters to the run directory, if there are any, and summarise them over the measured region."""
    if not recorder.counters:
        return Counted(None, ())
    from mlms.tracing.counters import CounterTable

    table = CounterTable.of(recorder.counters, tracing.resource or describe_resource())
    directory.write_counters(table)
    window = unix_ns(region.start_ns), unix_ns(region.end_ns)
    return Counted(table, summarize_counters(recorder.counters, window))


def send_metrics(
    counted: Counted,
    run_id: str,
    endpoint: str | None,
    tracing: Tracing,
    spans: ExportReport | None,
    warnings: Warnings,
) -> ExportReport | None:
    """Send the counters to the endpoint given, else to the environment's; None where there is neither.

    A collector that just took no ``spans`` is not waited for again.
    """
    if counted.table is None or tracing.disabled or (endpoint or endpoint_from_environment(METRICS)) is None:
        return None
    if spans is not None and spans.error and not spans.sent:
        return ExportReport(spans.endpoint, 0, "not tried, as the spans were not taken")
    report = send_counters(counted.table, endpoint, attributes={"mlms.run_id": run_id})
    if report.error:
        warnings.add(f"{report.error}; all counters are kept in {COUNTERS}")
    return report
