import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlms.errors import DocumentError, InputError, UnknownNameError, VersionError
from mlms.manifests.catalog import Catalog
from mlms.manifests.durations import seconds
from mlms.manifests.reader import parse_document, read_document
from mlms.manifests.resolver import evaluation_data, resolve
from mlms.manifests.types import Requirement, ScenarioSpec, Step, TraceSpec, Weights

MODEL = """\
kind: model
name: {name}
version: {version}
task: {task}
framework: {{name: pytorch, version: ">=2"}}
tags: [{tags}]
source: {{factory: "a.b:c", weights: {{url: "https://x.org/w", sha256: "0123456789"}}}}
input: [{{name: image, dtype: float32, shape: [3, 8, 8]}}]
options: {{channels_last: true, shared: model}}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")

    def write(name, text):
        (root / f"{name}.yaml").write_text(text)

    def model(name, version="1.0.0", task="vision", tags="small"):
        write(f"{name}-{version}", MODEL.format(name=name, version=version, task=task, tags=tags))

    model("a")
    model("a", "2.0.0")
    model("b", tags="small, quick")
    model("c", task="speech", tags="large")
    write("pytorch", "kind: framework\nname: pytorch\ncomponent: pytorch\ndistribution: torch\n"
          "options: {shared: framework, own: 1}")  # fmt: skip
    write("other", "kind: framework\nname: other\ncomponent: other\ndistribution: other\n")
    write("images", "kind: dataset\nname: images\ntask: vision\nreader: {folder: {depth: 1}}\npath: images\n")
    write("anything", "kind: dataset\nname: anything\nreader: folder\n")
    return Catalog([root], cache=tmp_path_factory.mktemp("cache"))


def task_metrics(task):
    return {"vision": ("top1", "top5"), "speech": ("wer",)}[task]


@pytest.fixture
def plan(catalog, tmp_path):
    def make(text, *overrides):
        path = tmp_path / "manifest.yaml"
        path.write_text(f"kind: manifest\nname: m\n{text}")
        return resolve(read_document(path), catalog, task_metrics=task_metrics, overrides=overrides)

    return make


@pytest.fixture
def one(plan):
    def make(text, *overrides):
        (evaluation,) = plan(text, *overrides).evaluations
        return evaluation

    return make


def names(plan):
    return [evaluation.name for evaluation in plan.evaluations]


def test_defaults(one, plan, tmp_path):
    evaluation = one("model: b\ndataset: images\n")
    assert evaluation.name == "b"
    assert evaluation.scenario == ScenarioSpec("single_stream", None, 10.0, 60.0)
    assert evaluation.metrics == ("top1", "top5")
    assert (evaluation.batch_size, evaluation.device, evaluation.dtype) == (1, "auto", "float32")
    assert (evaluation.threads, evaluation.limit, evaluation.seed, evaluation.warmup) == (None, None, 0, 10)
    assert (evaluation.workers, evaluation.memory_mib) == (2, 1024)
    assert evaluation.trace == TraceSpec("model", None)
    assert evaluation.options == {"shared": "model", "own": 1, "channels_last": True}
    assert evaluation.dataset.reader == Step("folder", {"depth": 1})
    made = plan("model: b\ndataset: images\n")
    assert (made.name, made.path) == ("m", tmp_path / "manifest.yaml")
    assert made.source_digest == read_document(tmp_path / "manifest.yaml").digest
    assert pickle.loads(pickle.dumps(made)) == made


def test_everything_said(one, tmp_path):
    evaluation = one(
        "model: a@1.0.0\nframework: other\ndataset: {name: images, path: mine, limit: 5}\n"
        "batch_size: 2\ndevice: cuda:1\ndtype: bfloat16\nthreads: 3\nseed: 4\nwarmup: 0\n"
        "weights: {random: {seed: 7}}\n"
        "scenario: {type: offline, min_queries: 3, min_duration: 500ms, max_duration: 2m}\n"
        "preprocessing: {workers: 5, memory_mib: 6}\ntrace: {level: layer, otlp: 'http://localhost:4317'}\n"
        "metrics: [top1]\noptions: {shared: manifest}\n"
    )
    assert evaluation.model.version == "1.0.0"
    assert evaluation.framework.name == "other"
    assert evaluation.model.framework == Requirement("other")
    assert evaluation.dataset.path == tmp_path / "mine"
    assert evaluation.limit == 5
    assert evaluation.model.source.weights.seed == 7
    assert evaluation.scenario == ScenarioSpec("offline", 3, 0.5, 120.0)
    assert evaluation.trace == TraceSpec("layer", "http://localhost:4317")
    assert evaluation.options == {"channels_last": True, "shared": "manifest"}
    assert evaluation.metrics == ("top1",)


def test_profilers_are_steps(one):
    evaluation = one("model: b\ndataset: images\nprofilers: [host, {perf: {interval: 50ms}}, nvml: ]\n")
    assert evaluation.profilers == (Step("host"), Step("perf", {"interval": "50ms"}), Step("nvml"))
    assert evaluation_data(evaluation)["profilers"][1] == {"name": "perf", "options": {"interval": "50ms"}}
    assert one("model: b\ndataset: images\nprofilers: [host]\n", 'profilers=["nvml"]').profilers == (Step("nvml"),)


def test_synthetic_needs_no_asset(one):
    dataset = one("model: b\ndataset: synthetic\n").dataset
    assert (dataset.name, dataset.task, dataset.path, dataset.reader) == ("synthetic", None, None, Step("synthetic"))
    assert one("model: b\ndataset: {name: synthetic, limit: 3}\n").limit == 3


def test_inline_assets_lie_beside_the_manifest(one, tmp_path):
    text = (
        "model:\n  name: mine\n  task: vision\n  framework: pytorch\n"
        "  source: {factory: 'a:b', weights: {file: w.safetensors}}\n"
        "  input: [{name: x, dtype: float32, shape: []}]\n"
        "dataset: {name: d, reader: folder, path: ../elsewhere}\n"
    )
    evaluation = one(text)
    assert evaluation.model.source.weights.file == tmp_path / "w.safetensors"
    assert evaluation.model.file is None
    assert evaluation.dataset.path == tmp_path.parent / "elsewhere"


def test_matrix_in_the_order_written(plan):
    made = plan("models: [b, a]\ndataset: synthetic\nmatrix:\n  device: [cpu, cuda]\n  batch_size: [1, 8]\n")
    assert names(made) == [
        f"{model}[device={device},batch_size={size}]"
        for model in "ba" for device in ("cpu", "cuda") for size in (1, 8)
    ]  # fmt: skip
    assert made.evaluations[1].batch_size == 8
    assert len({evaluation.digest for evaluation in made.evaluations}) == 8


def test_matrix_over_everything_else(plan):
    made = plan(
        "dataset: synthetic\nscenario: {min_queries: 5}\noptions: {x: 1}\n"
        "matrix:\n  scenario: [offline, {min_duration: 1s}]\n"
        "  model: [b]\n  weights: [random, {random: {seed: 2}}]\n  options: [{y: 1}]\n  threads: [null, 1]\n"
    )
    assert len(made.evaluations) == 8
    first, last = made.evaluations[0], made.evaluations[-1]
    assert first.name == 'b[scenario=offline,weights=random,options={"y":1},threads=null]'
    assert first.scenario == ScenarioSpec("offline", 5, 10.0, 60.0)
    assert last.scenario == ScenarioSpec("single_stream", 5, 1.0, 60.0)
    assert (last.options["x"], last.options["y"], last.threads) == (1, 1, 1)
    assert last.model.source.weights.seed == 2


def test_models_by_tags_and_versions(plan):
    assert names(plan("models: [{tags: [small]}, b]\ndataset: synthetic\n")) == ["a", "b"]
    assert names(plan("models: [{tags: [small, quick]}]\ndataset: synthetic\n")) == ["b"]
    assert names(plan("models: [a@1.0.0, a, b]\ndataset: synthetic\n")) == ["a@1.0.0", "a@2.0.0", "b"]


@pytest.mark.parametrize(
    ("text", "kind", "place", "message", "hint"),
    [
        ("model: bb\ndataset: images", UnknownNameError, "3:8", "no model 'bb'", "did you mean 'b'?"),
        ("models: [b, b@9.0.0]\ndataset: images", VersionError, "3:13", "no version 9.0.0", "1.0.0"),
        ("model: b\ndataset: imagse", UnknownNameError, "4:10", "no dataset", "did you mean 'images'?"),
        ("model: b\nframework: pytroch\ndataset: images", UnknownNameError, "4:12", "no framework", "'pytorch'"),
        ("model: c\ndataset: images", DocumentError, "4:10", "'images' is for vision, but model 'c' does speech",
         "anything, synthetic"),
        ("models: [{tags: [smal]}]\ndataset: images", DocumentError, "3:17", "no model carries 'smal'", "'small'"),
        ("model: b\nmodels: [b]\ndataset: images", DocumentError, "3:8", "more than once", "one of"),
        ("dataset: images", DocumentError, "1:1", "names no model", "one of"),
        ("model: b\ndataset: images\nmatrix: {model: [b]}", DocumentError, "3:8", "more than once", "one of"),
        ("model: b\ndataset: images\nmatrix: {seed: []}", DocumentError, "5:16", "at least 1 entries", ""),
        ("model: b\ndataset: images\nmatrix: {dataset: [imagse]}", UnknownNameError, "5:20", "no dataset", ""),
        ("model: b\ndataset: {name: synthetic, path: x}", DocumentError, "4:34", "has no path", "leave it out"),
        ("model: b\ndataset: images\nscenario: {min_duration: 2m}", DocumentError, "5:11",
         "min_duration (120 s) is more than max_duration (60 s)", "raise max_duration"),
        ("model: b\ndatset: images", DocumentError, "4:1", "unknown key 'datset'", "did you mean 'dataset'?"),
        ("model: b\ndataset: {name: d, reader: folder, labels: nope}", UnknownNameError, "4:44", "label list", ""),
        ("model: b\ndataset: images\nprofilers: [host, {host: }]", DocumentError, "5:19", "is named twice", "once"),
        ("model: b\ndataset: images\nprofilers: [{host: {}, perf: {}}]", DocumentError, "5:13", "", ""),
        ("model: b\ndataset: images\nprofiler: host", DocumentError, "5:1", "'profiler'", "'profilers'"),
    ],
)  # fmt: skip
def test_errors_name_their_place(plan, tmp_path, text, kind, place, message, hint):
    with pytest.raises(kind) as caught:
        plan(text)
    assert f"{tmp_path / 'manifest.yaml'}:{place}: " in str(caught.value)
    assert message in str(caught.value)
    assert hint in str(caught.value)


def test_overrides(one, plan):
    base = "models: [a, b]\ndataset: images\nscenario: offline\nmatrix: {batch_size: [1, 2], device: [cpu]}\n"
    made = plan(
        base, "batch_size=4", "scenario.min_queries=7", "models.0=a@1.0.0", "trace.level=none", "dataset.limit=2"
    )
    assert names(made) == ["a[device=cpu]", "b[device=cpu]"]
    first = made.evaluations[0]
    assert (first.batch_size, first.scenario.min_query_count, first.scenario.type) == (4, 7, "offline")
    assert (first.model.version, first.trace.level, first.limit) == ("1.0.0", "none", 2)
    assert names(plan(base, "model=b", "device=cpu", "matrix.batch_size=[3]")) == ["b[batch_size=3]"]
    assert one("model: b\ndataset: images", "options={x: 1e-3}", "options.y=no").options["y"] == "no"
    assert one("model: b\ndataset: images", "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batchsize=1", "--set batchsize=1: unknown key 'batchsize'"),
        ("scenario.typ=offline", "--set scenario.typ=offline: unknown key 'typ'"),
        ("batch_size=many", "--set batch_size=many: expected a whole number, not 'many'"),
        ("batch_size.x=1", "--set batch_size.x=1: what 'x' would be set in is neither"),
        ("models.3=b", "--set models.3=b: '3' is no position in a list of 1"),
        ("seed=[1", "--set seed=[1:"),
        ("model=nope", "--set model=nope: there is no model 'nope'"),
    ],
)
def test_errors_name_the_override(plan, override, message):
    with pytest.raises(InputError) as caught:
        plan("models: [b]\nbatch_size: 2\ndataset: images\n", override)
    assert message in str(caught.value)


@pytest.mark.parametrize("override", ["seed", "=1", "a..b=1", ""])
def test_overrides_that_are_none(plan, override):
    with pytest.raises(InputError, match="is not KEY=VALUE"):
        plan("model: b\ndataset: images\n", override)


def test_overrides_leave_the_document_alone(catalog):
    document = parse_document("kind: manifest\nname: m\nmodel: b\ndataset: synthetic\noptions: {x: [1]}")
    before = json.dumps(document.data)
    resolve(document, catalog, task_metrics=task_metrics, overrides=["options.x.0=2", "seed=3"])
    assert json.dumps(document.data) == before


MANIFEST = {
    "kind": "manifest", "name": "m", "model": "b", "dataset": {"name": "images", "limit": 3}, "batch_size": 2,
    "scenario": {"type": "offline", "min_queries": 3, "min_duration": 1}, "options": {"x": 1, "y": {"p": 1, "q": 2}},
    "trace": {"level": "model", "otlp": None}, "seed": 1,
}  # fmt: skip


def digest(catalog, data):
    made = resolve(parse_document(yaml.safe_dump(data, sort_keys=False)), catalog, task_metrics=task_metrics)
    return made.evaluations[0].digest


def test_the_order_of_keys_does_not_change_the_digest(catalog):
    expected = digest(catalog, MANIFEST)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.permutations(list(MANIFEST)), st.randoms(use_true_random=False))
    def check(keys, random):
        def shuffled(value):
            if not isinstance(value, dict):
                return value
            items = list(value.items())
            random.shuffle(items)
            return {key: shuffled(item) for key, item in items}

        assert digest(catalog, {key: shuffled(MANIFEST[key]) for key in keys}) == expected

    check()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "x"},
        {"preprocessing": {"workers": 9, "memory_mib": 9}},
        {"trace": {"level": "model", "otlp": "http://localhost:4317"}},
        {"scenario": {"type": "offline", "min_queries": 3, "min_duration": "1000ms"}},
        {"dataset": "images", "limit": 3},
        {"warmup": 10},
        {"profilers": []},
    ],
)
def test_what_does_not_change_the_digest(catalog, change):
    assert digest(catalog, MANIFEST | change) == digest(catalog, MANIFEST)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "a"}, {"dataset": "anything"}, {"dataset": {"name": "images", "limit": 3, "path": "mine"}},
        {"batch_size": 3}, {"seed": 2}, {"options": {"x": 2}}, {"trace": "layer"}, {"scenario": "offline"},
        {"weights": "random"}, {"device": "cpu"}, {"threads": 1}, {"metrics": ["top1"]}, {"warmup": 11}, {"limit": 1},
        {"profilers": ["host"]},
    ],
)  # fmt: skip
def test_what_changes_the_digest(catalog, change):
    assert digest(catalog, MANIFEST | change) != digest(catalog, MANIFEST)


def test_weights_in_a_file_count_by_their_bytes(one, tmp_path):
    def digest(name, content):
        (tmp_path / name).write_bytes(content)
        return one(f"model: b\ndataset: images\nweights: {{file: {name}}}\n").digest

    assert digest("one", b"123") == digest("two", b"123") != digest("three", b"124")


def test_other_weights_have_no_published_figures(one, tmp_path):
    (tmp_path / "own").write_bytes(b"123")
    (tmp_path / "copy").write_bytes(b"123")
    (tmp_path / "other").write_bytes(b"124")
    inline = (
        "dataset: images\nmodel:\n  name: m\n  task: vision\n  framework: pytorch\n  source: {weights: {file: own}}\n"
        "  input: [{name: image, dtype: float32, shape: [3]}]\n"
        "  published: [{metric: top1, value: 50, dataset: images}]\n"
    )
    for weights, kept in (("", 1), ("{file: copy}", 1), ("{file: other}", 0), ("{file: missing}", 0), ("random", 0)):
        given = f"weights: {weights}\n" if weights else ""
        assert len(one(inline + given).model.published) == kept, weights
    # Of an asset's URL no more than the first digits may be known.
    digest = hashlib.sha256(b"123").hexdigest()
    by_url = inline.replace("{file: own}", f"{{url: 'https://x.org/w', sha256: {digest[:8]!r}}}")
    for weights, kept in (("copy", 1), ("other", 0)):
        assert len(one(by_url + f"weights: {{file: {weights}}}\n").model.published) == kept, weights


def test_evaluation_data_is_plain(one):
    data = evaluation_data(one("model: b\ndataset: images\n"))
    assert json.loads(json.dumps(data)) == data
    assert data["model"]["input"] == [{"name": "image", "dtype": "float32", "shape": [3, 8, 8]}]
    assert Path(data["model"]["file"]).name == "b-1.0.0.yaml"


def test_evaluation_data_has_no_secrets(one):
    evaluation = one("model: b\ndataset: images\ntrace: {level: model, otlp: 'http://me:s3cr3t@host:4317'}\n")
    weights = Weights(url="https://me:s3cr3t@host/net.pth?sig=s3cr3t", sha256="abcdef12")
    source = replace(evaluation.model.source, weights=weights, files={"words": weights})
    requirement = replace(evaluation.model.framework, url="grpc://me:s3cr3t@host:8001")
    model = replace(evaluation.model, source=source, framework=requirement)
    data = evaluation_data(replace(evaluation, model=model))
    assert data["trace"]["otlp"] == "http://host:4317"
    assert data["model"]["source"]["weights"]["url"] == "https://host/net.pth?sig=…"
    assert data["model"]["source"]["files"]["words"]["url"] == "https://host/net.pth?sig=…"
    assert data["model"]["framework"]["url"] == "grpc://host:8001"
    assert "s3cr3t" not in json.dumps(data)


@pytest.mark.parametrize(
    ("given", "expected"), [(3, 3.0), ("500ms", 0.5), ("1.5s", 1.5), ("2m", 120.0), ("1h", 3600.0)]
)
def test_seconds(given, expected):
    assert seconds(given) == pytest.approx(expected)
