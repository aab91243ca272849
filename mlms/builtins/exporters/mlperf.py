"""A result directory in the shape of an MLPerf Inference submission, with LoadGen's own logs.

The shape is that of the submission rules (https://github.com/mlcommons/policies, submission_rules.adoc) as the checker
of round 6.0 reads it: ``DIVISION/SUBMITTER/systems/SYSTEM.json`` and, in
``DIVISION/SUBMITTER/results/SYSTEM/MODEL/SCENARIO/``, the logs below ``performance/run_1`` or ``accuracy``, beside
``measurements.json``, ``user.conf`` and ``README.md``. It is no submission yet: README.md says what is missing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlms.builtins.exporters import mlperf_system
from mlms.builtins.exporters.mlperf_conf import settings_used, user_conf
from mlms.builtins.exporters.mlperf_readme import readme
from mlms.builtins.exporters.text import section
from mlms.errors import InputError, Place, StorageError
from mlms.hooks import Component, Exporter, Run

LOGS = "loadgen"
"""LoadGen's folder in a run directory."""
SCENARIOS = {
    "single_stream": "SingleStream",
    "multi_stream": "MultiStream",
    "server": "Server",
    "offline": "Offline",
}
PERFORMANCE_FILES = ("mlperf_log_summary.txt", "mlperf_log_detail.txt")
ACCURACY_FILES = (*PERFORMANCE_FILES, "mlperf_log_accuracy.json")

_NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}
OPTIONS = {
    "type": "object",
    "properties": {
        "submitter": {**_NAME, "title": "Submitter", "description": "The organisation.", "default": "unknown"},
        "division": {
            "title": "Division",
            "description": "MLPerf's division.",
            "enum": ["closed", "open", "network"],
            "default": "open",
        },
        "system": {**_NAME, "title": "System", "description": "The system's id; made of its processor if not said."},
        "model": {**_NAME, "title": "Model", "description": "The benchmark's name; the model's own if not said."},
        "facts": {
            "title": "Facts",
            "description": "Fields of the system description that mlms can't know, such as cooling.",
            "type": "object",
            "properties": {
                field: {"title": field, "description": "See the submission rules.", "type": ["string", "integer"]}
                for field in mlperf_system.FIELDS
                if field not in ("submitter", "division")
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class MlperfExporter:
    """``options`` as OPTIONS describes them."""

    options: Mapping[str, Any]
    writes: Literal["folder"] = "folder"

    def export(self, runs: Sequence[Run], target: Path | None) -> str:
        """Write one submitter's folder; each run goes to the place of its system, model and scenario.

        Raises:
            InputError: a run didn't finish, or two would lie in one place.
            StorageError: LoadGen's logs are missing.
        """
        if target is None:
            raise ValueError("an exporter that writes a folder needs one")
        root = target / self.options.get("division", "open") / self.options.get("submitter", "unknown")
        taken: dict[Path, Run] = {}
        systems: dict[str, Run] = {}
        for run in runs:
            place = self._place(root, run)
            if place in taken:
                raise InputError(
                    f"runs {taken[place].id} and {run.id} would both be {place.relative_to(target)}",
                    hint="MLPerf has one run of a system, model and scenario; export one of them",
                )
            taken[place] = run
            known = systems.setdefault(self._system(run), run)
            if known.record["environment"]["fingerprint"] != run.record["environment"]["fingerprint"]:
                raise InputError(
                    f"runs {known.id} and {run.id} were made on different systems, and 'system' gives both one name",
                    hint="export the runs of each system on their own, or leave 'system' out",
                )
            _log_files(run)
        for place, run in taken.items():
            self._write_run(place, run)
        for system, run in systems.items():
            described = mlperf_system.describe(run, system, self.options)
            (root / "systems").mkdir(parents=True, exist_ok=True)
            _write(root / "systems" / f"{system}.json", json.dumps(described, indent=2, ensure_ascii=False))
        return f"runs: {len(runs)}, systems: {len(systems)}"

    def _system(self, run: Run) -> str:
        return str(self.options.get("system") or mlperf_system.default_name(run))

    def _place(self, root: Path, run: Run) -> Path:
        if run.record.get("status") != "finished":
            raise InputError(f"run {run.id} did not finish", hint="repeat it, or export another")
        model = self.options.get("model") or re.sub(r"[^A-Za-z0-9._-]+", "-", section(run, "model")["name"])
        scenario = SCENARIOS[section(run, "scenario")["type"]]
        mode = "accuracy" if _accuracy(run) else "performance/run_1"
        return root / "results" / self._system(run) / model / scenario / mode

    def _write_run(self, place: Path, run: Run) -> None:
        place.mkdir(parents=True)
        for log in _log_files(run):
            shutil.copyfile(log, place / log.name)
        folder = place if _accuracy(run) else place.parent
        folder = folder.parent
        if _accuracy(run):
            lines = [f"{metric['name']}={metric['value']}{metric['unit']}" for metric in run.record["metrics"]]
            _write(place / "accuracy.txt", "\n".join(lines))
        scenario = SCENARIOS[section(run, "scenario")["type"]]
        used = settings_used(run.path / LOGS / "mlperf_log_detail.txt")
        _write(folder / "user.conf", user_conf(scenario, used))
        _write(folder / "measurements.json", json.dumps(_measurements(run), indent=2, ensure_ascii=False))
        _write(folder / "README.md", readme(run))


def _accuracy(run: Run) -> bool:
    return bool(section(run, "scenario").get("mode") == "accuracy")


def _log_files(run: Run) -> list[Path]:
    files = [run.path / LOGS / name for name in (ACCURACY_FILES if _accuracy(run) else PERFORMANCE_FILES)]
    for file in files:
        if not file.is_file():
            raise StorageError(
                f"run {run.id} is without LoadGen's {file.name}", place=Place(file), hint="repeat the run"
            )
    return files


def _measurements(run: Run) -> dict[str, str]:
    """How the model was made to run: the fields that the rules ask for."""
    model = run.record["model"]
    weights, dtype = model["weights"], str(model["describe"].get("dtype", "unknown"))
    random = weights["origin"] == "random"
    source = f"random initialisation, seed {weights['seed']}" if random else str(weights["location"])
    inputs = (section(run, "evaluation").get("model") or {}).get("input") or ()
    return {
        "starting_weights_filename": source + (f" (SHA-256 {weights['sha256']})" if weights["sha256"] else ""),
        "weight_transformations": f"no, beyond loading them as {dtype}",
        "weight_data_types": dtype,
        "input_data_types": ", ".join(dict.fromkeys(str(tensor["dtype"]) for tensor in inputs)) or "unknown",
        "retraining": "no",
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", "utf-8")


COMPONENT: Component[Exporter] = Component(
    "mlperf",
    lambda options, context: MlperfExporter(options),
    "An MLPerf Inference result directory, LoadGen's own logs in it.",
    OPTIONS,
)
