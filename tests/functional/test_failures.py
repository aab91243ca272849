"""Bad input and bad luck: one clear message each, the right exit code, and what was finished before stays."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fakes.distributions import search_path
from fakes.manifests import QUICK, judge, manifest, write
from fakes.program import Ended, mlms, mlms_process

GOOD = judge("good")


def evaluate(*arguments: str | Path, **changes: Any) -> Ended:
    return mlms("eval", manifest(**changes), "--output", "runs", *arguments)


def expect(ended: Ended, code: int, *shown: str) -> None:
    """The exit code, what standard error says, and that it is a message and no traceback."""
    assert ended.code == code, ended.err
    for text in shown:
        assert text in ended.err, ended.err
    assert "Traceback" not in ended.err
    assert "bug in mlms" not in ended.err


def leftovers() -> list[str]:
    """What lies in the runs' folder besides whole runs."""
    return sorted(path.name for path in Path("runs").iterdir() if not (path / "run.json").is_file())


# The document


def test_an_unknown_key_is_shown_at_its_place_with_the_nearest_one() -> None:
    Path("typo.yaml").write_text(
        "kind: manifest\nschema_version: 1\nname: typo\nmodels: [digits-cnn]\ndataset: digits-test\n  \nbatch_sise: 2\n"
    )
    expect(mlms("eval", "typo.yaml"), 2, "typo.yaml:7:1", "batch_sise", "batch_size")
    assert mlms("validate", "typo.yaml").code == 2


def test_a_wrong_type_is_shown_at_its_place() -> None:
    Path("wrong.yaml").write_text(
        "kind: manifest\nschema_version: 1\nname: wrong\nmodels: [digits-cnn]\ndataset: digits-test\nbatch_size: many\n"
    )
    expect(mlms("eval", "wrong.yaml"), 2, "wrong.yaml:6:", "batch_size")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"models": ["digits-cmm"]}, ["manifest.yaml:", "digits-cmm", "digits-cnn"]),
        ({"dataset": "digits-tset"}, ["manifest.yaml:", "digits-tset", "digits-test"]),
        ({"framework": "pytorhc"}, ["manifest.yaml:", "pytorhc", "pytorch"]),
        ({"models": ["digits-cnn@9.9.9"]}, ["manifest.yaml:", "9.9.9", "1.0.0"]),
        ({"metrics": ["top2"]}, ["top2", "top1"]),
        ({"scenario": "single_steam"}, ["single_steam", "single_stream"]),
        ({"options": {"chanels_last": True}}, ["chanels_last", "channels_last"]),
    ],
    ids=["model", "dataset", "framework", "version", "metric", "scenario", "option"],
)
def test_a_name_that_nothing_answers_to_comes_with_the_nearest(changes: dict[str, Any], shown: list[str]) -> None:
    expect(evaluate(**changes), 2, *shown)


def test_a_manifest_that_is_not_there() -> None:
    expect(mlms("eval", "nowhere.yaml"), 2, "nowhere.yaml")


def test_a_framework_of_a_version_that_the_model_refuses(acme: Path) -> None:
    picky = judge(framework={"name": "acme", "version": ">=99"})
    expect(evaluate(models=[picky]), 2, "numpy>=99", np.__version__, "pip install 'numpy>=99'")


def test_a_framework_that_is_not_installed(acme: Path) -> None:
    write(
        Path("assets/frameworks/gone.yaml"),
        kind="framework",
        name="gone",
        component="acme",
        distribution="no-such-dist",
        packages=["acme_plugin"],
    )
    expect(evaluate(models=[judge(framework={"name": "gone"})]), 2, "no-such-dist", "pip install no-such-dist")


def test_cuda_without_a_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    expect(evaluate(device="cuda"), 2, "cuda", "cpu")


# The data


def image_model(**changes: Any) -> dict[str, Any]:
    steps = [{"decode_image": {"mode": "L"}}, {"resize": {"size": [8, 8]}}, {"to_chw": {}}]
    return judge("seer", preprocess=[*steps, {"rescale": {"factor": "1/255"}}], **changes)


def image_folder(files: dict[str, bytes | None]) -> dict[str, Any]:
    """A dataset of images below ./images; None stands for a proper image."""
    folder = Path("images")
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if content is None:
            Image.new("RGB", (10, 10), (200, 30, len(name))).save(path)
        else:
            path.write_bytes(content)
    return {"name": "pictures", "reader": {"image_folder": {}}, "path": "images"}


def test_a_dataset_directory_that_is_missing(acme: Path) -> None:
    dataset = {"name": "pictures", "reader": {"image_folder": {}}, "path": "images"}
    expect(evaluate(models=[image_model()], dataset=dataset), 2, "pictures", "images", "does not exist")


