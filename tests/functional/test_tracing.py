"""The spans of a run at an OTLP collector."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from fakes.manifests import QUICK, judge, manifest
from fakes.otlp_receiver import receiver
from fakes.program import mlms
from mlms.runs.run import Run

pytestmark = pytest.mark.usefixtures("acme")


@pytest.mark.parametrize("level", ["application", "model"])
def test_the_collector_gets_exactly_the_spans_of_the_run(level: str) -> None:
    path = manifest(models=[judge()], trace={"level": level}, scenario={**QUICK, "min_queries": 700})
    with receiver() as collector:
        ended = mlms("eval", path, "--output", "runs", "--json", "--otlp", collector.endpoint)
    assert ended.code == 0, ended.err
    (record,) = ended.data
    assert record["trace"]["otlp"] == {"endpoint": collector.endpoint, "sent": record["trace"]["spans"], "error": None}
    kept = Run(record["path"]).spans.to_dicts()
    columns = ("trace_id", "span_id", "parent_id", "name", "start_ns", "end_ns", "status")
    sent = {tuple(span[column] for column in columns): span["attributes"] for span in collector.spans()}
    expected = {tuple(span[column] for column in columns): json.loads(span["attributes"]) for span in kept}
    assert sent.keys() == expected.keys()
    assert len(collector.spans()) == len(kept)
    for key, attributes in expected.items():
        assert attributes.items() <= sent[key].items()


def test_the_environment_names_the_collector_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        ended = mlms("eval", manifest(models=[judge()]), "--output", "runs", "--json")
    assert ended.data[0]["trace"]["otlp"]["endpoint"] == collector.endpoint
    assert len(collector.spans()) == ended.data[0]["trace"]["spans"]


def test_at_level_none_nothing_is_traced() -> None:
    with receiver() as collector:
        path = manifest(models=[judge()], trace="none")
        ended = mlms("eval", path, "--output", "runs", "--json", "--otlp", collector.endpoint)
    assert ended.data[0]["trace"]["spans"] == 0
    assert collector.requests == []


def test_a_collector_that_is_down_costs_little_and_loses_nothing() -> None:
    path = manifest(models=[judge()])
    mlms("eval", path, "--output", "runs")  # imports everything
    start = time.monotonic()
    alone = mlms("eval", path, "--output", "runs", "--json")
    usual = time.monotonic() - start
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        start = time.monotonic()
        ended = mlms("eval", path, "--output", "runs", "--json", "--otlp", endpoint)
        cost = time.monotonic() - start - usual
    assert ended.code == 0
    assert cost < 3, "2 s, and what the exporter's import takes"
    (record,) = ended.data
    warnings = [warning for warning in record["warnings"] if "harness" not in warning]  # which depends on the machine
    assert len(warnings) == 1
    assert ended.err.count("warning") == 1
    assert "spans.parquet" in warnings[0]
    assert record["trace"]["otlp"]["sent"] == 0
    assert Run(record["path"]).spans.height == record["trace"]["spans"] == alone.data[0]["trace"]["spans"]
    assert Path(record["path"], "report.html").is_file()
