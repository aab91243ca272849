"""The documentation says what the code does: nothing is left out, no link is dead, every example is valid."""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import mlms
from mlms import api
from mlms.hooks import specs, types
from mlms.manifests.reader import parse_document
from mlms.manifests.schema import check, schema
from mlms.runs.run import Run
from mlms.tracing.levels import LEVELS

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@cache
def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(text) if found == language]


def hooks() -> list[str]:
    return [name for name in vars(specs) if name.startswith("mlms_")]


def keys_of(document: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Dotted keys that a schema knows, as the tables write them; alternatives and references are followed."""
    root = document

    def walk(part: Mapping[str, Any], at: str, within: tuple[str, ...]) -> Iterator[str]:
        if reference := part.get("$ref"):
            if reference in within or reference.startswith("model.json"):
                return  # a model written out in a manifest has the model's keys
            yield from walk(root["$defs"][reference.rpartition("/")[2]], at, (*within, reference))
        for key, value in part.get("properties", {}).items():
            name = f"{at}.{key}" if at else key
            yield name
            yield from walk(value, name, within)
        if isinstance(items := part.get("items"), dict):
            yield from walk(items, f"{at}[]", within)
        for option in [*part.get("anyOf", ()), *part.get("oneOf", ())]:
            yield from walk(option, at, within)

    yield from walk(document, at, ())


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_is_documented(hook: str) -> None:
    assert f"`{hook}" in page("plugins.md")


def test_every_name_of_the_hooks_package_is_documented() -> None:
    public = [name for name in vars(types) if isinstance(getattr(types, name), type)]
    offered = [name for name in public if getattr(types, name).__module__ == types.__name__]
    missing = [name for name in offered if f"`{name}" not in page("plugins.md")]
    assert offered
    assert missing == []


def test_every_component_and_its_options_are_documented() -> None:
    text = page("assets.md")
    missing = []
    for registry in api.load_plugins().registries.values():
        for entry in registry:
            if entry.plugin.distribution != "mlms":
                continue  # a plugin that happens to be installed here documents itself
            component = entry.component
            missing += [component.name] if f"`{component.name}`" not in text else []
            options = [key for key in component.options.get("properties", ()) if f"`{key}`" not in text]
            missing += [f"{component.name}: {key}" for key in options]
    assert missing == []


@pytest.mark.parametrize("kind", ["model", "framework", "dataset", "manifest"])
def test_every_key_is_documented(kind: str) -> None:
    text = page("assets.md")
    section = text.partition(f"\n## {kind.title()}\n")[2].partition("\n## ")[0]
    assert section
    common = text.partition("## Keys of every document\n")[2].partition("\n## ")[0]
    missing = []
    for key in dict.fromkeys(keys_of(schema(kind))):
        # A dataset written out in a manifest has the dataset's keys, and the matrix those of the manifest.
        of_another = re.match(r"(matrix|dataset)\.(?!name$|path$|limit$)|models?(\[\])?\.|.*\btags\b", key)
        known = f"`{key}`" in section or (f"| `{key}` |" in common)
        if kind == "manifest" and of_another:
            known = known or f"`{key.rpartition('.')[2]}`" in text or key.rpartition(".")[2] in text
        missing += [] if known else [key]
    assert missing == []


def test_defaults_in_the_tables_are_the_schemas() -> None:
    text = page("assets.md").partition("\n## Manifest\n")[2]
    rules = schema("manifest")["$defs"]
    scenario = rules["scenario"]["anyOf"][1]["properties"]
    preprocessing = rules["manifest"]["properties"]["preprocessing"]["properties"]
    stated = {f"scenario.{key}": value["default"] for key, value in scenario.items() if "default" in value}
    stated |= {f"preprocessing.{key}": value["default"] for key, value in preprocessing.items()}
    stated["warmup"] = rules["manifest"]["properties"]["warmup"]["default"]
    for key, default in stated.items():
        (row,) = re.findall(rf"^\| `{re.escape(key)}` \|[^|]*\| ([^|]*) \|", text, re.MULTILINE)
        assert row.strip("`") == str(default), key


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_is_documented(level: str) -> None:
    assert f"| `{level}`" in page("tracing.md")


def test_the_span_tables_columns_are_documented() -> None:
    from mlms.tracing.spans import SCHEMA

    section = page("tracing.md").partition("## The span table\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (String|Int64) \|", section, re.MULTILINE)
    assert rows == [(name, kind.__name__) for name, kind in SCHEMA.items()]


def test_the_columns_of_counters_are_documented() -> None:
    from mlms.tracing.counters import SCHEMA

    section = page("tracing.md").partition("### counters.parquet\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == [(name, kind.__name__) for name, kind in SCHEMA.items()]


def test_every_counter_is_documented() -> None:
    """Names, units and attributes of all that the shipped profilers can sample, on any machine."""
    from mlms import nvml
    from mlms.builtins.profilers import host, perf
    from mlms.builtins.profilers.gpu import _readings, _slowdown

    class NoGpu(nvml.Gpu):
        def name(self) -> str:
            return "none"

    gpu = NoGpu("GPU-0", None, None)  # type: ignore[arg-type]
    shipped = [
        *host.Process.series,
        *host.PagingFaults.series,
        *host.ContextSwitches.series,
        *(series for series, _ in _readings(gpu)),
        *(_slowdown(gpu, reason) for reason in nvml.SLOWDOWNS),
    ]
    named = {(one.name, one.unit, one.kind) for one in shipped}
    named |= {(kind.name, kind.unit, "sum") for kind in perf.KINDS}
    named |= {("system.cpu.utilization", "1", "gauge"), ("system.cpu.frequency", "Hz", "gauge")}
    section = page("tracing.md").partition("## Counters\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \| (gauge|sum) \|", section, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == named
    attributes = {key for one in shipped for key in one.attributes} | {"cpu.logical_number", "cpu.mode"}
    assert [key for key in attributes if f"`{key}`" not in section] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_resolves(path: Path) -> None:
    text = BLOCK.sub("", path.read_text("utf-8"))
    dead = []
    for target in LINK.findall(text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        if not linked.exists() or (anchor and anchor not in anchors(linked.read_text("utf-8"))):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    for number, text in enumerate(blocks(path.read_text("utf-8"), "yaml")):
        if re.search(r"^kind:", text, re.MULTILINE):
            check(parse_document(text, f"{path.name}, YAML block {number + 1}"))


def test_plugins_are_installed_from_where_they_are() -> None:
    """None of them is published under its name."""
    pages = [*PAGES, *(ROOT / "plugins").glob("*/README.md")]
    for path in pages:
        for line in re.findall(r"pip install [^`\n]*", path.read_text("utf-8")):
            assert not re.search(r"[ '\"]mlms-(?!my-)", line), f"{path}: {line}"
            for place in re.findall(r"\./plugins/(?!mlms-NAME)[\w-]+", line):
                assert (ROOT / place / "pyproject.toml").is_file(), f"{path}: {line}"


def test_git_ignores_what_the_pages_have_their_reader_write() -> None:
    text = page("quickstart.md")
    written = re.findall(r"`(assets/\w+/my-[\w.-]+)`", text) + re.findall(
        r"^# ((?:assets/|my_)[\w/.-]+)$", text, re.MULTILINE
    )
    written += ["mine.yaml", "assets/models/my-net.yaml", "mlms-my-runtime/pyproject.toml", "runs/x/run.json"]
    ignored = subprocess.run(["git", "check-ignore", *written], cwd=ROOT, capture_output=True, text=True, check=False)
    if ignored.returncode == 128:
        pytest.skip("this is no clone")
    assert [path for path in written if path not in ignored.stdout.splitlines()] == []
    assert len(written) > 8


def assert_tree_is_documented(run: Run) -> None:
    """The spans of a run are the tree in ``tracing.md``, each with its level and attributes."""
    (tree,) = [body for body in blocks(page("tracing.md"), "text") if body.startswith("evaluate ")]
    documented = re.findall(r"^[│├└─ ]*(\w+)(?: [A-Z]+)? +(application|model)\b", tree, re.MULTILINE)
    spans = run.spans
    found = dict.fromkeys((name.split()[0], level) for name, level in zip(spans["name"], spans["level"], strict=True))
    assert list(found) == list(dict.fromkeys(documented))
    attributes = {key for text in spans["attributes"] for key in json.loads(text)}
    assert [key for key in attributes if f"`{key}`" not in page("tracing.md")] == []


def write_files(text: str, folder: Path) -> list[str]:
    """The files that a page shows, each beginning with a comment that is its name, written below ``folder``."""
    names = []
    for body in (body for language in ("toml", "python", "yaml") for body in blocks(text, language)):
        first, _, content = body.partition("\n")
        names.append(first.removeprefix("# "))
        file = folder / names[-1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    return names


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``mlms`` and ``.venv/bin/python`` in the current directory, which is a new one, as an installer leaves them.

    Such a program doesn't look for modules in the current directory, as ``python -m mlms`` does.
    """
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name, text in {
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        "mlms": f"#!{sys.executable}\nfrom mlms.cli import main\n\nmain()\n",
    }.items():
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def type_in(commands: str) -> str:
    """Run shell commands up to the first that fails, which none may; gives what they print."""
    done = subprocess.run(["sh", "-e", "-c", commands], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_examples_in_python_give_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path / "cache"))
    text = "\n".join(blocks(page("api.md"), "python"))
    examples = doctest.DocTestParser().get_doctest(text, {}, "api.md", "docs/api.md", 0)
    told: list[str] = []
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=told.append)
    assert found.attempted > 20
    assert not found.failed, "".join(told)


