"""The program's own manners: help, versions, pipes, colours, and what the commands without an evaluation do."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import mlms as package
from fakes.manifests import manifest, write
from fakes.program import CHECKOUT, command, mlms, mlms_process
from fakes.records import write_run
from fakes.span_tables import nested
from mlms import api
from mlms.cli import COMMANDS, cli

HEAVY = ("torch", "torchvision", "torchmetrics", "numpy", "polars", "jsonschema", "requests", "rich", "jinja2", "yaml")
HEAVY += ("opentelemetry", "grpc", "pluggy", "mlperf_loadgen", "psutil", "PIL")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, with its path."""
    context = click.Context(cli)
    for name in COMMANDS:
        found = cli.get_command(context, name)
        assert found is not None
        yield name, found
        if isinstance(found, click.Group):
            for inner in found.list_commands(context):
                below = found.get_command(context, inner)
                assert below is not None
                yield f"{name} {inner}", below


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_every_help_has_an_example_that_is_a_call_of_it(path: str) -> None:
    ended = mlms(*path.split(), "--help")
    assert ended.code == 0
    assert ended.err == ""
    assert f"Usage: mlms {path}" in ended.out
    example = re.search(r"Example:\s*(.*)", ended.out)
    assert example, ended.out
    assert f"mlms {path}" in example[1] or path == "runs"


def test_the_summaries_are_the_commands_own() -> None:
    own = {path: found.get_short_help_str(limit=200) for path, found in commands() if " " not in path}
    assert list(own) == list(COMMANDS)
    for name, summary in COMMANDS.items():
        assert own[name].startswith(summary.removesuffix(".")), name


def test_no_summary_is_cut_or_wrapped_on_a_terminal_of_80_columns() -> None:
    for path, found in [("", cli), *commands()]:
        if isinstance(found, click.Group):
            context = click.Context(found, info_name="mlms", terminal_width=80)
            listed = found.get_help(context).partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
            names = found.list_commands(context)
            assert [line.split()[0] for line in listed] == names, path
            assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == [], path


