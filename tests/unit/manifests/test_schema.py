import copy

import jsonschema
import pytest
import yaml

from mlms.errors import DocumentError
from mlms.manifests.reader import parse_document, read_document
from mlms.manifests.schema import SCHEMAS, check, problems_against, schema

MODEL = """\
kind: model
name: net
task: image_classification
framework: pytorch
source:
  factory: torchvision.models:alexnet
  weights: {url: "https://x.org/w.pth", sha256: 7be5be79aa}
input:
  - {name: image, dtype: float32, shape: [3, null, 224]}
preprocess: [decode, {resize: {size: 256}}, {softmax: }]
"""
MANIFEST = "kind: manifest\nname: m\nmodel: net\ndataset: synthetic\n"


def found(text, kind=None):
    with pytest.raises(DocumentError) as caught:
        check(parse_document(text), kind)
    return caught.value.problems


def one(text, kind=None):
    (problem,) = found(text, kind)
    return problem


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schemas_are_valid_complete_and_described(kind):
    document = schema(kind)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$id"] == f"https://mlms.dev/schemas/v1/{kind}.json"

    def walk(node):
        for name, item in node.get("properties", {}).items():
            assert {"title", "description"} <= item.keys() or "$ref" in item, (kind, name)
        for item in node.values():
            for inner in item if isinstance(item, list) else [item]:
                if isinstance(inner, dict):
                    walk(inner)

    walk(document)


def test_schema_gives_a_copy():
    schema("model")["title"] = "changed"
    assert schema("model")["title"] != "changed"


def test_valid_documents_pass():
    check(parse_document(MODEL))
    check(parse_document(MODEL), "model")
    check(parse_document(MANIFEST))
    check(parse_document("kind: framework\nname: f\ncomponent: pytorch\ndistribution: torch\npackages: [a.b]"))
    check(parse_document("kind: dataset\nname: d\nreader: {image_folder: {}}\npath: data\nlabels: [a, b]"))


def test_a_model_that_is_served_elsewhere_has_no_source():
    served = """
kind: model
name: served
task: image_classification
framework: {name: openinference, url: "grpc://localhost:8001"}
input: [{name: image, dtype: float32, shape: [1, 8, 8]}]
"""
    check(parse_document(served))
    inline = served.replace("kind: model\n", "").replace("\n", "\n  ")
    check(parse_document(f"kind: manifest\nname: m\ndataset: d\nmodel:{inline}\n"))
    with pytest.raises(DocumentError, match="missing key 'source'"):
        check(parse_document(served.replace(', url: "grpc://localhost:8001"', "")))
    with pytest.raises(DocumentError, match=r"source.*\n.*leave 'source' out"):
        check(parse_document(f"{served}source: {{weights: {{random: {{}}}}}}\n"))


def test_every_problem_is_reported_with_its_place(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(MODEL.replace("task:", "taks:").replace("float32", "flot32").replace("[3,", "[0,"))
    with pytest.raises(DocumentError) as caught:
        check(read_document(path))
    got = {(p.path, p.place.line, p.place.column, p.message, p.hint) for p in caught.value.problems}
    assert ("taks", 3, 1, "unknown key 'taks'", "did you mean 'task'?") in got
    assert ("input[0].dtype", 9, 26, "'flot32' is not allowed here", "did you mean 'float32'?") in got
    assert ("input[0].shape[0]", 9, 42, "0 is less than 1", None) in got
    assert ("", 1, 1, "missing key 'task'", "What the model does, such as image_classification. Letters, digits, "
            "'.', '_' and '-', starting with a letter or digit.") in got  # fmt: skip
    assert len(got) == 4
    assert f"{path}:3:1: unknown key 'taks'" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "path", "message", "hint"),
    [
        ("name: net", "name: 8", "name", "expected text, not 8", "put it in quotes"),
        ("name: net", "name: net\nversion: 1.0", "version", "expected text, not 1.0", "put it in quotes"),
        ("name: net", "name: net\nversion: '1'", "version", "doesn't have the right form", "Semantic version"),
        ("name: net", "name: ../net", "name", "doesn't have the right form", "Letters"),
        ("name: net", 'name: "net\\n"', "name", "right form", "Letters"),
        ('url: "https://x.org/w.pth"', 'file: "a\\0"', "source.weights.file", "right form", "relative"),
        ("name: net", "name:", "name", "not null", "give it a value"),
        ("name: net", "name: net\ntags: [a, a]", "tags", "two entries are equal", None),
        ("name: net", "name: net\nschema_version: 2", "schema_version", "2 is not allowed", "1"),
        ("224]", "224.0]", "input[0].shape[2]", "a whole number or null, not 224.0", "write 224"),
        ('url: "https://x.org/w.pth"', "file: /etc/passwd", "source.weights.file", "right form", "relative"),
        ('url: "https://x.org/w.pth"', "file: a, random: {}", "source.weights", "exclude each other", "exactly one"),
        (", sha256: 7be5be79aa", "", "source.weights.url", "'url' needs 'sha256'", None),
        ("7be5be79aa", "7be5be", "source.weights.sha256", "right form", "SHA-256"),
        ("{resize: {size: 256}}", "{resize: {}, crop: {}}", "preprocess[1]", "at most 1 keys", "its own '-'"),
        ("{resize: {size: 256}}", "{resize: 256}", "preprocess[1].resize", "expected a mapping or null", None),
        ("{resize: {size: 256}}", "8", "preprocess[1]", "expected text or a mapping, not 8", None),
        ("{resize: {size: 256}}", "{re size: {}}", "preprocess[1].re size", "is not a name", "letters"),
        ("framework: pytorch", "framework: {name: x, version: '2'}", "framework.version", "right form", ">=2.0"),
        ("framework: pytorch", "framework: {name: x, versoin: '>2'}", "framework.versoin", "unknown key", "'version'"),
        ("models:alexnet", "models.alexnet", "source.factory", "right form", "package.module:name"),
    ],
)
def test_models(old, new, path, message, hint):
    assert old in MODEL
    problem = one(MODEL.replace(old, new))
    assert problem.path == path
    assert message in problem.message
    assert (hint or "") in (problem.hint or "")


