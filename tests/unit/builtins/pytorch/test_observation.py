"""What a PyTorch predictor shows below a prediction."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fakes.model_assets import torch_model
from mlms.builtins.pytorch import operators
from mlms.builtins.pytorch.predictor import PyTorchPredictor
from mlms.errors import ModelError
from mlms.executor.observing import recorded_spans
from mlms.tracing.clock import unix_ns
from mlms.tracing.levels import depth
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step
from mlms.tracing.spans import concat

LEVELS = ("framework", "layer", "operator", "library")


def predictor(module: nn.Module, shape: Sequence[int] = (4,), **options: Any) -> PyTorchPredictor:
    asset = torch_model("any:any", inputs={"x": tuple(shape)})
    return PyTorchPredictor(
        asset,
        module.eval(),
        device=torch.device("cpu"),
        dtype=torch.float32,
        options=options,
        cleanup=ExitStack(),
    )


@dataclass
class Traced:
    """The span table of some predictions, and the notes."""

    spans: pl.DataFrame
    notes: list[str] = field(default_factory=list)

    def of(self, level: str) -> pl.DataFrame:
        return self.spans.filter(pl.col("level") == level)

    @property
    def nested(self) -> pl.DataFrame:
        """Every span beside its parent."""
        outer = self.spans.select(
            parent_id="span_id", outer="name", outer_level="level", outer_start="start_ns", outer_end="end_ns"
        )
        return self.spans.join(outer, on="parent_id", how="left")


def traced(
    made: PyTorchPredictor,
    level: str,
    batch: Mapping[str, Any],
    count: int = 3,
    threads: int = 1,
    folder: Path | None = None,
) -> Traced:
    """Predict ``count`` times in each of some threads, with the main thread as the only one where that is one."""
    recorder = Recorder(folder, spill_bytes=0) if folder else Recorder()
    step = Step(None)
    step.trace_id, step.span_id = "ab" * 16, "cd" * 8
    with made.observe(recorder, level, batch) as watched:

        def predict() -> None:
            for _ in range(count):
                watched.predict(batch)
                watched.checkpoint()
                recorder.spill()

        workers = [threading.Thread(target=predict) for _ in range(threads if threads > 1 else 0)]
        for worker in workers:
            worker.start()
        if not workers:
            predict()
        for worker in workers:
            worker.join()
    return Traced(concat(recorded_spans(recorder, [(step, 0)])).frame, recorder.notes)


def assert_nested(found: Traced, step_id: str = "cd" * 8) -> None:
    """No orphan, every span within its parent, and children of one thread one after another."""
    inner = found.nested.filter(pl.col("parent_id") != step_id)
    assert inner["outer_start"].null_count() == 0
    assert (inner["start_ns"] >= inner["outer_start"]).all()
    assert (inner["end_ns"] <= inner["outer_end"]).all()
    thread = pl.col("attributes").str.json_path_match("$['thread.id']")
    beside = inner.with_columns(thread=thread).sort("start_ns", "end_ns")
    gap = pl.col("start_ns").shift(-1).over("parent_id", "thread") - pl.col("end_ns")
    assert beside.select(gap.min()).item() is None or beside.select(gap.min()).item() >= 0
    took = pl.col("end_ns") - pl.col("start_ns")
    sums = inner.with_columns(thread=thread).group_by("parent_id", "thread").agg(inside=took.sum())
    outer = found.spans.select(parent_id="span_id", whole=took)
    assert sums.join(outer, on="parent_id").select((pl.col("inside") <= pl.col("whole")).all()).item()


def small_convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(4))


IMAGE = {"x": np.zeros((2, 8, 16, 16), np.float32)}


@pytest.fixture
def convolution() -> PyTorchPredictor:
    module = small_convolution()
    module(torch.from_numpy(IMAGE["x"]))
    return predictor(module, (8, 16, 16))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_level_nests(convolution: PyTorchPredictor, level: str, threads: int) -> None:
    found = traced(convolution, level, IMAGE, count=4, threads=threads)
    assert_nested(found)
    predictions = 4 * threads
    assert found.of("model").height == predictions
    assert found.of("framework").height == 4 * predictions
    assert found.of("layer").height == (5 * predictions if depth(level) >= depth("layer") else 0)
    shown = set(found.spans["level"].unique()) - {"library"}
    assert shown == {"model", *LEVELS[: LEVELS.index(level) + 1]} - {"library"}


def test_operators_lie_in_the_layer_that_called_them(convolution: PyTorchPredictor) -> None:
    found = traced(convolution, "operator", IMAGE).nested
    outermost = found.filter((pl.col("level") == "operator") & (pl.col("outer_level") == "layer"))
    assert outermost.group_by("outer").agg(pl.col("name").unique()).sort("outer").rows() == [
        ("0", ["aten::conv2d"]),
        ("1", ["aten::relu"]),
        ("2", ["aten::conv2d"]),
        ("3", ["aten::flatten"]),
        ("4", ["aten::linear"]),
    ]


def test_library_calls_are_those_of_the_operators(convolution: PyTorchPredictor) -> None:
    found = traced(convolution, "library", IMAGE)
    calls = found.nested.filter(pl.col("level") == "library")
    assert set(calls["outer_level"]) == {"operator"}
    convolutions = calls.filter(pl.col("name") == "oneDNN convolution")
    assert convolutions.height == 2 * found.of("model").height
    assert set(convolutions["outer"]) == {"aten::mkldnn_convolution"}
    assert set(convolutions["attributes"].str.json_path_match("$['mlms.library.primitive']")) == {"convolution"}


def test_what_others_print_is_handed_on(convolution: PyTorchPredictor, capfd: pytest.CaptureFixture[str]) -> None:
    before = convolution.forward

    def talkative(inputs: Any) -> Any:
        print("from the model", flush=True)
        return before(inputs)

    convolution.forward = talkative  # type: ignore[method-assign]
    traced(convolution, "library", IMAGE, count=2)
    printed = capfd.readouterr().out
    assert printed.count("from the model\n") == 2
    assert "onednn_verbose" not in printed


def test_kineto_is_restarted_without_a_loss(convolution: PyTorchPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "FIRST_CHUNK", 2)
    monkeypatch.setattr(operators, "EVENTS_PER_CHUNK", 100)
    whole = traced(convolution, "operator", IMAGE, count=1).spans.height
    found = traced(convolution, "operator", IMAGE, count=10, threads=2)
    assert_nested(found)
    assert found.spans.height == 20 * whole


def test_a_trace_that_went_through_the_disk_is_the_same(convolution: PyTorchPredictor, tmp_path: Path) -> None:
    for level in ("layer", "operator"):
        folder = tmp_path / level
        folder.mkdir()
        found = traced(convolution, level, IMAGE, count=20, folder=folder)
        assert list(folder.iterdir()), "it went through the disk"
        assert_nested(found)
        assert found.spans.height == 20 * traced(convolution, level, IMAGE, count=1).spans.height


def test_the_terminal_is_not_told_what_kineto_thinks(
    convolution: PyTorchPredictor, capfd: pytest.CaptureFixture[str]
) -> None:
    traced(convolution, "operator", IMAGE, count=1)
    assert capfd.readouterr() == ("", "")


class Leaf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class Tree(nn.Module):
    """Calls its children one after another, the ``again``-th twice."""

    def __init__(self, children: Sequence[nn.Module], again: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(children)
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        for place, child in enumerate(self.inner):
            x = child(x)
            if place == self.again:
                x = torch.relu(child(x))
        return x * 2


MODULES: st.SearchStrategy[nn.Module] = st.recursive(
    st.builds(Leaf),
    lambda inner: st.builds(Tree, st.lists(inner, min_size=1, max_size=3), st.integers(0, 3)),
    max_leaves=8,
)


def calls(module: nn.Module) -> Iterator[str]:
    """The types of the modules that one call of this one calls."""
    if isinstance(module, Tree):
        for place, child in enumerate(module.inner):
            for _ in range(2 if place == module.again else 1):
                yield type(child).__name__
                yield from calls(child)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MODULES, st.booleans())
def test_any_nested_modules_nest(module: nn.Module, shared: bool) -> None:
    outer = Tree([module, module] if shared else [module], again=-1)
    found = traced(predictor(outer), "operator", {"x": np.zeros((1, 4), np.float32)}, count=2)
    assert_nested(found)
    kinds = found.of("layer")["attributes"].str.json_path_match("$['mlms.layer.type']").to_list()
    assert sorted(kinds) == sorted(2 * list(calls(outer)))
    inside = found.nested.filter(pl.col("level") == "operator")
    assert set(inside["outer_level"]) <= {"layer", "operator", "framework"}


class Recursive(nn.Module):
    """Calls itself."""

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        return x if depth == 0 else self(x + 1, depth - 1)


@pytest.mark.parametrize("level", ["layer", "operator"])
def test_a_module_that_calls_itself(level: str) -> None:
    found = traced(predictor(nn.Sequential(Recursive())), level, {"x": np.zeros((1, 4), np.float32)}, count=2)
    assert_nested(found)
    layers = found.of("layer")
    assert layers.height == 2 * 4
    assert layers["attributes"].str.json_path_match("$['mlms.layer.call']").unique().sort().to_list() == list("0123")


class Parallel(nn.Module):
    """Runs a layer in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = Leaf()

    def forward(self, x: Tensor) -> Tensor:
        results: list[Tensor] = []
        thread = threading.Thread(target=lambda: results.append(self.beside(x)))
        thread.start()
        thread.join()
        return results[0]


