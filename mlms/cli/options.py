"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

assets = click.option(
    "--assets",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Look for assets here too (may be given several times).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines on standard output.")
output = click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="DIR", help="Where runs go (else $MLMS_RUNS, ./runs)."
)

overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the manifest, such as options.x=1.",
)


class ManifestCommand(click.Command):
    """A command with ``--set``: where an option that it lacks is a key of the manifest, it says how to set that."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        try:
            return super().parse_args(context, arguments)
        except click.NoSuchOption as error:
            if way := _key_of(error.option_name):
                message = f"No such option '{error.option_name}'. It is a key of the manifest: --set {way}=VALUE."
                raise click.NoSuchOption(error.option_name, message, ctx=context) from error
            raise


def _key_of(option: str) -> str | None:
    """The dotted key of a manifest that an option looks like."""
    from mlms.manifests.schema import schema

    name = option.lstrip("-").replace("-", "_")
    rules = schema("manifest")["$defs"]
    if name in rules["manifest"]["properties"]:
        return name
    return f"scenario.{name}" if name in rules["scenario"]["anyOf"][1]["properties"] else None


profile = click.option(
    "--profile", type=click.Choice(["default", "mlperf"]), help="mlperf: 600 s and MLPerf's least counts."
)

leveled = click.option(
    "--leveled", is_flag=True, help="Run the scenario once for each level, and say what each level adds."
)


def warmup(text: str) -> int | str:
    """A count, or the word "auto"."""
    if text == "auto":
        return text
    if not str(text).isdecimal():
        raise click.BadParameter(f"'{text}' is neither a count nor 'auto'.")
    return int(text)


_mirror = click.option("--mirror", metavar="URL", help="Download from this base URL instead ($MLMS_MIRROR).")
_offline = click.option("--offline", is_flag=True, help="Never download; use what is cached ($MLMS_OFFLINE).")


def fetching(function: F) -> F:
    """Where downloads come from."""
    return _mirror(_offline(function))


def running(function: F) -> F:
    """The options of every command that runs evaluations."""
    for option in reversed(
        [
            assets,
            output,
            click.option("--otlp", metavar="URL", help="Send spans to this OTLP endpoint."),
            _mirror,
            _offline,
            click.option("--resume", is_flag=True, help="Skip evaluations that already have a finished run."),
            click.option("--quiet", "-q", is_flag=True, help="No progress, only the result."),
            as_json,
        ]
    ):
        function = option(function)
    return function


def executing(function: F) -> F:
    """How evaluations are run: keys of the manifest that commands take as options too."""
    for option in reversed(
        [
            click.option("--isolation", type=click.Choice(["none", "process"]), help="Run each in a fresh process."),
            click.option("--timeout", metavar="DURATION", help="Kill an evaluation that takes longer."),
            click.option(
                "--repeat", type=click.IntRange(min=1), metavar="N", help="Run each N times, in fresh processes."
            ),
            click.option("--cold-start", type=click.IntRange(min=0), metavar="N", help="Time N starts from nothing."),
            click.option(
                "--profiler",
                "profilers",
                multiple=True,
                metavar="NAME",
                callback=lambda context, parameter, names: list(names) or None,
                help="Observe with this profiler, such as host (may be given several times).",
            ),
        ]
    ):
        function = option(function)
    return function
