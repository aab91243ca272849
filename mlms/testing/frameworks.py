"""The contract of a framework: ``mlms.hooks.Framework``, or a serving module."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import psutil
import pytest

from mlms import api
from mlms.errors import DeviceError, InputError, MlmsError, ProcessError, UnknownNameError
from mlms.executor.loading import LoadedModel
from mlms.hooks import Batch, CountsFlops, Framework, Outputs, Predictor, TracksDeviceMemory
from mlms.testing.arrays import LAYOUTS, close, difference, first, kept, other_dtype
from mlms.testing.components import check_component, registered
from mlms.testing.recording import recorded_events, spans_of
from mlms.testing.rules import assert_placed, assert_plain, assert_refused, within
from mlms.testing.subject import Subject, subject
from mlms.tracing.levels import LEVELS, depth
from mlms.tracing.recorder import Recorder

T = TypeVar("T")

ACCURACY_TOLERANCE = 0.01
"""How far accuracy (in percent) may be from the published figure."""
LOADS = 6
SLACK_BYTES = 32 << 20
"""What a process may grow by, beside one model, over the last loads of ``LOADS``."""
OBSERVED = 3
"""Predictions observed at each level."""
THREADS = 4
ROUNDS = 4
"""Predictions of each thread."""


class FrameworkContract:
    """Derive a class ``TestContract`` from it in a plugin's tests, with ``framework`` and ``model``.

    The installed plugin is found by its entry point, and the assets in the catalog; the framework's environment is made
    where it has one. A model asset with a weights file and published figures lets everything be tested.
    """

    framework: ClassVar[str]
    """The framework asset's name."""
    model: ClassVar[str]
    """The model asset's name."""
    dataset: ClassVar[str | None] = None
    """Where samples come from, and what accuracy is compared on. None: synthetic samples, and accuracy on the datasets
    of the model's published figures whose data are on this machine."""
    device: ClassVar[str] = "cpu"
    dims: ClassVar[Mapping[str, Sequence[int]]] = {}
    """Whole shapes of inputs with free dimensions, for synthetic samples."""
    batch_sizes: ClassVar[Sequence[int]] = (1, 2, 7)
    rtol: ClassVar[float] = 1e-4
    atol: ClassVar[float] = 1e-5
    """How far one row may differ with the batch that it is predicted in, and with the thread."""
    patience_s: ClassVar[float] = 60.0
    """A prediction that takes longer has hung."""
    assets: ClassVar[Sequence[str | Path]] = ()
    """Asset folders besides those of the catalog."""

    _made: ClassVar[dict[str, Any]]
    """What the tests of one class share. (A fixture of a class's scope is written differently for each pytest.)"""

    @classmethod
    def setup_class(cls) -> None:
        cls._made = {}

    @classmethod
    def teardown_class(cls) -> None:
        if "loaded" in cls._made:
            cls._made["loaded"].predictor.close()
        cls._made.clear()

    @pytest.fixture
    def subject(self) -> Subject:
        """The evaluation, its framework's environment made; nothing is loaded."""
        if "subject" not in self._made:
            registered("framework", api.load_catalog(self.assets).framework(self.framework).component)
            self._made["subject"] = subject(
                self.framework, self.model, self.dataset, self.device, self.dims, self.assets
            )
        found: Subject = self._made["subject"]
        return found

    @pytest.fixture
    def loaded(self, subject: Subject) -> LoadedModel:
        """The model, for the tests that leave it as it was."""
        if "loaded" not in self._made:
            self._made["loaded"] = subject.load()
        found: LoadedModel = self._made["loaded"]
        return found

    @pytest.fixture
    def samples(self, subject: Subject) -> Batch:
        """As many samples as the largest batch has, as one batch."""
        count = max(self.batch_sizes)
        return {name: np.resize(values, (count, *values.shape[1:])) for name, values in subject.samples().items()}

    # The component and the framework

    def test_component(self, subject: Subject) -> None:
        name = subject.evaluation.framework.component
        check_component(registered("framework", name).component, name)

    def test_levels_are_known_and_in_order(self, subject: Subject) -> None:
        levels = subject.bound.framework.levels
        assert isinstance(levels, tuple), f"levels must be a tuple, not {levels!r}"
        unknown = [level for level in levels if level not in LEVELS]
        assert not unknown, f"levels has {unknown}, which mlms doesn't know; it knows {', '.join(LEVELS[1:])}"
        assert levels[:2] == ("application", "model"), f"levels must begin with application and model: {levels}"
        assert list(levels) == sorted(set(levels), key=depth), f"levels must go from the shallowest down: {levels}"

    def test_framework_describes_itself(self, subject: Subject, loaded: LoadedModel) -> None:
        assert isinstance(subject.bound.framework, Framework), "a framework has levels, load() and describe()"
        facts = dict(subject.bound.framework.describe())
        assert_plain(facts, "the framework's describe()")
        assert isinstance(facts.get("version"), str), f"the framework's describe() must have its version: {facts}"

    def test_model_describes_itself(self, loaded: LoadedModel) -> None:
        assert isinstance(loaded.predictor, Predictor), "a predictor has predict(), describe() and close()"
        facts = dict(loaded.describe())
        assert_plain(facts, "the predictor's describe()")
        missing = {"parameters", "size_bytes", "device", "dtype"} - facts.keys()
        assert not missing, f"the predictor's describe() lacks {', '.join(sorted(missing))}: {facts}"
        for key in ("parameters", "size_bytes"):
            value = facts[key]
            known = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            assert known or value is None, f"{key} must be a count, or None where it can't be known, not {value!r}"
        for key in ("device", "dtype"):
            assert isinstance(facts[key], str), f"{key} must be text, not {facts[key]!r}"

    # Outputs

    def test_an_output_for_each_sample(self, loaded: LoadedModel, samples: Batch) -> None:
        for size in self.batch_sizes:
            outputs = loaded.predict(first(samples, size))
            assert outputs, "predict() gave no outputs"
            for name, values in outputs.items():
                assert hasattr(values, "__len__"), f"output '{name}' has no entries: {type(values).__name__}"
                assert len(values) == size, f"output '{name}' has {len(values)} entries for a batch of {size}"

    def test_outputs_are_arrays_of_numbers(self, loaded: LoadedModel, samples: Batch) -> None:
        for name, values in loaded.predict(samples).items():
            if isinstance(values, list | tuple):
                continue  # an entry for each sample, of whatever the task takes
            assert isinstance(values, np.ndarray), f"output '{name}' must be a NumPy array, not {type(values)}"
            assert values.dtype.kind in "biufc", f"output '{name}' has dtype {values.dtype}, no standard numeric one"
            assert values.dtype.isnative, f"output '{name}' has the bytes of its numbers in another order"

    def test_rows_do_not_depend_on_the_batch(self, loaded: LoadedModel, samples: Batch) -> None:
        whole = kept(loaded.predict(samples))
        for size in self.batch_sizes:
            part = loaded.predict(first(samples, size))
            self._assert_same(part, first(whole, size), f"rows in a batch of {size} differ from those of a larger one")

    def test_same_answer_twice(self, loaded: LoadedModel, samples: Batch) -> None:
        once = kept(loaded.predict(samples))
        self._assert_same(loaded.predict(samples), once, "the same batch has another answer the second time")

    def test_outputs_stay_as_they_were(self, loaded: LoadedModel, samples: Batch) -> None:
        """An output isn't a view of memory that the next prediction writes to."""
        outputs = loaded.predict(samples)
        before = kept(outputs)
        loaded.predict({name: np.zeros_like(values) for name, values in samples.items()})
        self._assert_same(outputs, before, "outputs changed with the next prediction: give copies of the runtime's own")

    # Inputs

    def test_inputs_are_left_alone(self, loaded: LoadedModel, samples: Batch) -> None:
        given = {name: values.copy() for name, values in samples.items()}
        loaded.predict(given)
        for name, values in given.items():
            assert np.array_equal(values, samples[name], equal_nan=values.dtype.kind == "f"), (
                f"predict() changed its input '{name}'"
            )

    @pytest.mark.parametrize("laid_out", ["read-only", "with gaps", "backwards", "in Fortran's order"])
    def test_inputs_laid_out_otherwise(self, loaded: LoadedModel, samples: Batch, laid_out: str) -> None:
        usual = kept(loaded.predict(samples))
        given = {name: LAYOUTS[laid_out](values) for name, values in samples.items()}
        self._assert_same(loaded.predict(given), usual, f"inputs that are {laid_out} have another answer")

    def test_empty_batch(self, loaded: LoadedModel, samples: Batch) -> None:
        """Empty outputs, or an error that says so."""
        outputs = self._answer(loaded, first(samples, 0), "an empty batch")
        if not isinstance(outputs, MlmsError):
            for name, values in outputs.items():
                assert len(values) == 0, f"output '{name}' has {len(values)} entries for an empty batch"
        self._assert_still_works(loaded, samples, "an empty batch")

    def test_wrong_shape_is_an_error(self, loaded: LoadedModel, subject: Subject, samples: Batch) -> None:
        spec = subject.evaluation.model.input[0]
        if len(spec.shape) == 1 and spec.shape[0] is None:
            pytest.skip("the model takes vectors of any length")
        values = samples[spec.name]
        wrong = np.zeros((len(values), values[0].size + 1), values.dtype)
        answer = self._answer(loaded, {**samples, spec.name: wrong}, "an input of the wrong shape")
        assert isinstance(answer, MlmsError), (
            f"the model answered input '{spec.name}' of shape {wrong.shape}, though it takes {values.shape}"
        )
        assert str(wrong.shape[1]) in str(answer), (
            f"the error for input '{spec.name}' of shape {wrong.shape} must name the shape that was given: {answer}"
        )
        self._assert_still_works(loaded, samples, "an input of the wrong shape")

    def test_wrong_dtype_is_cast_or_an_error(self, loaded: LoadedModel, samples: Batch) -> None:
        right = kept(loaded.predict(samples))
        other = {name: values.astype(other_dtype(values.dtype)) for name, values in samples.items()}
        dtypes = ", ".join(f"{other[name].dtype} for {samples[name].dtype}" for name in samples)
        answer = self._answer(loaded, other, dtypes)
        if not isinstance(answer, MlmsError):
            self._assert_same(answer, right, f"{dtypes} was neither cast rightly nor refused")
        self._assert_still_works(loaded, samples, dtypes)

    def test_text_is_an_error(self, loaded: LoadedModel, samples: Batch) -> None:
        text = {name: np.full(values.shape, "text") for name, values in samples.items()}
        answer = self._answer(loaded, text, "text")
        assert isinstance(answer, MlmsError), "the model answered text where it takes numbers"
        self._assert_still_works(loaded, samples, "text")

    # Loading

    def test_unknown_device_is_an_error(self, subject: Subject) -> None:
        assert_refused(lambda: subject.load(device="abacus"), DeviceError, "an unknown device", "abacus")

    def test_unknown_dtype_is_an_error(self, subject: Subject) -> None:
        assert_refused(lambda: subject.load(dtype="float13"), InputError, "an unknown dtype", "float13")

    @pytest.mark.parametrize("content", [b"\x00\xffno model\xfe\n" * 64, b""], ids=["rubbish", "nothing"])
    def test_rubbish_for_weights_is_an_error(self, subject: Subject, tmp_path: Path, content: bytes) -> None:
        path = subject.weights.path
        if path is None:
            pytest.skip("the model has no weights file")
        rubbish = tmp_path / f"rubbish{path.suffix}"
        rubbish.write_bytes(content)
        what = "rubbish for weights" if content else "an empty file for weights"
        assert_refused(lambda: subject.load(weights=rubbish), InputError, what, rubbish.name, hint=False)

    def test_close_twice(self, subject: Subject, samples: Batch) -> None:
        model = subject.load()
        model.predict(samples)
        for attempt in ("first", "second"):
            try:
                model.predictor.close()
            except Exception as error:
                pytest.fail(f"the {attempt} close() raised {type(error).__name__}: {error}; it may be called twice")

    def test_close_gives_memory_back(self, subject: Subject, samples: Batch) -> None:
        """Loading and closing again and again doesn't make the process grow, and no worker outlives its model."""
        used = []
        size = 0
        for _ in range(LOADS):
            with subject.load() as model:
                model.predict(samples)
                facts = model.describe()
            size = facts.get("size_bytes") or 0
            worker = facts.get("worker_pid")
            assert worker is None or not psutil.pid_exists(worker), f"the worker {worker} outlives close()"
            del model
            gc.collect()
            used.append(psutil.Process().memory_info().rss)
        grown, most = used[-1] - used[1], size + SLACK_BYTES
        assert grown <= most, (
            f"the process grew by {grown >> 20} MiB while the model was loaded and closed {LOADS - 2} times, more than "
            f"one model and {SLACK_BYTES >> 20} MiB: close() must give memory back"
        )

    # Threads

    def test_threads_do_not_disturb_each_other(self, loaded: LoadedModel, samples: Batch) -> None:
        """``scenario.workers`` predicts with one model from several threads at once."""
        batches = [{name: np.roll(values, turn, axis=0) for name, values in samples.items()} for turn in range(THREADS)]
        alone = [kept(loaded.predict(batch)) for batch in batches]
        start = threading.Barrier(THREADS)

        def work(turn: int) -> list[Outputs]:
            start.wait()
            return [kept(loaded.predict(batches[turn])) for _ in range(ROUNDS)]

        with ThreadPoolExecutor(THREADS) as pool:
            answers = within(self.patience_s, lambda: list(pool.map(work, range(THREADS))), f"{THREADS} threads")
        for expected, answered in zip(alone, answers, strict=True):
            for outputs in answered:
                self._assert_same(outputs, expected, f"{THREADS} threads at once have other answers than one alone")

    # What a model may have

    def test_flops(self, loaded: LoadedModel, samples: Batch) -> None:
        predictor = loaded.predictor
        if not isinstance(predictor, CountsFlops):
            pytest.skip("the predictor counts no FLOPs")
        one, all_of_them = (predictor.flops(first(samples, size)) for size in (1, max(self.batch_sizes)))
        if one is None or all_of_them is None:
            pytest.skip("the predictor can't tell its FLOPs")
        assert isinstance(one, int), f"flops() must give a whole number or None, not {one!r}"
        assert one >= 0, f"flops() gave {one}"
        assert all_of_them >= one, "flops() must be those of the whole batch: a larger one has no fewer"

    def test_device_memory(self, loaded: LoadedModel) -> None:
        predictor = loaded.predictor
        if not isinstance(predictor, TracksDeviceMemory):
            pytest.skip("the predictor tracks no device memory")
        peak = predictor.device_peak_bytes()
        assert peak is None or (isinstance(peak, int) and peak >= 0), f"device_peak_bytes() gave {peak!r}"

    # Spans

    def test_levels_are_delivered(self, subject: Subject, samples: Batch) -> None:
        """Every level that the framework claims has spans, inside each prediction; and nothing stays installed."""
        below = LEVELS[depth("model") + 1 : depth("hardware")]  # the counters of "hardware" are profilers'
        claimed = [level for level in subject.bound.framework.levels if level in below]
        if not claimed:
            pytest.skip("the framework claims no level below model")
        with subject.load() as model:
            expected = kept(model.predict(samples))
            for level in claimed:
                self._assert_delivers(model, level, samples, expected)

    def _assert_delivers(self, model: LoadedModel, level: str, samples: Batch, expected: Outputs) -> None:
        recorder = Recorder()
        with model.observed(recorder, level, samples):
            for _ in range(OBSERVED):
                outputs = model.predict(samples)
                self._assert_same(outputs, expected, f"observed at level {level} the model answers otherwise")
                if model.checkpoint is not None:
                    model.checkpoint()
        spans = spans_of(recorder)
        predictions = [span for span in spans if span.level == "model"]
        assert len(predictions) == OBSERVED, f"{len(predictions)} predictions in the trace of {OBSERVED} at {level}"
        here = [span for span in spans if span.level == level]
        if not recorder.notes:  # which say why this machine has none
            for number, prediction in enumerate(predictions):
                inside = [span for span in here if prediction in span.ancestors()]
                assert inside, f"level {level} is claimed, but prediction {number} of {OBSERVED} has no span of it"
        for span in spans:
            assert_placed(span)
        known = recorded_events(recorder)
        self._assert_same(model.predict(samples), expected, f"after it was observed at {level} the model answers anew")
        assert recorded_events(recorder) == known, f"predictions are recorded after observing at {level} has ended"

    # Accuracy

    def test_accuracy_is_the_published_one(self, subject: Subject, tmp_path: Path) -> None:
        figures: dict[str, dict[str, float]] = {}
        for figure in subject.evaluation.model.published:
            if self._is_here(subject, figure.dataset):
                figures.setdefault(figure.dataset, {})[figure.metric] = figure.value
        if not figures:
            pytest.skip("the model asset publishes no figure for a dataset that is on this machine")
        for dataset, wanted in figures.items():
            manifest = {
                "kind": "manifest",
                "name": "accuracy",
                "model": self.model,
                "framework": self.framework,
                "dataset": dataset,
                "device": self.device,
                "metrics": list(wanted),
                "scenario": {"type": "offline", "mode": "accuracy"},
            }
            settings = api.Settings(output=tmp_path)
            (run,) = api.evaluate(manifest, assets=self.assets, settings=settings).raise_for_failures()
            for metric, value in wanted.items():
                measured = run.metrics[metric]
                assert abs(measured - value) <= ACCURACY_TOLERANCE, (
                    f"{metric} on {dataset} is {measured:.4f}, but the model asset publishes {value:.4f}"
                )

    def _is_here(self, subject: Subject, dataset: str) -> bool:
        if self.dataset is not None:
            return dataset == self.dataset
        try:
            path = subject.catalog.dataset(dataset).path
        except UnknownNameError:
            return False
        return path is not None and path.exists()

    # Helpers

    def _answer(self, model: LoadedModel, batch: Batch, what: str) -> Outputs | MlmsError:
        """Outputs, or the error that the user is shown; neither a hang nor the end of the process."""

        def predict() -> Outputs | MlmsError:
            try:
                return kept(model.predict(batch))
            except MlmsError as error:
                return error

        answer = within(self.patience_s, predict, what)
        assert not isinstance(answer, ProcessError), f"{what} ended the model's process: {answer}"
        return answer

    def _assert_still_works(self, model: LoadedModel, samples: Batch, after: str) -> None:
        answer = self._answer(model, samples, f"a right batch after {after}")
        assert not isinstance(answer, MlmsError), f"after {after} the model takes right batches no more: {answer}"

    def _assert_same(self, outputs: Outputs, expected: Outputs, rule: str) -> None:
        assert list(outputs) == list(expected), f"{rule}: outputs {list(outputs)} instead of {list(expected)}"
        for name, values in outputs.items():
            wanted = expected[name]
            try:
                ours, theirs = np.asarray(values), np.asarray(wanted)
            except ValueError:  # entries of several shapes
                pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(values, wanted, strict=True)]
            else:
                pairs = [(ours, theirs)]
            for one, other in pairs:
                assert one.shape == other.shape, f"{rule}: output '{name}' is {one.shape} instead of {other.shape}"
                assert close(one, other, self.rtol, self.atol), f"{rule}: output '{name}'{difference(one, other)}"