@pytest.mark.parametrize("level", ["layer", "operator"])
def test_what_a_model_s_own_thread_does_lies_in_the_prediction(level: str) -> None:
    found = traced(predictor(Parallel()), level, {"x": np.zeros((1, 4), np.float32)})
    assert_nested(found)
    layers = found.nested.filter(pl.col("level") == "layer")
    assert layers.height == 3
    assert set(layers["outer_level"]) == {"model"}


class Failing(nn.Module):
    """Raises from the call of this number on."""

    def __init__(self, since: int) -> None:
        super().__init__()
        self.since = since

    def forward(self, x: Tensor) -> Tensor:
        self.since -= 1
        if self.since < 0:
            raise RuntimeError("no such weather")
        return x


@pytest.mark.parametrize("level", ["layer", "operator", "library"])
@pytest.mark.parametrize("since", [0, 1], ids=["while it is described", "while it predicts"])
def test_a_layer_that_raises_is_the_model_s_and_nothing_stays_installed(level: str, since: int) -> None:
    module = nn.Sequential(Leaf(), Failing(since))
    made, batch = predictor(module), {"x": np.zeros((1, 4), np.float32)}
    with pytest.raises(ModelError, match=r"'net' raised RuntimeError while predicting.*no such weather"):
        traced(made, level, batch)
    assert "forward" not in module[0].__dict__
    assert "forward" not in made.__dict__


def test_spans_are_in_the_time_of_this_process(convolution: PyTorchPredictor) -> None:
    """Kineto's clock is another one than that of the latencies."""
    from time import perf_counter_ns

    for level in LEVELS:
        before = unix_ns(perf_counter_ns())
        found = traced(convolution, level, IMAGE).spans
        after = unix_ns(perf_counter_ns())
        assert before <= found["start_ns"].min() < found["end_ns"].max() <= after  # type: ignore[operator]


def test_a_compiled_model_has_operators_without_layers(tmp_path: Path) -> None:
    made = predictor(nn.Sequential(Leaf(), Leaf()), compile={"backend": "eager"})
    made.predict({"x": np.zeros((1, 4), np.float32)})
    found = traced(made, "operator", {"x": np.zeros((1, 4), np.float32)})
    assert_nested(found)
    assert found.of("layer").is_empty()
    assert not found.of("operator").is_empty()