def test_a_dataset_directory_that_is_empty(acme: Path) -> None:
    expect(evaluate(models=[image_model()], dataset=image_folder({})), 2, "images", "no images")


@pytest.mark.parametrize(
    "content", [b"", b"no image at all", b"\xff\xd8\xff\xe0 cut off"], ids=["empty", "text", "cut"]
)
def test_a_corrupt_image_is_named(acme: Path, content: bytes) -> None:
    dataset = image_folder({"a.png": None, "b.jpg": content, "c.png": None})
    expect(evaluate(models=[image_model()], dataset=dataset), 2, "b.jpg")
    assert leftovers() == []


def test_a_truncated_image_that_the_scenario_never_sees_is_named_too(acme: Path) -> None:
    """With room for one sample in memory, the last one is only read when the rest is scored."""
    dataset = image_folder({"a.png": None, "b.png": None})
    noise = np.random.default_rng(0).integers(0, 255, (600, 600), np.uint8)
    Image.fromarray(noise).save("images/b.png")
    Path("images", "b.png").write_bytes(Path("images", "b.png").read_bytes()[:9000])
    large = image_model(input=[{"name": "image", "dtype": "float32", "shape": [1, 600, 600]}])
    large["preprocess"][1] = {"resize": {"size": [600, 600]}}
    ended = evaluate(models=[large], dataset=dataset, preprocessing={"memory_mib": 1})
    expect(ended, 2, "b.png")
    (kept,) = leftovers()
    assert kept.endswith(".failed"), "its latencies were measured by then"


def test_labels_that_do_not_fit_the_models_classes(acme: Path) -> None:
    twelve = judge("twelve", arguments={"classes": 12}, postprocess=[])
    expect(evaluate(models=[twelve]), 2, "labels don't fit", "12", "10")


def test_labels_in_another_order_than_the_models(acme: Path) -> None:
    np.savez("turned.npz", values=np.zeros((4, 8, 8), np.float32), targets=np.arange(4))
    reader = {"array_file": {"values": "values", "targets": "targets"}}
    dataset = {"name": "turned", "reader": reader, "path": "turned.npz", "labels": list("9876543210")}
    shown = ("labels don't fit", "'9' is class 0 of dataset 'turned'", "class 9 of model 'judge'", "'digits'")
    expect(evaluate(models=[judge()], dataset=dataset), 2, *shown)


def test_class_directories_that_are_not_the_models(acme: Path) -> None:
    dataset = image_folder({"n03000684/a.png": None, "n03888257/b.png": None})
    shown = ("labels don't fit", "10 classes apart", "dataset 'pictures' has 2 classes", "'digits'")
    expect(evaluate(models=[image_model()], dataset=dataset), 2, *shown)


def test_class_directories_in_place_of_labels_give_a_warning(acme: Path) -> None:
    dataset = image_folder({f"n0{number}/a.png": None for number in range(10)})
    ended = evaluate(models=[image_model()], dataset=dataset)
    assert ended.code == 0, ended.err
    assert "10 of 10 labels differ" in ended.err
    assert "class 0 is 'n00' in the one and '0' in the other" in " ".join(ended.err.split())


def test_preprocessing_that_does_not_fit_the_input(acme: Path) -> None:
    square = judge(input=[{"name": "image", "dtype": "float32", "shape": [1, 9, 9]}])
    expect(evaluate(models=[square]), 2, "1×8×8", "1×9×9", "preprocess")


# The weights


def test_a_weights_file_that_is_not_the_assets(acme: Path) -> None:
    weights = {"file": "judge.bin", "sha256": "0" * 64}
    model = judge()
    model["source"]["weights"] = weights
    expect(evaluate(models=[model]), 2, "judge.bin", "SHA-256", "0" * 64)


def test_a_weights_file_that_is_not_there(acme: Path) -> None:
    Path("judge.bin").unlink()
    expect(evaluate(models=[judge()]), 2, "judge.bin", "judge")


# The model, and plugins that raise


@pytest.mark.parametrize("scenario", ["single_stream", "offline"])
@pytest.mark.parametrize(("raise_at", "when"), [(2, "warm-up"), (10, "measuring")])
def test_a_model_that_raises_is_named_and_the_next_one_runs(
    acme: Path, scenario: str, raise_at: int, when: str
) -> None:
    bad = judge("bad", arguments={"raise_at": raise_at})
    ended = evaluate(models=[bad, GOOD], scenario={**QUICK, "type": scenario, "min_queries": 64})
    expect(ended, 1, "bad", "ZeroDivisionError", "the scales are empty")
    assert len(list(Path("runs").glob("*-good-*/run.json"))) == 1
    (log,) = leftovers()
    assert re.fullmatch(r".*-bad-[0-9a-f]{8}\.failed\.log", log)
    assert f"log: {Path('runs', log)}" in ended.err
    text = Path("runs", log).read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "the scales are empty" in text


