"""Exporters that ship with mlms. Each renders stored records only; the standard library and PyYAML are all they use."""

from mlms.builtins.exporters import csv_tables, eval_results, json_records, junit, markdown, mlperf, model_index
from mlms.hooks import Component, Exporter

COMPONENTS: tuple[Component[Exporter], ...] = (
    json_records.COMPONENT,
    csv_tables.COMPONENT,
    markdown.COMPONENT,
    junit.COMPONENT,
    eval_results.COMPONENT,
    model_index.COMPONENT,
    mlperf.COMPONENT,
)
