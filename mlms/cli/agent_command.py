"""``mlms agent``."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import click

from mlms.cli import options


@click.group("agent", epilog="Example: mlms agent serve digits-cnn")
def command() -> None:
    """Serve models to other programs and machines."""


@command.command("serve", epilog="Example: mlms agent serve digits-cnn resnet50 --port 8001")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--all", "every", is_flag=True, help="Let callers load any model of the catalog; none is at first.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="Its port; 0 takes a free one."
)
@click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Listen at this Unix socket instead.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or auto.")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="The certificate, with its chain.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Answer only callers that send its token."
)
@click.option("--disclose", is_flag=True, help="Tell callers of framework, versions, machine and what went wrong.")
@click.option(
    "--max-message-mib",
    type=click.IntRange(min=1, max=2047),
    default=256,
    show_default=True,
    help="Refuse larger requests.",
)
@options.fetching
@click.option("--quiet", "-q", is_flag=True, help="No progress and no log.")
@options.assets
@options.as_json
def serve(
    models: tuple[str, ...],
    every: bool,
    host: str,
    port: int,
    path: Path | None,
    device: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
    disclose: bool,
    max_message_mib: int,
    mirror: str | None,
    offline: bool,
    quiet: bool,
    assets: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Host models and answer callers until it is ended.

    They are hosted in this process, which answers the Open Inference Protocol v2 over gRPC. Callers are told names,
    shapes and numbers. They may load and unload the models that are named here, and no others. Ends with Ctrl-C or
    SIGTERM.
    """
    from mlms import api
    from mlms.agents.server import Endpoint
    from mlms.cli import console
    from mlms.errors import InputError

    if (tls_cert is None) != (tls_key is None):
        raise InputError("a certificate and its key go together", hint="give both --tls-cert and --tls-key")
    tls = (tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    endpoint = Endpoint(host, port, path, tls, token_file, max_message_mib)
    _end_with_signals()
    try:
        with api.serve(
            models,
            endpoint,
            every=every,
            device=device,
            disclose=disclose,
            assets=assets,
            settings=api.Settings(mirror=mirror, offline=offline),
            progress=console.progress(quiet),
            log=_ignore if quiet else _log,
        ) as url:
            _end_with_signals()  # again, since a framework may have put a handler of its own in place
            if as_json:
                click.echo(json.dumps({"url": url, "models": list(models), "pid": os.getpid()}))
            else:
                click.echo(f"serving {', '.join(models) or 'the whole catalog'} at {url}")
            threading.Event().wait()
    except KeyboardInterrupt:
        return


def _end_with_signals() -> None:
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.default_int_handler)


def _log(line: str) -> None:
    click.secho(line, err=True, fg="yellow")


def _ignore(line: str) -> None:
    pass