def test_every_public_name_is_documented() -> None:
    assert [name for name in mlms.__all__ if not re.search(rf"`(mlms\.)?{name}\b", page("api.md"))] == []
    public = [name for name in vars(Run) if not name.startswith("_")]
    assert [name for name in public if f"`{name}`" not in page("api.md")] == []
    assert [field.name for field in fields(api.Settings) if f"| `{field.name}` |" not in page("api.md")] == []


@pytest.mark.slow
@pytest.mark.usefixtures("program")
def test_the_module_of_ones_own_runs(tmp_path: Path) -> None:
    """The files and commands of the quickstart, in an empty folder with the digits."""
    text = page("quickstart.md").partition("## 6. Run a PyTorch module of your own\n")[2].partition("\n## ")[0]
    names = write_files(text, tmp_path)
    assert names == ["my_models.py", "my_train.py", "assets/frameworks/my-pytorch.yaml", "assets/models/my-digits.yaml"]
    data = tmp_path / "assets/datasets/digits/test.npz"
    data.parent.mkdir(parents=True)
    data.write_bytes((ROOT / "assets/datasets/digits/test.npz").read_bytes())
    (commands,) = blocks(text, "sh")
    printed = type_in(commands)
    assert "assets/models/my-digits.yaml: valid model my-digits" in printed
    run = api.open_run("@last", output=tmp_path / "runs")
    (told,) = re.findall(r"It scores about (\d+) %", text)
    assert abs(run.metrics["top1"] - int(told)) < 3  # other processors round otherwise
    without = subprocess.run(
        ["mlms", "validate", "assets/models/my-digits.yaml"], capture_output=True, text=True, check=False
    )
    assert without.returncode == 2
    assert "no module 'my_models'" in without.stderr
    assert "PYTHONPATH=. mlms" in without.stderr


