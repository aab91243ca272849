"""A serving module as a framework, in this process and in a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fakes.environments import SERVED, this_environment
from mlms.errors import (
    DeviceError,
    InputError,
    MlmsError,
    ModelError,
    OutOfMemoryError,
    PluginError,
    ProcessError,
)
from mlms.executor.observing import recorded_spans
from mlms.manifests.types import ModelAsset, Requirement, Source, TensorSpec, Weights
from mlms.serving.framework import ServedFramework
from mlms.serving.process import Worker, wire
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step
from mlms.tracing.spans import concat

BATCH = {"image": np.random.default_rng(0).standard_normal((5, 8, 8), np.float32)}
PLACES = ["here", "worker"]
THREADS = 8
ECHO = """
import time

def devices():
    return ["cpu"]

def describe():
    return {"version": "1", "threads": 1}

class Model:
    def predict(self, batch):
        time.sleep(0.002)  # in which another request may write over this one's memory
        return {"first": batch["x"][:, :1].copy(), "last": batch["x"][:, -1:].copy()}

    def describe(self):
        return {}

    def close(self):
        pass

def load(*told):
    return Model()
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SERVED.parent)


def framework(place: str, answer_timeout: float = 60.0) -> ServedFramework:
    environment = this_environment() if place == "worker" else None
    return ServedFramework("served", "mlms_served.serving", ("layer",), environment, answer_timeout)


def asset() -> ModelAsset:
    return ModelAsset(
        name="linear",
        version="1.0.0",
        file=None,
        task="image_classification",
        framework=Requirement("served"),
        source=Source(None, {}, Weights(seed=0)),
        input=(TensorSpec("image", "float32", (8, 8)),),
    )


def loaded(place: str, timeout: float = 60.0, weights: Path | None = None, **options: Any) -> Any:
    return framework(place, timeout).load(asset(), weights, "cpu", {"dtype": "float32", "threads": None, **options})


def workers() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE
        and any("serving/worker" in word for word in child.cmdline())
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_worker_stays() -> Iterator[None]:
    yield
    assert workers() == []


@pytest.mark.parametrize("place", PLACES)
def test_a_model_predicts_and_describes_itself(place: str) -> None:
    made = framework(place)
    predictor = made.load(asset(), None, "auto", {})
    matrix = np.random.RandomState(0).standard_normal((64, 10)).astype(np.float32)
    answered = predictor.predict(BATCH)
    assert list(answered) == ["scores"]
    assert np.allclose(answered["scores"], BATCH["image"].reshape(5, 64) @ matrix, atol=1e-5)
    assert predictor.describe()["parameters"] == 640
    assert predictor.flops(BATCH) == 2 * 5 * 640
    assert made.describe()["version"] == np.__version__
    predictor.close()
    predictor.close()
    if place == "worker":
        assert made.describe()["environment"]["name"] == "tests-0"


