"""What the YAML documents say, as frozen data.

The reader has checked a document against its JSON Schema before one of these is made, so they only carry values. All
are picklable. Mappings are plain dicts by convention never changed after construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["model", "framework", "dataset"]
KINDS: tuple[Kind, ...] = ("model", "framework", "dataset")

SCENARIOS = ("single_stream", "multi_stream", "server", "offline")
DEFAULT_VERSION = "1.0.0"
SYNTHETIC = "synthetic"
"""The dataset that needs no asset: random tensors in the shape of the model's input."""


@dataclass(frozen=True, slots=True)
class Step:
    """A component by name with its options: ``- resize: {size: 256}``."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input of a model: ``shape`` is that of one sample (no batch dimension); None is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the parameters come from; exactly one of ``url``, ``file`` and ``seed`` is set, or none where the model is
    served elsewhere and they stay there.

    ``seed`` means random initialisation: such a run measures performance only.
    """

    url: str | None = None
    sha256: str | None = None
    file: Path | None = None
    seed: int | None = None

    @property
    def random(self) -> bool:
        return self.seed is not None


@dataclass(frozen=True, slots=True)
class Source:
    """How the model is built: an importable ``module:attribute``, its keyword arguments, and its weights.

    ``factory`` is None where the weights hold the whole model. ``files`` are further files of it, by what the framework
    calls them (a prototxt, say); none of them is random.
    """

    factory: str | None
    arguments: Mapping[str, Any]
    weights: Weights
    files: Mapping[str, Weights] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A framework by name and the versions of its distribution that fit (PEP 440 specifier; "" is any).

    ``url`` is where the model is served, for a framework that asks a server.
    """

    name: str
    version: str = ""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """Where a framework runs.

    ``isolation`` is "in_process", or "venv": a worker process in a virtual environment of its own with ``python``
    ("3.9"; None: the version that runs mlms) and ``requirements`` (PEP 508). A worker that gives no answer for
    ``answer_timeout`` seconds is taken for hung.
    """

    isolation: Literal["in_process", "venv"] = "in_process"
    python: str | None = None
    requirements: tuple[str, ...] = ()
    answer_timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """What somebody published for this model; ``value`` in the metric's own unit (accuracies in percent)."""

    metric: str
    value: float
    dataset: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """What every asset carries. ``file`` is the YAML it was read from, None for an asset written inline."""

    name: str
    version: str
    file: Path | None
    description: str = ""
    license: str | None = None
    homepage: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAsset(Asset):
    task: str
    framework: Requirement
    source: Source
    input: tuple[TensorSpec, ...]
    preprocess: tuple[Step, ...] = ()
    postprocess: tuple[Step, ...] = ()
    published: tuple[PublishedFigure, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options for the framework's ``load`` (such as ``channels_last``), laid over the framework asset's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkAsset(Asset):
    component: str
    """The framework component (from a plugin) that drives it."""
    distribution: str
    """The Python distribution whose installed version a model's ``framework.version`` is held against."""
    packages: tuple[str, ...] = ()
    """Top-level packages that a model's factory may be imported from."""
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: EnvironmentSpec = EnvironmentSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetAsset(Asset):
    task: str | None
    """None: fits every task."""
    reader: Step
    path: Path | None
    """The data on this machine; None for a reader that needs none."""
    labels: tuple[str, ...] | None = None
    """Class names in the order of their indices."""


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """The load: MLPerf's scenario and its rules, under MLPerf's names. Durations in seconds.

    A measurement ends when ``min_duration`` and the least number of queries are both met, and at ``max_duration``
    always.
    """

    type: str
    min_query_count: int | None
    """Least number of queries (``offline``: of samples); None: those that ``target_latency_percentile`` needs."""
    min_duration: float
    max_duration: float
    mode: str = "performance"
    """"accuracy": every sample once, and no performance figures."""
    profile: str = "default"
    target_latency: float | None = None
    """What ``target_latency_percentile`` of the queries must stay within; None: any latency is valid."""
    target_latency_percentile: float = 90
    target_qps: float | None = None
    """Queries a second that ``server`` is offered."""
    offline_expected_qps: float | None = None
    """Samples a second that LoadGen plans the one query of ``offline`` with; None: what the warm-up shows."""
    samples_per_query: int = 1
    """In ``multi_stream``."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """LoadGen's random streams by its names; those not given are derived from the evaluation's seed."""
    workers: int = 1
    """Threads that answer in ``server``, all with the same predictor."""
    max_batch: int = 1
    """Most queries that a worker of ``server`` answers with one prediction."""
    max_queue_delay: float = 0.0
    """How long the oldest of them waits for others."""
    trace_log: bool = False
    """Keep LoadGen's trace of every query, which is large."""


@dataclass(frozen=True, slots=True)
class TraceSpec:
    """How deep to trace, and where to send the spans (None: only kept in the run directory).

    ``leveled`` runs the scenario once for each level, so that every figure comes from the shallowest that has it.
    """

    level: str
    otlp: str | None = None
    leveled: bool = False


@dataclass(frozen=True, slots=True)
class ExecutionSpec:
    """How an evaluation is run, as opposed to what is run. ``timeout`` in seconds, of the whole evaluation."""

    isolation: str = "none"
    """"process": in a fresh process of its own."""
    timeout: float | None = None
    repeat: int = 1
    """Runs, each in a fresh process."""
    cold_start: int = 0
    """Fresh processes that only import, load and predict once."""
    gc: str = "disabled"
    """Python's garbage collector while measuring: "disabled" or "enabled"."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One thing to run, with every default filled in.

    ``digest`` is the SHA-256 over all that decides the result (assets, scenario, options, seed), not over where
    files lie or where spans are sent.
    """

    name: str
    model: ModelAsset
    framework: FrameworkAsset
    dataset: DatasetAsset
    scenario: ScenarioSpec
    metrics: tuple[str, ...]
    batch_size: int
    """Samples in one prediction; the most of them in ``server``."""
    device: str
    dtype: str
    threads: int | None
    """Intra-operator threads; None leaves the framework's default."""
    warmup: int | Literal["auto"]
    """Predictions before the measurement; "auto": until the steady state is seen."""
    workers: int
    """Threads that preprocess ahead of the scenario."""
    memory_mib: int
    """Bound on preprocessed samples held ready at one time."""
    trace: TraceSpec
    seed: int
    options: Mapping[str, Any]
    """Framework options: the framework asset's, then the model's, then the manifest's."""
    limit: int | None
    """Use only the first so many samples; None is the whole dataset."""
    digest: str
    execution: ExecutionSpec = ExecutionSpec()
    profilers: tuple[Step, ...] = ()
    """What observes the run besides those that the trace level turns on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A manifest resolved: what will run, in order."""

    name: str
    path: Path | None
    """The manifest's file; None when made without one."""
    source_digest: str | None
    """SHA-256 of the manifest's bytes."""
    evaluations: tuple[Evaluation, ...]
    interleave: bool = False
    """Repeats go round the evaluations (A B A B) instead of one after the other (A A B B)."""
