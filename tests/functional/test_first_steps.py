"""What somebody new tries, rightly or not, and what they are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fakes.program import CHECKOUT, Ended, mlms
from fakes.records import write_run


def refused(ended: Ended, *told: str) -> None:
    assert ended.code == 2
    assert ended.out == ""
    for text in told:
        assert text in ended.err


def test_singular_and_plural_are_both_understood() -> None:
    assert mlms("list", "exporter").out == mlms("list", "exporters").out != ""
    assert mlms("show", "processors", "resize").out == mlms("show", "processor", "resize").out != ""
    refused(mlms("list", "modles"), "there are no 'modles'", "did you mean 'models'?")
    every = "datasets, exporters, frameworks, metrics, models, processors, profilers, readers, tasks"
    refused(mlms("list", "nonsense"), f"there are no 'nonsense'; there are {every}\n")
    refused(mlms("show", "modle", "alexnet"), "'modle' is no kind", "did you mean 'model'?")
    refused(mlms("show", "thing", "alexnet"), "one of model, framework, dataset, processor")


@pytest.mark.parametrize("filter_", [["--task", "image_classification"], ["--framework", "pytorch"], ["--tag", "x"]])
def test_a_filter_that_can_not_apply_is_refused_and_not_answered_with_nothing(filter_: list[str]) -> None:
    refused(mlms("list", "processors", *filter_), "processors have a --name only")


def test_a_component_without_options_says_so() -> None:
    assert "options: none" in mlms("show", "exporter", "markdown").out
    assert mlms("show", "exporter", "markdown", "--json").data[0]["options"]["additionalProperties"] is False


def test_validate_names_the_nearest_kind() -> None:
    Path("b.yaml").write_text("kind: modle\n", "utf-8")
    refused(mlms("validate", "b.yaml"), "b.yaml:1:7: unknown kind 'modle'", "did you mean 'model'?")
    Path("c.yaml").write_text("name: x\n", "utf-8")
    refused(mlms("validate", "c.yaml"), "missing key 'kind'")


def test_validate_takes_a_record(workplace: Path) -> None:
    path = write_run(workplace / "runs") / "run.json"
    assert mlms("validate", path).out == f"{path}: valid run digits-cnn\n"
    path.write_text(path.read_text("utf-8").replace('"finished"', '"done"'), "utf-8")
    refused(mlms("validate", path), "'done'", "status")


def test_doctor_leaves_nothing_behind(workplace: Path) -> None:
    ended = mlms("doctor")
    assert ended.code == 0
    assert re.search(r"frameworks: [1-9]", ended.out)
    assert list(workplace.iterdir()) == []


def test_no_runs_yet_says_where_and_what_to_do() -> None:
    ended = mlms("runs", "list", "--output", "elsewhere")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "there are no runs in 'elsewhere'; `mlms eval MANIFEST` makes one\n"
    refused(mlms("runs", "show", "@last"), "there are no runs in 'runs'", "mlms eval MANIFEST")


RUN = ("run", "image_classification", "--model", "digits-cnn")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--trace-level", "deep"], "error: --trace-level: 'deep' is not allowed here\n  hint: it is one of none, "),
        (
            ["--scenario", "server"],
            "error: --scenario: server needs --target-qps and --target-latency\n"
            "  hint: give --target-qps, queries a second that it is offered, and --target-latency, ",
        ),
        (["--min-queries", str(10**12)], f"error: --min-queries: {10**12} is more than"),
        (["--min-duration", "5x"], "error: --min-duration: '5x' "),
        (
            ["--min-duration", "2m", "--max-duration", "1m"],
            "error: mlms run: --min-duration (120 s) is more than --max-duration (60 s)",
        ),
        (["--target-qps", "1"], "error: --target-qps: --target-qps has no meaning in single_stream"),
        (["--dtype", "float8"], "error: --dtype: 'float8' is not allowed here"),
        (["--dataset", "digits-tset"], "error: there is no dataset 'digits-tset'\n  hint: did you mean 'digits-test'?"),
        (["--leveled"], "error: --leveled: leveled profiling goes"),
        (["--set", "scenario.workers=2"], "error: --set scenario.workers=2: 'workers' has no meaning in single_stream"),
    ],
)
def test_run_speaks_of_options_and_not_of_a_manifest_that_nobody_wrote(given: list[str], told: str) -> None:
    refused(mlms(*RUN, *given), told)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ("eval", "mine.yaml", "--threads", "1"),
            "No such option '--threads'. It is a key of the manifest: --set threads",
        ),
        (
            (*RUN, "--workers", "2"),
            "No such option '--workers'. It is a key of the manifest: --set scenario.workers=VALUE.",
        ),
        ((*RUN, "--batch", "2"), "--batch-size"),
    ],
)
def test_an_option_that_is_a_key_of_the_manifest_says_how_to_set_it(command: tuple[str, ...], told: str) -> None:
    refused(mlms(*command), told)


def test_run_takes_threads_and_dtype(workplace: Path) -> None:
    quick = ["--dataset", "digits-test", "--min-queries", "4", "--min-duration", "0s", "--warmup", "1"]
    ended = mlms(*RUN, "--threads", "1", "--dtype", "float64", "--device", "cpu", *quick, "--json")
    assert ended.code == 0, ended.err
    evaluation = ended.data[0]["evaluation"]
    assert (evaluation["threads"], evaluation["dtype"]) == (1, "float64")


def test_predict_works_with_what_ships_and_without_a_network() -> None:
    ended = mlms("predict", "digits-cnn", CHECKOUT / "assets/datasets/digits/digit.npy", "--offline")
    assert ended.code == 0, ended.err
    assert "  label: 2\n" in ended.out
    assert "  labels: 2, " in ended.out


def test_predict_leaves_out_labels_that_there_are_none_of(workplace: Path) -> None:
    text = (CHECKOUT / "assets/models/digits/digits-cnn.yaml").read_text("utf-8")
    text = text.replace("name: digits-cnn", "name: unlabelled").replace(", labels: digits", "")
    Path("unlabelled.yaml").write_text(text, "utf-8")
    digit = CHECKOUT / "assets/datasets/digits/digit.npy"
    ended = mlms("predict", "unlabelled", digit, "--weights", "random", "--assets", workplace)
    assert ended.code == 0, ended.err
    assert "  class: " in ended.out
    assert "label" not in ended.out
    as_data = mlms("predict", "unlabelled", digit, "--weights", "random", "--assets", workplace, "--json")
    assert as_data.data["labels"] is None


def test_a_name_that_is_none_comes_with_the_rule() -> None:
    refused(mlms("init", "model", "../x"), "'../x' is not a name", "begin with a letter or digit")


OWN = """\
kind: model
name: own
task: image_classification
framework: {framework}
source:
  factory: {factory}
  weights: {{file: own.pt}}
