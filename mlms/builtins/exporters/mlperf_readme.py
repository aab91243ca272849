"""A result directory's README.md: what was measured, how to measure it again, what a submission still needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlms.builtins.exporters.text import section
from mlms.hooks import Run

_SETTINGS = ("batch_size", "device", "dtype", "threads", "warmup", "limit", "seed", "options", "metrics")
_EXECUTION = ("isolation", "timeout", "gc", "cold_start")
_ONLY_IN = {"workers": "server", "samples_per_query": "multi_stream"}
"""Rules that the resolved evaluation always has a value for, and a manifest may give in one scenario only."""
_MISSING = """\
A submission needs besides:

- the fields of the system description that say "unknown" (`--set facts.FIELD=VALUE` fills them);
- the run of the other mode, performance or accuracy;
- the code, in `src`, and the compliance tests of the round.
"""


def readme(run: Run) -> str:
    """The document, in Markdown."""
    import yaml

    scenario = section(run, "scenario")
    lines = [f"# {run.name}", "", f"Run {run.id} of mlms {run.record['mlms_version']}, {run.record['started_at']}.", ""]
    if not scenario["valid"]:
        reasons = "; ".join(scenario.get("problems") or ["no reason is recorded"])
        lines += [f"**Not valid by MLPerf's rules:** {reasons}", ""]
    lines += [f"- {row.label}: {row.value}" + (f" ({row.note})" if row.note else "") for row in run.summary]
    lines += ["", "To measure it again, run `mlms eval` on this manifest:", "", "```yaml"]
    lines += [yaml.safe_dump(manifest(run), sort_keys=False, allow_unicode=True, width=100) + "```", "", _MISSING]
    return "\n".join(lines)


def manifest(run: Run) -> dict[str, Any]:
    """A manifest that plans the run's evaluation again, where its assets are in the catalog."""
    evaluation = section(run, "evaluation")
    model, dataset = evaluation["model"], evaluation["dataset"]
    synthetic = dataset["name"] == "synthetic"
    weights = section(run, "model")["weights"]
    settings = _given({**evaluation, **evaluation.get("execution", {})}, (*_SETTINGS, *_EXECUTION))
    if evaluation["scenario"]["type"] == "server":
        settings.pop("batch_size", None)  # there it is the most that dynamic batching takes
    return {
        "kind": "manifest",
        "schema_version": 1,
        "name": run.name,
        "model": f"{model['name']}@{model['version']}",
        "dataset": dataset["name"] if synthetic else f"{dataset['name']}@{dataset['version']}",
        **({"weights": {"random": {"seed": weights["seed"]}}} if weights["origin"] == "random" else {}),
        **settings,
        **_load(evaluation["scenario"]),
        "trace": {"level": evaluation["trace"]["level"]},
    }


def _load(rules: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved scenario as the manifest words it, with the profile that it came from."""
    kind = rules["type"]
    named = [key for key in rules if key not in ("profile", "max_batch", "max_queue_delay")]
    scenario = _given(rules, [key for key in named if _ONLY_IN.get(key, kind) == kind])
    if rules.get("max_batch", 1) > 1:
        scenario["dynamic_batching"] = {"max_batch": rules["max_batch"], "max_queue_delay": rules["max_queue_delay"]}
    profile = rules.get("profile", "default")
    return {**({"profile": profile} if profile != "default" else {}), "scenario": scenario}


def _given(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) not in (None, {}, [])}
