"""Third-party plugins as real installed packages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mlms as package
from fakes.distributions import importable, install, install_acme, search_path
from fakes.manifests import judge, manifest
from fakes.program import mlms, mlms_process

HEAD = "from mlms.hooks import Component, hookimpl\n"
BROKEN = {
    "import": ("import no_such_module\n", "No module named 'no_such_module'"),
    "unknown hook": (f"{HEAD}@hookimpl\ndef mlms_framworks():\n    return []\n", "mlms_framworks"),
    "raising hook": (
        f"{HEAD}@hookimpl\ndef mlms_processors():\n    raise RuntimeError('no processors today')\n",
        "today",
    ),
    "syntax": ("def :\n", "SyntaxError"),
}


def test_a_manifest_uses_a_plugins_framework_processor_and_metric(acme: Path) -> None:
    model = judge(
        preprocess=[{"reshape": {"shape": [1, 8, 8]}}, {"rescale": {"factor": "1/16"}}, {"invert": {}}],
    )
    (run,) = package.evaluate(manifest(models=[model], metrics=["top1", "mistakes"])).raise_for_failures()
    assert run.record["framework"]["plugin"] == "acme 1.2.3"
    assert run.record["framework"]["installed"] == np.__version__
    figures = {entry["name"]: entry for entry in run.record["metrics"]}
    assert figures["mistakes"]["unit"] == ""
    assert figures["mistakes"]["value"] == round(450 * (100 - figures["top1"]["value"]) / 100)


def test_a_trace_level_that_a_framework_lacks_is_refused(acme: Path) -> None:
    (outcome,) = package.evaluate(manifest(models=[judge()], trace={"level": "operator"})).outcomes
    assert "framework 'acme' has no trace level 'operator'" in str(outcome.error)
    assert "model" in str(outcome.error.hint)  # type: ignore[union-attr]


def test_a_plugins_components_and_assets_are_listed(acme: Path) -> None:
    rows = {row["name"]: row for row in mlms("plugins", "--json").data}
    assert rows["acme"]["version"] == "1.2.3"
    assert rows["acme"]["frameworks"] == ["acme"]
    assert rows["acme"]["error"] is None
    assert [row["name"] for row in mlms("list", "frameworks", "--name", "acme", "--json").data] == ["acme"]
    assert "invert" in {row["name"] for row in mlms("list", "processors", "--json").data}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_left_out_and_named(tmp_path: Path, source: str, reason: str) -> None:
    site = tmp_path / "site"
    install_acme(site)
    install(site, "shaky", "0.3", source)
    Path("judge.bin").write_bytes(b"weights")
    with importable(site):
        ended = mlms("plugins")
        assert ended.code == 2
        assert "shaky 0.3" in ended.out
        assert "left out" in ended.out
        assert reason in ended.out
        assert "acme 1.2.3" in ended.out
        ran = mlms("eval", manifest(models=[judge()]), "--output", "runs", "--json")
        assert ran.code == 0, ran.err
        assert ran.err.count("shaky 0.3") == 1
        assert "mlms plugins" in ran.data[0]["warnings"][0]
        assert reason in Path(ran.data[0]["path"], "log.txt").read_text(encoding="utf-8")


def test_two_plugins_with_one_component_are_an_error_naming_both(acme: Path) -> None:
    offering = f"{HEAD}@hookimpl\ndef mlms_processors():\n    return [Component('invert', None, 'Another one.')]\n"
    install(acme, "rival", "7.0", offering)
    with importable(acme):
        ended = mlms("eval", manifest(), "--output", "runs")
    assert ended.code == 2
    for shown in ("invert", "acme 1.2.3", "rival 7.0"):
        assert shown in ended.err


def test_two_distributions_may_call_their_plugins_alike(acme: Path) -> None:
    """Nor does one that takes the builtins' name hurt them."""
    install(acme, "twin", "1.0", HEAD, entry_point="acme")
    install(acme, "usurper", "1.0", "import no_such_module\n", entry_point="builtins")
    with importable(acme):
        rows = {row["distribution"]: row for row in mlms("plugins", "--json").data}
        assert rows["twin"]["error"] is rows["acme"]["error"] is rows["mlms"]["error"] is None
        assert rows["usurper"]["error"]
        assert mlms("eval", manifest(models=[judge()]), "--output", "runs").code == 0


def test_a_lifecycle_hook_that_raises_only_warns(acme: Path) -> None:
    hooks = "".join(
        f"@hookimpl\ndef {name}(evaluation):\n    raise RuntimeError(f'no {{evaluation.name}} for me')\n"
        for name in ("mlms_run_started", "mlms_run_finished")
    )
    install(acme, "grumpy", "1.0", HEAD + hooks)
    with importable(acme):
        ended = mlms("eval", manifest(models=[judge()]), "--output", "runs")
    assert ended.code == 0
    assert ended.err.count("no judge for me") == 2
    assert ended.err.count("grumpy") == 2


def test_lifecycle_hooks_see_the_evaluation_and_its_run(acme: Path) -> None:
    source = f"""{HEAD}
from pathlib import Path

@hookimpl
def mlms_run_started(evaluation):
    Path("told").write_text(evaluation.digest)

@hookimpl
def mlms_run_finished(evaluation, record, directory):
    assert (directory / "run.json").is_file()
    Path("told").write_text(Path("told").read_text() + " " + record["id"])
"""
    install(acme, "listener", "1.0", source)
    with importable(acme):
        (record,) = mlms("eval", manifest(models=[judge()]), "--output", "runs", "--json").data
    assert Path("told").read_text() == f"{record['digest']} {record['id']}"


def test_the_program_itself_finds_what_is_installed(acme: Path) -> None:
    ended = mlms_process("plugins", "--json", PYTHONPATH=search_path(acme))
    assert ended.code == 0, ended.err
    assert "acme" in {row["name"] for row in ended.data}
