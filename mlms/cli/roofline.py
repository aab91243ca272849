"""``mlms doctor --roofline``: what this machine can do at most, measured, shown and kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click


def show_roofs(as_json: bool) -> None:
    """Measure, and print a line a way of running models, or all of them as JSON."""
    from mlms import api
    from mlms.cli import console
    from mlms.reports.format import size
    from mlms.reports.quantities import scaled

    progress = console.progress(quiet=as_json)
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    if busy > 0.75 * cores:
        progress.warn(f"{busy:.1f} processes are running on {cores} cores: figures will be too low; repeat when idle")
    found = []
    for measured in api.measure_roofs(progress=progress):
        found.append({**asdict(measured), "file": str(measured.file)})
        if not as_json:
            rates = ", ".join(f"{scaled(rate)}B/s at {size(held)}" for held, rate in measured.roof.bandwidths)
            click.echo(f"{measured.way}: {scaled(measured.roof.flops_per_s)}FLOP/s; {rates}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