input: [{{name: image, dtype: float32, shape: [1, 8, 8]}}]
"""


def test_validate_finds_all_that_keeps_a_model_from_running() -> None:
    Path("own.yaml").write_text(OWN.format(framework="pytorch", factory="our_models:Net"), "utf-8")
    refused(
        mlms("validate", "own.yaml"),
        "own.yaml:6:12: factory 'our_models:Net' comes from 'our_models', which the framework asset doesn't allow",
        "(allowed: torchvision.models, mlms.builtins.pytorch.models)",
        "own.yaml:6:12: factory 'our_models:Net' can't be imported: there is no module 'our_models'",
        "PYTHONPATH=.",
        "own.yaml:7:19: the weights of model 'own' can't be found at",
        "own.pt",
    )


def test_validate_finds_a_module_beside_an_unknown_framework_and_says_so_at_its_place() -> None:
    Path("own.yaml").write_text(OWN.format(framework="pytorhc", factory="our_models:Net"), "utf-8")
    refused(
        mlms("validate", "own.yaml"),
        "own.yaml:4:12: there is no framework 'pytorhc'",
        "did you mean 'pytorch'?",
        "own.yaml:7:19: the weights of model 'own' can't be found at",
    )


def test_validate_runs_nothing_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("assets")
    folder.mkdir()
    Path("our_models.py").write_text("raise SystemExit('imported')\n", "utf-8")
    (folder / "framework.yaml").write_text(
        "kind: framework\nname: ours\ncomponent: pytorch\ndistribution: torch\npackages: [our_models]\n", "utf-8"
    )
    (folder / "own.yaml").write_text(OWN.format(framework="ours", factory="our_models:Net"), "utf-8")
    (folder / "own.pt").write_bytes(b"weights")
    refused(mlms("validate", "assets/own.yaml"), "can't be imported: there is no module 'our_models'")
    monkeypatch.syspath_prepend(".")
    assert mlms("validate", "assets/own.yaml").out == "assets/own.yaml: valid model own\n"


def test_validate_holds_a_file_of_weights_against_its_checksum() -> None:
    text = OWN.format(framework="pytorch", factory="torchvision.models:resnet18")
    Path("own.yaml").write_text(text.replace("{file: own.pt}", "{file: own.pt, sha256: '00000000'}"), "utf-8")
    Path("own.pt").write_bytes(b"weights")
    refused(mlms("validate", "own.yaml"), "own.yaml:7:19: ", "has SHA-256", "the asset names 00000000")


def test_validate_takes_a_model_whose_framework_runs_elsewhere(tmp_path: Path) -> None:
    """What is installed where mlms runs says nothing of a framework in an environment of its own."""
    Path("framework.yaml").write_text(
        "kind: framework\nname: away\ncomponent: pytorch\ndistribution: no-such-dist\npackages: [their_models]\n"
        "environment: {isolation: venv, requirements: [no-such-dist]}\n",
        "utf-8",
    )
    text = OWN.format(framework="away", factory="their_models:Net").replace("file: own.pt", "random: {}")
    Path("own.yaml").write_text(text, "utf-8")
    assert mlms("validate", "own.yaml", "--assets", tmp_path).out == "own.yaml: valid model own\n"


def test_validate_looks_at_every_evaluation_of_a_manifest() -> None:
    text = OWN.format(framework="pytorch", factory="our_models:Net").partition("\n")[2]
    models = "".join(
        "  - " + text.replace("own", name).rstrip().replace("\n", "\n    ") + "\n" for name in ("one", "two")
    )
    Path("mine.yaml").write_text(f"kind: manifest\nname: mine\ndataset: synthetic\nmodels:\n{models}", "utf-8")
    ended = mlms("validate", "mine.yaml")
    refused(
        ended, "the weights of model 'one'", "the weights of model 'two'", "which the framework asset doesn't allow"
    )
    assert "mine.yaml: the weights" in ended.err
