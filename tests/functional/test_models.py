"""Models as users bring them: torchvision's with random weights, a YAML dropped in, weights from a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.manifests import QUICK, judge, manifest, write
from fakes.program import CHECKOUT, mlms
from fakes.weights_server import Fault, WeightsServer

FAST = ("--min-queries", "2", "--min-duration", "0s", "--warmup", "1", "--output", "runs")


def test_random_weights_report_no_accuracy_and_say_so() -> None:
    ended = mlms("eval", manifest(), "--weights", "random", "--output", "runs")
    assert ended.code == 0, ended.err
    assert "no accuracy" in ended.out
    assert "random weights" in ended.out
    (record,) = mlms("runs", "list", "--output", "runs", "--json").data
    assert record["metrics"] == []
    assert record["accuracy"] == {"reported": False, "reason": "random weights: performance only"}
    assert record["model"]["weights"]["origin"] == "random"
    assert not (Path(record["path"]) / "predictions.parquet").exists()


@pytest.mark.slow
def test_the_one_liner_without_a_manifest() -> None:
    ended = mlms(
        *("run", "image_classification", "--model", "alexnet", "--weights", "random", "--device", "cpu"),
        *("--batch-size", "2", *FAST, "--json"),
    )
    assert ended.code == 0, ended.err
    (record,) = ended.data
    assert record["model"]["name"] == "alexnet"
    assert record["model"]["describe"]["parameters"] == 61_100_840
    assert record["latency"]["samples_per_query"] == 2
    assert record["dataset"]["name"] == "synthetic"
    assert not record["accuracy"]["reported"]


def test_a_task_that_the_model_does_not_do() -> None:
    ended = mlms("run", "translation", "--model", "alexnet", "--weights", "random")
    assert ended.code == 2
    assert "alexnet" in ended.err
    assert "image_classification" in ended.err


RESNET = {
    "kind": "model",
    "name": "my-resnet",
    "description": "A network of my own.",
    "task": "image_classification",
    "tags": ["mine"],
    "framework": {"name": "pytorch"},
    "source": {"factory": "torchvision.models:resnet18", "weights": {"random": {"seed": 3}}},
    "input": [{"name": "image", "dtype": "float32", "shape": [3, 64, 64]}],
    "preprocess": [
        {"decode_image": {"mode": "RGB"}},
        {"resize": {"size": 64}},
        {"center_crop": {"size": 64}},
        {"rescale": {"factor": "1/255"}},
        {"to_chw": {}},
    ],
    "postprocess": [{"softmax": {}}, {"top_k": {"k": 5, "labels": "imagenet-1k"}}],
}


@pytest.mark.slow
def test_a_yaml_dropped_into_assets_is_listed_validated_shown_and_evaluated() -> None:
    assert mlms("list", "models", "--name", "my-*", "--json").data == []
    file = write(Path("assets", "models", "my-resnet.yaml"), **RESNET)
    (entry,) = mlms("list", "models", "--tag", "mine", "--json").data
    assert (entry["name"], entry["path"]) == ("my-resnet", str(file.absolute()))
    assert mlms("validate", file).out == f"{file}: valid model my-resnet\n"
    assert "torchvision.models:resnet18" in mlms("show", "my-resnet").out
    ended = mlms("run", "image_classification", "--model", "my-resnet", "--dataset", "sample-images", *FAST, "--json")
    assert ended.code == 0, ended.err
    (record,) = ended.data
    assert record["model"]["describe"]["parameters"] == 11_689_512
    assert record["dataset"]["samples"] == 2
    picture = CHECKOUT / "assets/datasets/sample-images/images/china.jpg"
    answer = mlms("predict", "my-resnet", picture, "--json")
    assert answer.code == 0, answer.err
    assert len(answer.data["classes"]) == 5


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WeightsServer]:
    """The digits' weights on a host of their own, and a cache that has nothing yet."""
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path / "own-cache"))
    with WeightsServer() as server:
        yield server


