"""What mlms finds through the entry point. MLflow is imported when the exporter is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlms.hooks import Component, Context, Exporter, hookimpl

OPTIONS = {
    "type": "object",
    "properties": {
        "tracking_uri": {
            "title": "Tracking URI",
            "description": "A server (http://...) or database (sqlite:///...); else $MLFLOW_TRACKING_URI.",
            "type": "string",
            "minLength": 1,
        },
        "experiment": {
            "title": "Experiment",
            "description": "The experiment's name, made if it isn't there; else $MLFLOW_EXPERIMENT_NAME, else 'mlms'.",
            "type": "string",
            "minLength": 1,
        },
        "artifacts": {
            "title": "Artifacts",
            "description": "Whether the run directory's files are stored too.",
            "type": "boolean",
            "default": True,
        },
    },
    "additionalProperties": False,
}


def make(options: Mapping[str, Any], context: Context) -> Exporter:
    from mlms_mlflow.exporter import MlflowExporter

    return MlflowExporter.configured(options)


@hookimpl
def mlms_exporters() -> Iterable[Component[Exporter]]:
    return [Component("mlflow", make, "An MLflow tracking server or database.", OPTIONS)]
