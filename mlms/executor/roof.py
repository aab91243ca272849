"""The roof that a run's model is held against: from the cache, or measured now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlms.analysis.across_stack.roofs import Way, keep_roof, known_roof, machine, way_of
from mlms.executor.binding import make
from mlms.hooks.components import Components
from mlms.hooks.types import Context, Framework, MeasuresRoof, Roof
from mlms.manifests.types import FrameworkAsset
from mlms.progress import Progress
from mlms.runs.environment import describe_environment


@dataclass(frozen=True, slots=True)
class Measured:
    """A roof, how it was measured, and the file that keeps it (with the best of all measurements)."""

    way: Way
    roof: Roof
    file: Path


def roof_of(
    record: Mapping[str, Any], cache: Path, components: Components | None = None, progress: Progress | None = None
) -> Roof | None:
    """What the machine that made a run can do at most, for models run as this one was; None if it isn't known.

    With ``components`` and ``progress`` it is measured where it can be: on the machine and with the framework of the
    run, once.
    """
    way, environment = way_of(record), record["environment"]
    if way is None:
        return None
    known = known_roof(environment, way, cache)
    if known is not None or components is None or progress is None or obstacle(record, components) is not None:
        return known
    here = describe_environment([record["framework"]["distribution"]])
    framework = _framework(record, components)
    assert isinstance(framework, MeasuresRoof), "else there is an obstacle"
    return _measured(framework, way, here, cache, progress).roof


def obstacle(record: Mapping[str, Any], components: Components) -> str | None:
    """What keeps a run's roof from being measured here, in words; None where nothing does."""
    way, environment, framework = way_of(record), record["environment"], record["framework"]
    if way is None:
        return "where this model ran isn't told, so what that machine can do at most can't be measured"
    here = describe_environment([framework["distribution"]])
    if machine(here) != machine(environment) or here["packages"].get(framework["distribution"]) != way.version:
        there = f"the machine of this run and with its {framework['name']} {way.version}"
        return f"'mlms analyze RUN' measures them, once, on {there}"
    if not isinstance(_framework(record, components), MeasuresRoof):  # last, as it may import a framework
        return f"{framework['name']} has no way to measure what a machine can do at most"
    return None


def _framework(record: Mapping[str, Any], components: Components) -> Framework | None:
    name = (record["evaluation"].get("framework") or {}).get("component")
    if name is None or name not in components.frameworks:
        return None
    framework: Framework = make(components.frameworks.get(name), {}, _CONTEXT)
    return framework


def measure_roofs(
    frameworks: Sequence[FrameworkAsset], dtypes: Sequence[str], components: Components, cache: Path, progress: Progress
) -> Iterator[Measured]:
    """Measure and keep the roofs of this machine, for every framework that can, on the CPU and each GPU."""
    here = describe_environment([asset.distribution for asset in frameworks])
    for asset in frameworks:
        if asset.component not in components.frameworks or asset.distribution not in here["packages"]:
            continue
        framework: Framework = make(components.frameworks.get(asset.component), {}, _CONTEXT)
        if not isinstance(framework, MeasuresRoof):
            continue
        facts = framework.describe()
        for device in ("cpu", *(f"cuda:{number}" for number in range(len(facts.get("gpus", ()))))):
            for dtype in dtypes:
                threads = facts.get("threads") if device == "cpu" else None
                way = Way(asset.name, here["packages"][asset.distribution], device, dtype, threads)
                yield _measured(framework, way, here, cache, progress)


def _measured(
    framework: MeasuresRoof, way: Way, environment: Mapping[str, Any], cache: Path, progress: Progress
) -> Measured:
    with progress.task(f"measuring what this machine can do at most ({way})"):
        roof = framework.measure_roof(way.device, way.dtype, way.threads)
    file = keep_roof(environment, way, roof, cache)
    return Measured(way, known_roof(environment, way, cache) or roof, file)


def _no_labels(name: str) -> tuple[str, ...]:
    return ()


_CONTEXT = Context(labels=_no_labels)