def remote_digits(server: WeightsServer, sha256: str | None = None) -> dict[str, Any]:
    from mlms.manifests.reader import read_document

    model = dict(read_document(CHECKOUT / "assets/models/digits/digits-cnn.yaml").data)
    content = (CHECKOUT / "assets/models/digits/digits-cnn.safetensors").read_bytes()
    url, right = server.put("/weights/digits.safetensors", content)
    weights = {"url": url, "sha256": sha256 or right}
    return {**model, "name": "remote-digits", "source": {**model["source"], "weights": weights}}


def test_weights_are_downloaded_once(server: WeightsServer) -> None:
    path = manifest(models=[remote_digits(server)])
    for _ in range(2):
        ended = mlms("eval", path, "--output", "runs", "--json")
        assert ended.code == 0, ended.err
        (record,) = ended.data
        assert round(record["metrics"][0]["value"], 4) == 99.1111
        assert record["model"]["weights"]["origin"] == "url"
    assert server.requests == [("/weights/digits.safetensors", None)]
    offline = mlms("eval", path, "--output", "runs", "--offline")
    assert offline.code == 0, "the cache has them"


@pytest.fixture
def large(server: WeightsServer, acme: Path) -> Path:
    """A manifest whose model has 3 MiB of weights on the server."""
    url, sha256 = server.put("/weights/judge.bin", bytes(range(256)) * (12 << 10))
    model = judge()
    model["source"]["weights"] = {"url": url, "sha256": sha256}
    return manifest(models=[model])


def test_a_download_that_is_cut_off_goes_on_where_it_was(server: WeightsServer, large: Path) -> None:
    server.faults.append(Fault(cut=2 << 20))
    ended = mlms("eval", large, "--output", "runs")
    assert ended.code == 0, ended.err
    assert [asked for _, asked in server.requests] == [None, f"bytes={2 << 20}-"]


def test_a_download_that_stays_cut_off_is_resumed_by_the_next_call(server: WeightsServer, large: Path) -> None:
    server.faults.extend([Fault(cut=2 << 20), Fault(status=404)])
    failed = mlms("eval", large, "--output", "runs")
    assert failed.code == 2, failed.err
    assert "judge.bin" in failed.err
    assert list(Path("runs").iterdir()) == []
    assert mlms("eval", large, "--output", "runs").code == 0
    assert server.requests[-1] == ("/weights/judge.bin", f"bytes={2 << 20}-")


def test_weights_with_another_checksum_are_refused(server: WeightsServer) -> None:
    ended = mlms("eval", manifest(models=[remote_digits(server, "0" * 64)]), "--output", "runs")
    assert ended.code == 2
    assert "0" * 64 in ended.err
    assert "SHA-256" in ended.err
    assert list(Path("runs").iterdir()) == []


def test_offline_without_the_weights_says_what_to_do(server: WeightsServer) -> None:
    ended = mlms("eval", manifest(models=[remote_digits(server)]), "--output", "runs", "--offline")
    assert ended.code == 2
    assert "offline" in ended.err
    assert "hint:" in ended.err
    assert server.requests == []


def test_a_mirror_stands_in_for_the_host(server: WeightsServer) -> None:
    model = remote_digits(server)
    weights = model["source"]["weights"]
    weights["url"] = "https://weights.invalid/weights/digits.safetensors"
    ended = mlms("eval", manifest(models=[model]), "--output", "runs", "--mirror", server.base)
    assert ended.code == 0, ended.err


def test_evaluations_run_in_another_thread_too() -> None:
    """LoadGen calls back from threads of its own, and only the main thread may handle signals."""
    import mlms as package

    found: list[Any] = []
    path = manifest(scenario={**QUICK, "type": "offline"})
    thread = threading.Thread(target=lambda: found.append(package.evaluate(path)))
    thread.start()
    thread.join(120)
    assert found[0].exit_code == 0