def test_the_example_plugin_works(tmp_path: Path) -> None:
    """The files of ``plugins.md`` as they are written there, installed and run."""
    site = tmp_path / "site"
    assert "pyproject.toml" in write_files(page("plugins.md"), site)
    project = (site / "pyproject.toml").read_text("utf-8")
    (entry_points,) = re.findall(r"\[project\.entry-points\.mlms\]\n(.*)", project, re.DOTALL)
    # What an installer writes, since tests don't fetch a build backend.
    installed = site / "mlms_linear-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mlms-linear\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text(f"[mlms]\n{entry_points.replace(chr(34), '')}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "MLMS_CACHE": str(tmp_path)}

    def mlms(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlms", *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (
        "linear  (mlms-linear 0.1.0)\n  frameworks: linear\n  processors: clip\n  profilers: load"
        in mlms("plugins").stdout
    )
    quick = ["--min-queries", "8", "--min-duration", "300ms", "--output", str(tmp_path / "runs"), "--profiler", "load"]
    command = ["run", "image_classification", "--model", "linear-digits", "--dataset", "digits-test", *quick]
    done = mlms(*command, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "no accuracy: random weights" in done.stdout
    run = api.open_run("@last", output=tmp_path / "runs")
    assert_tree_is_documented(run)
    assert set(run.counters["name"]) == {"linear.load_1m"}
    assert run.record["counters"][0]["samples"] >= 1
    assert not [warning for warning in run.record["warnings"] if warning.startswith("load")]
    refused = mlms(*command, "--device", "cuda")
    assert refused.returncode == 2
    assert "framework 'linear' has no device 'cuda' here\n  hint: it has cpu; or use auto" in refused.stderr
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(site / "tests")]
    held = subprocess.run(tests, env=environment, cwd=site, capture_output=True, text=True, check=False)
    assert held.returncode == 0, held.stdout + held.stderr
