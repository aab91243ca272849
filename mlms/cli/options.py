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


def running(function: F) -> F:
    """The options of every command that runs evaluations."""
    for option in reversed(
        [
            assets,
            output,
            click.option("--otlp", metavar="URL", help="Send spans to this OTLP gRPC endpoint."),
            click.option("--mirror", metavar="URL", help="Download from this base URL instead ($MLMS_MIRROR)."),
            click.option("--offline", is_flag=True, help="Never download; use what is cached ($MLMS_OFFLINE)."),
            click.option("--resume", is_flag=True, help="Skip evaluations that already have a finished run."),
            click.option("--quiet", "-q", is_flag=True, help="No progress, only the result."),
            as_json,
        ]
    ):
        function = option(function)
    return function