def test_one_evaluation_that_raises_exits_with_1(acme: Path) -> None:
    expect(evaluate(models=[judge("bad", arguments={"raise_at": 1})]), 1, "ZeroDivisionError")


def test_a_model_that_answers_for_too_few_samples(acme: Path) -> None:
    ended = evaluate(models=[judge("bad", arguments={"short": True})], batch_size=4)
    expect(ended, 1, "bad", "3", "4")


def test_a_model_that_can_not_be_closed(acme: Path) -> None:
    expect(evaluate(models=[judge("bad", arguments={"closing": "it is jammed"})]), 1, "bad", "it is jammed")


def test_a_factory_with_arguments_that_it_does_not_take(acme: Path) -> None:
    expect(evaluate(models=[judge("bad", arguments={"colour": "red"})]), 1, "acme 1.2.3", "bad", "colour")


@pytest.mark.parametrize(
    ("model", "changes", "code", "shown"),
    [
        (judge(preprocess=[{"explode": {}}]), {}, 1, ["preprocess[0] explode", "acme 1.2.3", "LookupError"]),
        (judge(postprocess=[{"explode": {}}]), {}, 1, ["postprocess[0] explode", "acme 1.2.3", "sample '"]),
        (judge(preprocess=[{"unmakeable": {}}]), {}, 2, ["acme 1.2.3", "unmakeable", "ZeroDivisionError"]),
        (GOOD, {"metrics": ["stuck"]}, 2, ["metric 'stuck'", "ArithmeticError", "lost count"]),
        (
            judge(preprocess=[]),
            {"dataset": {"name": "tape", "reader": "ragged"}},
            2,
            ["Ragged", "sample 2", "the tape snapped"],
        ),
    ],
    ids=["preprocess", "postprocess", "make", "metric", "reader"],
)
def test_a_component_that_raises_is_named_with_its_plugin(
    acme: Path, model: dict[str, Any], changes: dict[str, Any], code: int, shown: list[str]
) -> None:
    expect(evaluate(models=[model], **changes), code, *shown)
    assert [name for name in leftovers() if not name.endswith((".failed.log", ".failed"))] == []


def test_what_was_measured_is_kept_when_scoring_fails(acme: Path) -> None:
    ended = evaluate("--json", models=[GOOD], metrics=["stuck"])
    (kept,) = Path("runs").glob("*.failed")
    assert ended.data[0]["log"] == str(kept / "log.txt")
    measured = pl.read_parquet(kept / "latencies.parquet").filter(pl.col("phase") == "measured")
    assert len(measured) >= QUICK["min_queries"]
    assert "lost count" in (kept / "log.txt").read_text(encoding="utf-8")
    listed = mlms("runs", "list", "--output", "runs")
    assert "there are no runs" in listed.err
    assert "left out" not in listed.err


