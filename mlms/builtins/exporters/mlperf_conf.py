"""LoadGen's settings of a run, from its detail log, as a ``user.conf`` that LoadGen reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A key of user.conf, the log's key for it (``{}`` is LoadGen's own word for the scenario), and its scale."""

    key: str
    logged: str
    factor: float = 1
    scenarios: tuple[str, ...] = ("SingleStream", "MultiStream", "Server", "Offline")


_STREAMS = ("SingleStream", "MultiStream")
SETTINGS = (
    Setting("target_latency", "requested_{}_expected_latency_ns", 1e-6, _STREAMS),
    Setting("target_latency", "effective_target_latency_ns", 1e-6, ("Server",)),
    Setting("target_latency_percentile", "effective_target_latency_percentile", 100, (*_STREAMS, "Server")),
    Setting("target_qps", "effective_target_qps", 1, ("Server", "Offline")),
    Setting("samples_per_query", "effective_samples_per_query", 1, ("MultiStream",)),
    Setting("min_duration", "effective_min_duration_ms"),
    Setting("max_duration", "effective_max_duration_ms"),
    Setting("min_query_count", "effective_min_query_count"),
    Setting("qsl_rng_seed", "effective_qsl_rng_seed"),
    Setting("sample_index_rng_seed", "effective_sample_index_rng_seed"),
    Setting("schedule_rng_seed", "effective_schedule_rng_seed"),
)  # fmt: skip
_WORDS = {"SingleStream": "single_stream", "MultiStream": "multi_stream", "Server": "server", "Offline": "offline"}


def settings_used(detail: Path) -> dict[str, Any]:
    """The last value of each key in the ``:::MLLOG`` lines of LoadGen's detail log; broken lines are passed over."""
    found: dict[str, Any] = {}
    for line in detail.read_text("utf-8", errors="replace").splitlines():
        if line.startswith(":::MLLOG "):
            try:
                entry = json.loads(line.removeprefix(":::MLLOG "))
                found[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError):
                continue
    return found


def user_conf(scenario: str, used: Mapping[str, Any]) -> str:
    """Lines ``*.SCENARIO.KEY = VALUE``, times in milliseconds, of the settings that LoadGen logged."""
    lines = ["# As LoadGen logged them. Times are in milliseconds."]
    for setting in SETTINGS:
        value = used.get(setting.logged.format(_WORDS[scenario]))
        if scenario in setting.scenarios and isinstance(value, int | float):
            scaled = value if setting.factor == 1 else round(value * setting.factor, 6)
            lines.append(f"*.{scenario}.{setting.key} = {scaled:.10g}")
    return "\n".join(lines)
