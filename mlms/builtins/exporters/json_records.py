"""The records as they are: what ``mlms schema run`` describes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlms.builtins.exporters.text import TextExporter
from mlms.hooks import Component, Exporter, Run


def render(runs: Sequence[Run]) -> str:
    """One run's record, or a list of the records of several."""
    records = [run.record for run in runs]
    return json.dumps(records[0] if len(records) == 1 else records, indent=2, ensure_ascii=False)


COMPONENT: Component[Exporter] = Component(
    "json", lambda options, context: TextExporter(render), "The run's record; a list of them for several runs."
)