def test_a_report_that_fails_costs_no_run(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> str:
        raise ArithmeticError("lost count")

    monkeypatch.setattr("mlms.reports.html.render_run", fail)
    ended = evaluate("--json", models=[GOOD])
    assert ended.code == 0
    (run,) = ended.data
    assert "there is no report.html: a bug in mlms: ArithmeticError: lost count" in run["warnings"]
    assert "report" not in run["files"]
    assert not Path(run["path"], "report.html").exists()
    assert {"latencies", "predictions", "spans"} <= run["files"].keys()
    assert "report" not in evaluate(models=[GOOD]).out.splitlines()[-1]


ODD = os.fsdecode(b"\xff")


def test_names_that_are_no_utf_8(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the manifest, the cache, the dataset's folder, an image: Linux takes any bytes."""
    monkeypatch.setenv("MLMS_CACHE", str(Path(f"cache{ODD}").absolute()))
    place = Path(f"nu{ODD}")
    place.mkdir()
    monkeypatch.chdir(place)
    shutil.copy("../judge.bin", ".")
    dataset = image_folder({f"3/{ODD}.png": None, "4/b.png": None})
    path = manifest(Path(f"m{ODD}.yaml"), models=[image_model()], dataset=dataset, trace={"level": "model"})
    ended = mlms("eval", path, "--output", "runs", "--json")
    assert ended.code == 0, ended.err
    (run,) = ended.data
    assert run["manifest"]["path"] == r"m\udcff.yaml"
    assert r"nu\udcff" in run["dataset"]["path"]
    names = pl.read_parquet(Path(run["path"], "predictions.parquet"))["sample"].to_list()
    assert sorted(names) == [r"3/\udcff.png", "4/b.png"]
    assert r"m\udcff.yaml" in Path(run["path"], "report.html").read_text(encoding="utf-8")


def test_out_of_memory() -> None:
    write(
        Path("assets/frameworks/local.yaml"),
        kind="framework",
        name="local",
        component="pytorch",
        distribution="torch",
        packages=["fakes.torch_factories"],
    )
    model = judge("huge", framework={"name": "local"})
    model["source"] = {"factory": "fakes.torch_factories:Huge", "weights": {"random": {"seed": 0}}}
    expect(evaluate(models=[model], batch_size=2), 1, "huge", "out of memory", "batch_size")


# Sweeps


def test_a_sweep_goes_on_past_what_fails(acme: Path) -> None:
    bad = judge("bad", arguments={"raise_at": 1})
    missing = judge("missing", preprocess=[{"no-such-step": {}}])
    ended = evaluate("--json", models=[bad, missing, GOOD])
    assert ended.code == 1
    outcomes = {entry["name"]: entry for entry in ended.data}
    assert [entry["status"] for entry in ended.data] == ["failed", "failed", "finished"]
    assert outcomes["bad"]["exit_code"] == 1
    assert Path(outcomes["bad"]["log"]).is_file()
    assert outcomes["missing"]["exit_code"] == 2
    assert outcomes["missing"]["log"] is None, "what is wrong with the input, the message says whole"


def test_a_sweep_of_nothing_but_bad_input_exits_with_2(acme: Path) -> None:
    models = [judge(f"missing-{number}", preprocess=[{"no-such-step": {}}]) for number in range(2)]
    expect(evaluate(models=models), 2, "missing-0", "missing-1")


def test_a_manifest_that_is_bad_does_not_stop_the_other_one(acme: Path) -> None:
    good = manifest(Path("good.yaml"), models=[GOOD])
    Path("bad.yaml").write_text("kind: manifest\nname: bad\n")
    ended = mlms("eval", "bad.yaml", good, "--output", "runs")
    expect(ended, 1, "bad.yaml")
    assert len(list(Path("runs").glob("*-good-*"))) == 1


# Where the runs go


def test_a_file_in_place_of_the_runs_folder() -> None:
    Path("runs").write_text("in the way")
    expect(evaluate(), 2, "runs")


def test_a_folder_that_can_not_be_written() -> None:
    if os.geteuid() == 0:
        place = Path("/proc/runs")  # root writes everywhere else
    else:
        Path("locked").mkdir(mode=0o500)
        place = Path("locked", "runs")
    expect(mlms("eval", manifest(), "--output", place), 2, str(place))


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A file system of 160 KiB."""
    place = Path("tiny").absolute()
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_while_running(acme: Path, tiny_disk: Path) -> None:
    """The trial write fits, the files of the run don't."""
    path = manifest(models=[GOOD], scenario={**QUICK, "min_queries": 20000})
    expect(mlms("eval", path, "--output", tiny_disk), 2, "space")
    assert [entry.name for entry in tiny_disk.iterdir() if not entry.name.endswith(".log")] == []


def test_a_disk_that_has_no_room_for_the_report(acme: Path, tiny_disk: Path) -> None:
    """The trial write fits, and so do the files of the run but for the report's 60 KB."""
    (tiny_disk / "ballast").write_bytes(bytes(30 << 10))
    ended = mlms("eval", manifest(models=[GOOD]), "--output", tiny_disk)
    assert ended.code == 0, ended.err
    (run,) = tiny_disk.glob("*/run.json")
    assert not (run.parent / "report.html").exists()
    assert "there is no report.html: can't write here: No space left on device" in run.read_text(encoding="utf-8")


def test_a_full_folder_for_temporary_files(acme: Path, tiny_disk: Path) -> None:
    with suppress(OSError), (tiny_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    elsewhere = {"TMPDIR": str(tiny_disk), "PYTHONPATH": search_path(acme)}
    ended = mlms_process("eval", manifest(models=[GOOD]), "--output", "runs", "--json", **elsewhere)
    assert ended.code == 0, ended.err
    assert ended.data[0]["harness"]["null_query_ns"] > 0


def test_a_disk_that_is_full_before(acme: Path, tiny_disk: Path) -> None:
    (tiny_disk / "ballast").write_bytes(bytes(150 << 10))
    expect(mlms("eval", manifest(models=[GOOD]), "--output", tiny_disk), 2, "space")


def test_a_finished_run_stays_when_the_next_one_fails(acme: Path) -> None:
    first = evaluate("--json", models=[GOOD]).data[0]
    before = {file: file.read_bytes() for file in Path(first["path"]).rglob("*") if file.is_file()}
    evaluate(models=[judge("good", arguments={"raise_at": 5})])
    assert {file: file.read_bytes() for file in before} == before