@pytest.mark.parametrize("place", PLACES)
def test_threads_are_answered_at_once_and_rightly(place: str) -> None:
    predictor = loaded(place)
    alone = predictor.predict(BATCH)["scores"]
    with ThreadPoolExecutor(4) as pool:
        for answered in pool.map(predictor.predict, [BATCH] * 40):
            assert np.array_equal(answered["scores"], alone)
    predictor.close()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"load": "refuse"}, InputError, "the file is none of ours"),
        ({"load": "memory"}, OutOfMemoryError, "no room"),
    ],
)
def test_a_refusal_is_the_users_to_mend(place: str, options: Any, kind: type[MlmsError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        loaded(place, **options)
    if kind is InputError:
        assert caught.value.hint == "convert it"


@pytest.mark.parametrize("place", PLACES)
def test_a_device_that_is_not_there(place: str) -> None:
    with pytest.raises(DeviceError, match="framework 'served' has no device 'cuda:3' here") as caught:
        framework(place).load(asset(), None, "cuda:3", {})
    assert "cpu" in str(caught.value.hint)


def test_a_failing_prediction_names_worker_and_environment_and_the_next_one_works() -> None:
    predictor = loaded("worker", fail_at=2)
    predictor.predict(BATCH)
    with pytest.raises(
        ModelError, match=r"framework 'served' \(environment tests-0\).*RuntimeError: the runtime gave up"
    ):
        predictor.predict(BATCH)
    assert predictor.predict(BATCH)["scores"].shape == (5, 10)
    predictor.close()


def test_a_worker_that_dies_while_loading_is_told_with_its_last_words() -> None:
    with pytest.raises(ProcessError, match="was ended by SIGKILL while it was to load") as caught:
        loaded("worker", load="die")
    assert "last words" in str(caught.value.hint)


def test_a_worker_that_dies_in_a_prediction() -> None:
    predictor = loaded("worker", fail_at=2, fail="die")
    predictor.predict(BATCH)
    with pytest.raises(ProcessError, match="was ended by SIGKILL while it was to predict"):
        predictor.predict(BATCH)
    predictor.close()


def test_a_worker_that_hangs_is_killed_and_named() -> None:
    predictor = loaded("worker", timeout=1.0, fail_at=2, fail="hang")
    predictor.predict(BATCH)
    began = time.monotonic()
    with pytest.raises(ProcessError, match="gave no answer to 'predict' within 1 s and was killed") as caught:
        predictor.predict(BATCH)
    assert time.monotonic() - began < 20
    assert "answer_timeout" in str(caught.value.hint)
    predictor.close()


def test_a_module_that_cannot_be_imported_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="No module named 'no_such_package'") as caught:
        ServedFramework("lacking", "lacking", (), this_environment()).load(asset(), None, "cpu", {})
    assert caught.value.hint


@pytest.mark.parametrize("place", PLACES)
def test_layers_lie_below_their_predictions(place: str) -> None:
    predictor = loaded(place)
    recorder = Recorder()
    step = Step(None)
    step.trace_id, step.span_id = "0" * 31 + "1", "0" * 15 + "1"
    began = time.perf_counter_ns()
    with predictor.observe(recorder, "layer", BATCH) as watched:
        for _ in range(3):
            watched.predict(BATCH)
            watched.checkpoint()
        watched.predict(BATCH)
    predictor.predict(BATCH)
    predictor.close()
    frame = concat(list(recorded_spans(recorder, [(step, began)]))).frame
    levels = {"model": 4, "layer": 8} | ({"framework": 4} if place == "worker" else {})
    assert dict(frame.group_by("level").len().iter_rows()) == levels
    outer = frame.select(parent_id="span_id", outer="name", first="start_ns", last="end_ns")
    layers = frame.filter(frame["level"] == "layer").join(outer, on="parent_id")
    assert layers.height == 8
    assert set(layers["outer"]) == {"worker" if place == "worker" else "predict linear"}
    assert (layers["start_ns"] >= layers["first"]).all()
    assert (layers["end_ns"] <= layers["last"]).all()
    assert layers["attributes"].str.contains("MatMul").sum() == 4


def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        f"sys.path[:0] = [{str(SERVED.parent)!r}, {str(Path(__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]\n"
        "import test_framework as tests\n"
        "print(tests.loaded('worker').describe()['worker_pid'], flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = psutil.Process(int(process.stdout.readline()))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    worker.wait(10)


@pytest.mark.parametrize("place", PLACES)
def test_no_device_here(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nowhere.py").write_text("def devices():\n    return []\n")
    (tmp_path / "missing.py").write_text('def devices():\n    raise ValueError("no driver", "install it")\n')
    monkeypatch.syspath_prepend(tmp_path)
    environment = this_environment() if place == "worker" else None
    with pytest.raises(DeviceError, match="'served' finds no device on this machine"):
        ServedFramework("served", "nowhere", (), environment).load(asset(), None, "auto", {})
    with pytest.raises(InputError, match="no driver") as refused:
        ServedFramework("served", "missing", (), environment).load(asset(), None, "auto", {})
    assert refused.value.hint == "install it"


def test_threads_that_begin_at_once_share_memory_with_the_worker_only(tmp_path: Path) -> None:
    module = tmp_path / "echo.py"
    module.write_text(ECHO)
    worker = Worker("echo", module, this_environment(), 60)
    worker.ask("load", model={}, weights=None, device="cpu", options={})
    start = threading.Barrier(THREADS)

    def work(number: int) -> None:
        batch = {"x": np.full((4, 100_000), number, np.float32)}  # large enough to be shared
        start.wait()
        for _ in range(10):
            outputs = worker.ask("predict", batch)["outputs"]
            assert (outputs["first"] == number).all()
            assert (outputs["last"] == number).all()

    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
    finally:
        worker.close()


@pytest.mark.parametrize("end", [Worker.close, Worker.kill], ids=["closed", "killed"])
def test_a_workers_temporary_files_go_with_it(tmp_path: Path, end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A serving module unpacks a model into a temporary folder, which its runtime may read until the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    unpacking = f"import tempfile\nfolder = tempfile.mkdtemp()\n{ECHO}"
    (tmp_path / "serving.py").write_text(unpacking.replace('"version": "1"', '"version": folder'))
    worker = Worker("echo", tmp_path / "serving.py", this_environment(), 60.0)
    folder = Path(worker.ask("load", model={}, weights=None, device="cpu", options={})["value"]["framework"]["version"])
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path / "temporary")
    end(worker)
    worker.close()
    assert not list((tmp_path / "temporary").iterdir())


def test_what_broke_off_an_answer_spoils_no_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "echo.py"
    module.write_text(ECHO)
    worker = Worker("echo", module, this_environment(), 10)
    worker.ask("load", model={}, weights=None, device="cpu", options={})
    batch = {"x": np.ones((1, 5), np.float32)}
    with monkeypatch.context() as patch:
        patch.setattr(wire.np, "empty", _no_memory)
        with pytest.raises(MemoryError):
            worker.ask("predict", batch)
    assert worker.ask("predict", batch)["outputs"]["first"] == 1
    worker.close()


def test_an_environment_whose_python_is_gone_is_named() -> None:
    gone = replace(this_environment(), folder=Path("/nowhere"))
    before = set(Path("/dev/shm").glob("mlms-*"))
    with pytest.raises(ProcessError, match=r"\(environment tests-0\) can't be started: No such file"):
        Worker("echo", Path("echo.py"), gone, 10)
    assert set(Path("/dev/shm").glob("mlms-*")) <= before


def _no_memory(*_: Any) -> Any:
    raise MemoryError