def test_every_option_says_what_it_does() -> None:
    options = [(path, each) for path, found in commands() for each in found.params if isinstance(each, click.Option)]
    assert [f"mlms {path} {each.opts[0]}" for path, each in options if not (each.show_default or each.help)] == []


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(argument: str) -> None:
    program = f"""
import sys
from mlms.cli import main
try:
    main([{argument!r}])
except SystemExit as end:
    assert not end.code
print(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(ended.stderr.split())
    assert (package.__version__ if argument == "--version" else "Commands:") in ended.stdout


def test_an_unknown_command_comes_with_the_nearest() -> None:
    ended = mlms("evl", "x.yaml")
    assert ended.code == 2
    assert "evl" in ended.err
    assert "'eval'" in ended.err


def test_an_unknown_option_is_bad_input() -> None:
    assert mlms("eval", "x.yaml", "--no-such-option").code == 2


def test_the_public_surface() -> None:
    names = ["Comparison", "Results", "Run", "Settings", "agree", "analyze", "compare", "evaluate"]
    names += ["export", "load_catalog", "open_run", "plan", "predict", "where_time_goes"]
    assert sorted(package.__all__) == names
    for name in names:
        assert getattr(package, name).__doc__, name
    assert sorted(dir(package)) == sorted([*package.__all__, "__version__"])
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        package.evalute  # noqa: B018 (reading the attribute is the test)


def test_a_reader_that_goes_away_is_no_failure() -> None:
    listing = " ".join(command("list", "models"))
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{listing} | head -1"], capture_output=True, text=True, check=False
    )
    assert piped.returncode == 0
    assert piped.stdout.startswith("NAME")
    assert piped.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["list", "models"], ["trace", "export", "@last", "-f", "csv"]])
def test_a_full_standard_output_is_an_error(arguments: list[str]) -> None:
    nested(predictions=2, layers=2).write(write_run(Path("runs")) / "spans.parquet")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: standard output can't be written: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_a_closed_standard_output_is_no_traceback(closed: str) -> None:
    line = f"{shlex.join(command('list', 'models'))} {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    write_run(Path("runs"), name="naïve")
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = mlms_process("runs", "show", "@last", **variables)
    assert (ended.code, ended.err) == (0, "")
    assert r"na\xefve" in ended.out


NO_NAME = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "show", NO_NAME],
        ["runs", "list", "-o", NO_NAME],
        ["compare", NO_NAME, NO_NAME],
        ["compare", "@last", "@last", "--format", "json", "--output", NO_NAME],
        ["trace", "show", NO_NAME],
        ["trace", "export", "@last", "-f", "csv", "-o", NO_NAME],
        ["analyze", NO_NAME],
        ["export", NO_NAME, "-f", "json"],
        ["export", "@last", "-f", "json", "-o", NO_NAME],
        ["export", "@last", "-f", "mlperf", "-o", NO_NAME],
        ["plugin", "new", "acme", "--kind", "metric", "--output", NO_NAME],
        ["init", "model", NO_NAME],
        ["validate", NO_NAME],
        ["eval", NO_NAME],
    ],
)
def test_a_name_longer_than_names_can_be_is_bad_input(arguments: list[str]) -> None:
    nested(predictions=2, layers=2).write(write_run(Path("runs")) / "spans.parquet")
    ended = mlms(*arguments)
    assert ended.code == 2
    assert "File name too long" in ended.err


def test_colours_come_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    path = manifest(batch_sise=2)
    assert "\x1b" not in mlms_process("eval", path).err
    assert "\x1b" not in mlms("plugins").out


def test_list_filters() -> None:
    names = [
        row["name"] for row in mlms("list", "models", "--name", "digits*", "--framework", "pytorch", "--json").data
    ]
    assert names == ["digits-cnn"]
    assert len(mlms("list", "models", "--task", "image_classification", "--json").data) > 70
    assert mlms("list", "models", "--framework", "pytorch", "--tag", "digits", "--tag", "offline").out.count("\n") == 2
    nothing = mlms("list", "models", "--name", "zzz*")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "nothing found\n")


@pytest.mark.parametrize("what", ["frameworks", "datasets", "processors", "readers", "tasks", "metrics", "profilers"])
def test_everything_can_be_listed(what: str) -> None:
    ended = mlms("list", what, "--json")
    assert ended.code == 0
    assert ended.data
    assert len(mlms("list", what).out.splitlines()) == len(ended.data) + 1


def test_show_gives_assets_and_components() -> None:
    assert "torchvision.models:alexnet" in mlms("show", "alexnet").out
    assert mlms("show", "model", "alexnet", "--json").data[0]["kind"] == "model"
    assert "interpolation" in mlms("show", "processor", "resize").out
    wrong = mlms("show", "alexnit")
    assert wrong.code == 2
    assert "alexnet" in wrong.err


def test_two_assets_of_one_name_name_both_files() -> None:
    text = (CHECKOUT / "assets/models/digits/digits-cnn.yaml").read_text(encoding="utf-8")
    Path("assets/models").mkdir(parents=True)
    twin = Path("assets/models/twin.yaml").absolute()
    twin.write_text(text.replace("file: digits-cnn.safetensors", "random: {seed: 0}").replace("sha256", "# sha256"))
    ended = mlms("eval", manifest())
    assert ended.code == 2
    assert str(twin) in ended.err
    assert str(CHECKOUT / "assets/models/digits/digits-cnn.yaml") in ended.err


@pytest.mark.parametrize("kind", ["manifest", "model", "framework", "dataset"])
def test_init_writes_what_validate_accepts(kind: str) -> None:
    ended = mlms("init", kind, "my-own")
    assert ended.code == 0
    path = Path(ended.out.strip())
    assert path == (Path("my-own.yaml") if kind == "manifest" else Path("assets") / f"{kind}s" / "my-own.yaml")
    valid = mlms("validate", path, "--json")
    assert valid.code == 0, valid.out
    again = mlms("init", kind, "my-own")
    assert again.code == 2
    assert "--force" in again.err
    assert mlms("init", kind, "my-own", "--force").code == 0


def test_validate_reports_every_file() -> None:
    good = manifest(Path("good.yaml"))
    bad = write(Path("bad.yaml"), kind="model", name="bad", taks="image_classification")
    ended = mlms("validate", good, bad)
    assert ended.code == 2
    assert ended.out == "good.yaml: valid manifest, evaluations: 1\n"
    assert "bad.yaml:" in ended.err
    assert "taks" in ended.err
    assert "task" in ended.err


def test_every_shipped_manifest_and_asset_is_valid() -> None:
    known = {entry.name for entry in api.load_catalog().entries("model")}
    manifests = {path: yaml.safe_load(path.read_text("utf-8")) for path in (CHECKOUT / "manifests").glob("*.yaml")}
    # Those over all frameworks name models of plugins, which need not be installed; CI runs them.
    here = [path for path, content in manifests.items() if set(content["models"]) <= known]
    assert len(here) >= 6
    files = [*here, *(CHECKOUT / "assets").rglob("*.yaml")]
    ended = mlms("validate", *files, "--json")
    assert [entry for entry in ended.data if not entry["valid"]] == []
    assert ended.code == 0


@pytest.mark.parametrize("kind", ["model", "framework", "dataset", "manifest", "run"])
def test_schemas_are_printed(kind: str) -> None:
    assert mlms("schema", kind).data["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_program(shell: str) -> None:
    ended = mlms("completion", shell)
    assert ended.code == 0
    assert "_MLMS_COMPLETE" in ended.out


def test_completion_knows_the_commands() -> None:
    ended = subprocess.run(
        command(),
        env=os.environ | {"_MLMS_COMPLETE": "bash_complete", "COMP_WORDS": "mlms pl", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "usage" not in ended.stderr.lower() or ended.returncode in (0, 2)


def test_doctor_finds_this_machine_well(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = mlms("doctor", "--json")
    assert ended.code == 0, ended.out
    checks = {entry["check"] for entry in ended.data}
    assert checks >= {"mlms", "processor", "memory", "GPUs", "catalog", "cache", "runs", "plugin builtins"}
    seen = {entry["check"]: entry["detail"] for entry in ended.data if entry["check"].startswith("profiler ")}
    assert seen.keys() == {"profiler cupti", "profiler host", "profiler nvml", "profiler perf"}
    assert re.fullmatch(r"\d+ figures", seen["profiler host"])
    assert all("figures" in detail or detail.startswith("off") for detail in seen.values())
    Path("runs-file").write_text("in the way")
    monkeypatch.setenv("MLMS_RUNS", "runs-file")
    sick = mlms("doctor")
    assert sick.code == 2
    assert "FAIL runs" in sick.out
    assert "MLMS_RUNS" in sick.out


def test_runs_are_listed_shown_and_found() -> None:
    for seed in ("0", "1"):
        assert mlms("eval", manifest(), "--set", f"seed={seed}", "--output", "runs").code == 0
    rows = mlms("runs", "list", "--output", "runs", "--json").data
    assert [row["seeds"]["evaluation"] for row in rows] == [1, 0]
    for reference in ("@last", rows[0]["id"], rows[0]["path"], "digits-cnn"):
        shown = mlms("runs", "show", reference, "--output", "runs", "--json")
        assert shown.code == 0, shown.err
        assert shown.data["id"] == rows[0]["id"]
    missing = mlms("runs", "show", "no-such-run", "--output", "runs")
    assert missing.code == 2
    assert "no-such-run" in missing.err
    assert package.open_run("@last", output="runs").metrics["top1"] > 99


def test_runs_of_different_trace_levels_share_no_table() -> None:
    for level in ("model", "none", "model"):
        assert mlms("eval", manifest(), "--trace-level", level, "--output", "runs").code == 0
    text = mlms("runs", "list", "--output", "runs").out
    first, second = text.split("traced at level none\n")
    assert first.startswith("traced at level model\n")
    assert (first.count("digits-cnn"), second.count("digits-cnn")) == (2, 1)
    assert first.count("P50") == second.count("P50") == 1


def test_predict_tells_what_it_sees() -> None:
    import numpy as np

    with np.load(CHECKOUT / "assets/datasets/digits/test.npz") as data:
        np.save("digit.npy", data["images"][0])
        right = int(data["labels"][0])
    ended = mlms("predict", "digits-cnn", "digit.npy", "--json")
    assert ended.code == 0, ended.err
    assert ended.data["class"] == right
    assert "label:" in mlms("predict", "digits-cnn", "digit.npy").out
    missing = mlms("predict", "digits-cnn", "nowhere.npy")
    assert missing.code == 2
    assert "nowhere.npy" in missing.err
    Path("bad.npy").write_bytes(b"no array")
    assert mlms("predict", "digits-cnn", "bad.npy").code == 2
    with Path("many.npy").open("wb") as file:
        np.savez(file, one=np.zeros(3))
    assert "an archive of several arrays" in mlms("predict", "digits-cnn", "many.npy").err
    endless = mlms("predict", "digits-cnn", NO_NAME)
    assert endless.code == 2
    assert endless.err == f"error: {NO_NAME}: can't be read: File name too long\n"
    Path("digit.png").write_bytes(b"a picture")
    picture = mlms("predict", "digits-cnn", "digit.png")
    assert picture.code == 2
    assert "digit.png can't be preprocessed for 'digits-cnn'" in picture.err
    assert "give a .npy file" in picture.err


def test_json_and_yaml_of_the_documentation_stay_in_step() -> None:
    """The manifest of the README's first command is the one that is shipped."""
    shipped = yaml.safe_load((CHECKOUT / "manifests/digits.yaml").read_text(encoding="utf-8"))
    assert "mlms eval manifests/digits.yaml" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert json.dumps(shipped["models"]) == '["digits-cnn"]'
