"""``mlms doctor``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from mlms.cli import options
from mlms.errors import EXIT_BAD_INPUT


@click.command("doctor", epilog="Example: mlms doctor")
@click.option("--measure", is_flag=True, help="Say what on this machine will make figures noisy, and the mend.")
@click.option("--roofline", is_flag=True, help="Measure the FLOPs and bytes a second that this machine reaches.")
@options.assets
@options.as_json
def command(measure: bool, roofline: bool, assets: tuple[Path, ...], as_json: bool) -> None:
    """Check this installation and machine: packages, plugins, profilers, assets, folders, devices.

    With --measure, watch the machine for a second instead; noise is no failure, so the exit code is 0. With --roofline,
    measure for some seconds what 'mlms analyze' holds layers against; the best of all measurements is kept.
    """
    if roofline:
        from mlms.cli.roofline import show_roofs

        show_roofs(as_json)
        return
    if measure:
        _show_noise(as_json)
        return
    checks = list(_checks(assets))
    if as_json:
        click.echo(json.dumps(checks, indent=2))
    else:
        for check in checks:
            mark = click.style("ok  ", fg="green") if check["ok"] else click.style("FAIL", fg="red")
            click.echo(f"{mark} {check['check']}: {check['detail']}")
            if not check["ok"] and check["mend"]:
                click.echo(f"       mend: {check['mend']}")
    if not all(check["ok"] for check in checks):
        sys.exit(EXIT_BAD_INPUT)


def _show_noise(as_json: bool) -> None:
    from dataclasses import asdict

    from mlms.profilers.noise import find_noise

    found = find_noise()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
        return
    for finding in found:
        word, colour = {True: ("quiet  ", "green"), False: ("noisy  ", "yellow"), None: ("unknown", None)}[
            finding.quiet
        ]
        click.echo(f"{click.style(word, fg=colour)} {finding.name}: {finding.detail}")
        if finding.mend:
            click.echo(f"        mend: {finding.mend}")


def _checks(assets: tuple[Path, ...]) -> Iterator[Mapping[str, Any]]:
    import mlms
    from mlms import api
    from mlms.manifests.fetch import FetchSettings
    from mlms.runs.directory import root_from
    from mlms.runs.environment import describe_environment
    from mlms.tracing.events import built

    components = api.load_plugins()
    environment = describe_environment(["torch", "torchvision", "numpy", "mlcommons-loadgen"])
    yield _passed("mlms", f"{mlms.__version__}, Python {environment['python']['version']}")
    cpu = environment["cpu"]
    yield _passed("processor", f"{cpu['model']}, {cpu['cores_logical']} logical cores")
    yield _passed("memory", f"{environment['memory_bytes'] / 2**30:.1f} GiB")
    gpus = ", ".join(gpu["name"] for gpu in environment["gpus"])
    yield _passed("GPUs", gpus or "none found (evaluations run on the CPU)")
    for name, version in environment["packages"].items():
        yield _passed(f"package {name}", version)
    for plugin in components.plugins:
        last = (plugin.error or "").strip().splitlines()[-1:] or [""]
        yield _result(
            f"plugin {plugin.name}", plugin.error is None, str(plugin), last[0], "mlms plugins shows it whole"
        )
    yield _passed("span recorder", "in C" if built() else "in Python: installed without a C compiler; layers cost more")
    yield from _profilers()
    catalog = api.load_catalog(assets)
    for folder in catalog.folders:
        yield _passed("assets", str(folder) if folder.is_dir() else f"{folder} (not there)")
    for problem in catalog.problems():
        yield _result("asset", False, "", str(problem), "")
    counts = [f"{kind}s: {len(catalog.entries(kind))}" for kind in ("model", "framework", "dataset")]
    yield _passed("catalog", ", ".join(counts))
    settings = FetchSettings.from_environment()
    yield _writable("cache", settings.cache, "set MLMS_CACHE to a folder that can be written")
    yield _writable("runs", root_from(None), "set MLMS_RUNS to a folder that can be written")


def _profilers() -> Iterator[Mapping[str, Any]]:
    """What profilers see here. One that is off, for want of a GPU or a permission, is no fault of the installation."""
    from mlms import api

    for trial in api.try_profilers():
        counters = trial.recorder.counters
        seen = [f"{len({counter.name for counter in counters})} figures"] if counters else []
        notes = [note.removeprefix(f"{trial.name}: ") for note in trial.recorder.notes]
        detail = "; ".join([*seen, *notes]) or "attached, nothing to sample"
        yield _result(f"profiler {trial.name}", trial.error is None, detail, trial.error or "", "")


def _writable(check: str, folder: Path, mend: str) -> Mapping[str, Any]:
    from mlms.errors import StorageError
    from mlms.runs.directory import check_writable

    there = folder.exists()
    try:
        check_writable(folder)
    except StorageError as error:
        return _result(check, False, "", error.message, mend)
    if not there:  # made for trial
        folder.rmdir()
    return _passed(check, str(folder))


def _passed(check: str, detail: str) -> Mapping[str, Any]:
    return {"check": check, "ok": True, "detail": detail, "mend": ""}


def _result(check: str, ok: bool, good: str, bad: str, mend: str) -> Mapping[str, Any]:
    return {"check": check, "ok": ok, "detail": good if ok else bad, "mend": "" if ok else mend}