@pytest.mark.parametrize(
    ("line", "path", "message", "hint"),
    [
        ("warmup: yes", "warmup", "'yes' is not allowed here", "it is auto"),
        ("scenario: ofline", "scenario", "'ofline' is not allowed here", "did you mean 'offline'?"),
        ("scenario: {typ: offline}", "scenario.typ", "unknown key 'typ'", "did you mean 'type'?"),
        ("scenario: {min_duration: 10 s}", "scenario.min_duration", "right form", None),
        ("trace: {level: modle}", "trace.level", "'modle'", "did you mean 'model'?"),
        ("matrix: {batch_size: []}", "matrix.batch_size", "at least 1 entries", None),
        ("matrix: {batch_size: [1, 1]}", "matrix.batch_size", "two entries are equal", None),
        ("matrix: {batchsize: [1]}", "matrix.batchsize", "unknown key", "did you mean 'batch_size'?"),
        ("weights: rnadom", "weights", "'rnadom'", "did you mean 'random'?"),
        ("device: gppu", "device", "right form", "'cpu'"),
        ("batch_size: 0", "batch_size", "0 is less than 1", None),
        ("Batch_Size: 1", "Batch_Size", "unknown key", "did you mean 'batch_size'?"),
        ("qqq: 1", "qqq", "unknown key", "known keys are kind"),
    ],
)
def test_manifests(line, path, message, hint):
    problem = one(MANIFEST + line)
    assert problem.path == path
    assert message in problem.message
    assert (hint or "") in (problem.hint or "")
    assert problem.place.line == 5


def test_the_built_in_dataset_keeps_its_name():
    problem = one("kind: dataset\nname: synthetic\nreader: x")
    assert "not allowed" in problem.message
    assert "built-in" in problem.hint


def test_kinds():
    assert "add 'kind: model'" in one("name: x", "model").hint
    assert "missing key 'kind'" in one("name: x").message
    assert one("kind: modle").hint == "did you mean 'model'?"
    assert one(MODEL, "manifest").message == "this is a model, not a manifest"
    assert "unknown kind" in one("kind: [model]").message


def test_component_options(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(MODEL)
    options = {
        "type": "object",
        "properties": {"size": {"type": "integer", "maximum": 10}, "flag": {"type": "boolean"}},
        "additionalProperties": False,
    }
    (problem,) = problems_against(options, {"size": 256}, path=path, pointer=("preprocess", 1, "resize"))
    assert (problem.place.line, problem.place.column) == (10, 38)
    assert (problem.path, problem.message) == ("preprocess[1].resize.size", "256 is more than 10")
    (problem,) = problems_against(options, {"flag": "no"}, path=None, pointer=("options",))
    assert (problem.path, problem.hint) == ("options.flag", "write false")
    assert problems_against(options, {"size": 1}, path=path, pointer=()) == []


RUN = {
    "kind": "run", "schema_version": 1, "id": "a", "name": "a", "status": "finished", "digest": "0" * 64,
    "mlms_version": "0.1.0", "started_at": "2026-11-23T21:15:00Z", "finished_at": "2026-11-23T21:15:07Z",
    "manifest": {"name": "m", "path": None, "sha256": None, "git": None}, "evaluation": {"any": 1},
    "model": {"name": "n", "version": "1.0.0", "task": "t", "describe": {},
              "weights": {"origin": "random", "location": None, "sha256": None, "seed": 0}},
    "framework": {"name": "f", "version": "1.0.0", "distribution": "torch", "installed": "2.0", "plugin": "p 1",
                  "describe": {}},
    "dataset": {"name": "d", "version": "1.0.0", "samples": 1, "evaluated": 1, "limit": None, "path": None},
    "accuracy": {"reported": False, "reason": "random weights"},
    "metrics": [{"name": "top1", "value": 1.0, "unit": "%", "samples": 1, "published": None}],
    "scenario": {"type": "offline", "loadgen_version": "6", "valid": True, "problems": [], "min_queries": 1,
                 "min_duration_s": 0, "max_duration_s": 60.0},
    "latency": {"unit": "ns", "queries": 1, "samples_per_query": 1, "warmup_queries": 0, "mean": 1.0, "min": 1,
                "max": 1, "stdev": None, "percentiles": [{"percentile": 99.0, "value": None, "needed": 662}]},
    "throughput": {"value": 1.0, "unit": "samples/s", "duration_s": 1.0}, "steps": [{"name": "load", "seconds": 1}],
    "trace": {"level": "none", "trace_id": None, "spans": 0, "otlp": None}, "seeds": {"evaluation": 0},
    "environment": {"fingerprint": "x"}, "warnings": [], "files": {"log": "log.txt"},
}  # fmt: skip


def test_run_records():
    check(parse_document(yaml.safe_dump(RUN)), "run")
    broken = copy.deepcopy(RUN)
    broken["latency"]["percentiles"][0]["valeu"] = 1
    assert one(yaml.safe_dump(broken)).hint == "did you mean 'value'?"
