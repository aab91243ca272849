"""Writes runs to an MLflow tracking store. Imports MLflow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlms.errors import InputError, StorageError
from mlms.hooks import Run
from mlms_mlflow import content


@dataclass(frozen=True, slots=True)
class MlflowExporter:
    """An mlms run becomes an MLflow run of the same name and times, once: a run that is there already is left alone."""

    tracking_uri: str
    experiment: str
    artifacts: bool
    writes: Literal["elsewhere"] = "elsewhere"

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> MlflowExporter:
        """What the options say, else the variables that MLflow itself reads.

        Raises:
            InputError: neither names a tracking store.
        """
        uri = options.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            raise InputError(
                "no MLflow tracking store is named",
                hint="set MLFLOW_TRACKING_URI, or say --set tracking_uri=http://HOST:PORT (or sqlite:///FILE)",
            )
        name = options.get("experiment") or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "mlms"
        return cls(uri, name, options.get("artifacts", True))

    def export(self, runs: Sequence[Run], target: Path | None) -> str:
        """Log each run. Returns a line for each, with its MLflow id.

        Raises:
            StorageError: the store can't be reached or refuses.
        """
        with self._speaking_to_mlflow():
            client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
            experiment = self._experiment(client)
            return "\n".join(self._export(client, experiment, run) for run in runs)

    def _experiment(self, client: MlflowClient) -> str:
        known = client.get_experiment_by_name(self.experiment)
        found: str = known.experiment_id if known else client.create_experiment(self.experiment)
        return found

    def _export(self, client: MlflowClient, experiment: str, run: Run) -> str:
        there = client.search_runs(
            [experiment], f"tags.`{content.RUN_ID}` = '{run.id}' and attributes.status != 'RUNNING'", max_results=1
        )
        if there:
            return f"{run.id}: already MLflow run {there[0].info.run_id} of experiment '{self.experiment}'"
        started = _milliseconds(run.record["started_at"])
        finished = _milliseconds(run.record.get("finished_at") or run.record["started_at"])
        made: str = client.create_run(experiment, start_time=started, run_name=run.name).info.run_id
        try:
            client.log_batch(
                made,
                metrics=[Metric(name, value, finished, 0) for name, value in content.metrics(run).items()],
                params=[Param(name, value) for name, value in content.params(run).items()],
                tags=[RunTag(name, value) for name, value in content.tags(run).items()],
            )
            if self.artifacts:
                client.log_artifacts(made, str(run.path))
        except BaseException:
            client.delete_run(made)  # half a run would be taken for a whole one
            raise
        status = "FINISHED" if run.record.get("status") == "finished" else "FAILED"
        client.set_terminated(made, status, finished)
        return f"{run.id}: MLflow run {made} of experiment '{self.experiment}'"

    @contextmanager
    def _speaking_to_mlflow(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as error:
            shown = re.sub(r"://[^/@]*@", "://", self.tracking_uri)
            said = str(error).replace(self.tracking_uri, shown).strip().splitlines()[:1] or [type(error).__name__]
            hint = "check that the server runs and the address is right"
            if not self.tracking_uri.startswith(("http://", "https://")):
                hint = "a database needs MLflow's drivers: pip install 'mlms-mlflow[sqlite]', or the whole of mlflow"
            raise StorageError(f"MLflow at {shown}: {said[0]}", hint=hint) from error


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000)
