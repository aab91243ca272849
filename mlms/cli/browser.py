"""A page in the user's browser."""

from __future__ import annotations

import os
import sys

import click


def show(address: str) -> None:
    """Open a file or an address; where there is no screen to do so on, say so."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        click.echo("there is no screen here to open it on", err=True)
        return
    click.launch(address)
