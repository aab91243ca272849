"""The contract of a framework that hosts digits-cnn in its environment's worker: the figures, layers and refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from mlms import api
from mlms.environments.store import provide
from mlms.errors import InputError
from mlms.hooks import Batch
from mlms.progress import Silent
from mlms.serving.process import Worker
from mlms.testing.subject import subject

PARAMETERS = 38282
INPUTS = [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}]
ATOL = 1e-4
PATIENCE_S = 120


class ServedDigitsContract:
    """Derive a class ``TestServedDigits`` from it in the tests of a plugin that ships digits-cnn for its framework."""

    framework: ClassVar[str]
    """The framework asset's name."""
    module: ClassVar[Path]
    """The serving module's file."""
    weights: ClassVar[Path]
    files: ClassVar[Mapping[str, Path]] = {}
    layers: ClassVar[Sequence[str]]
    """What the framework calls the model's layers, in order."""
    first_type: ClassVar[str]
    """The type of the first of them."""
    clock_ns: ClassVar[int] = 0
    """How far the framework's clock may be off: what it was read at, if that is coarse."""

    _logits: ClassVar[dict[int, npt.NDArray[Any]]] = {}

    @pytest.fixture
    def worker(self) -> Iterator[Worker]:
        spec = api.load_catalog().framework(self.framework).environment
        started = Worker(self.framework, self.module, provide(spec, self.framework, Silent()), PATIENCE_S)
        yield started
        started.close()

    def load(self, worker: Worker, weights: Path | None, **changed: Any) -> Mapping[str, Any]:
        """What it says of itself; ``changed`` is told it of the model, ``options`` are told beside the usual ones."""
        options = {"dtype": "float32", "threads": None, "packages": [], **changed.pop("options", {})}
        files = {key: str(file) for key, file in self.files.items()}
        model = {"name": "digits", "inputs": INPUTS, "factory": None, "arguments": {}, "seed": None, "files": files}
        path = None if weights is None else str(weights)
        facts: Mapping[str, Any] = worker.ask(
            "load", model={**model, **changed}, weights=path, device="cpu", options=options
        )["value"]
        return facts

    def assert_right(self, worker: Worker, count: int, do: str = "predict") -> None:
        """It answers ``count`` images as PyTorch does."""
        if count not in self._logits:
            with subject("pytorch", "digits-cnn", None, "cpu", {}, ()).load() as model:
                (self._logits[count],) = model.predict(images(count)).values()
        (found,) = worker.ask(do, images(count))["outputs"].values()
        np.testing.assert_allclose(found, self._logits[count], rtol=0, atol=ATOL)

    def test_logits_are_those_of_pytorch(self, worker: Worker) -> None:
        facts = self.load(worker, self.weights, options={"threads": 1})
        assert facts["framework"]["threads"] == 1
        assert facts["model"]["parameters"] == PARAMETERS
        for count in (1, 3, 33, 1):
            self.assert_right(worker, count)
        (found,) = worker.ask("predict", images(0))["outputs"].values()
        assert found.shape == (0, 10)

    def test_spans_are_the_layers_in_order_and_within_the_prediction(self, worker: Worker) -> None:
        self.load(worker, self.weights, options={"threads": 1})
        worker.ask("observe", images(2), level="layer")
        taken = []
        for count in (2, 1, 2):
            self.assert_right(worker, count, "predict_watched")
            taken += worker.ask("take")["value"]
        taken += worker.ask("unobserve")["value"]
        assert len(taken) == 3
        for count, ((_, _, start, end, _), *layers) in zip((2, 1, 2), taken, strict=True):
            assert [layer[0] for layer in layers] == list(self.layers)
            assert {layer[1] for layer in layers} == {"layer"}
            assert all(before[3] <= after[2] for before, after in pairwise(layers))
            assert start <= layers[0][2] + self.clock_ns
            assert layers[-1][3] <= end + self.clock_ns
            assert layers[0][4]["mlms.layer.type"] == self.first_type
            assert layers[0][4]["mlms.layer.output_shapes"] == [f"{count}x16x8x8"]
        self.assert_right(worker, 2)

    @pytest.mark.parametrize("content", [b"", b"rubbish" * 100], ids=["nothing", "rubbish"])
    def test_a_file_of_another_format_is_refused(self, worker: Worker, content: bytes, tmp_path: Path) -> None:
        file = tmp_path / self.weights.name
        file.write_bytes(content)
        with pytest.raises(InputError, match=file.name) as refused:
            self.load(worker, file)
        assert refused.value.hint

    def test_what_does_not_fit_is_refused(self, worker: Worker) -> None:
        with pytest.raises(InputError, match="bfloat16"):
            self.load(worker, self.weights, options={"dtype": "bfloat16"})
        with pytest.raises(InputError, match="picture"):
            self.load(worker, self.weights, inputs=[{"name": "picture", "dtype": "float32", "shape": [1, 9, 9]}])
        self.load(worker, self.weights)
        with pytest.raises(InputError, match=r"\(batch, 1, 8, 8\), not \(2, 8, 8\)"):
            worker.ask("predict", {"image": np.zeros((2, 8, 8), np.float32)})


def images(count: int) -> Batch:
    """Noise, the same for each count."""
    return {"image": np.random.default_rng(count).random((count, 1, 8, 8), dtype=np.float32)}
