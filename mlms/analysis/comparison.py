"""Runs side by side: ratios and differences with intervals, and what can be said of them.

A *subject* is one run, or the repeats of one evaluation taken together. The first subject is the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlms.analysis.accuracy import accuracy_effect
from mlms.analysis.effects import MARGIN, Effect
from mlms.analysis.measured import Measured
from mlms.analysis.settings import Setting, differing, environments, same_environment, settings
from mlms.analysis.speed import Speed, latency_effects, throughput_effect
from mlms.errors import InputError
from mlms.runs.summary import UNSTEADY


@dataclass(frozen=True, slots=True)
class Subject:
    """One column of a comparison: a run, or ``repeats`` of them, with ``figures`` by metric and its ``flags``."""

    label: str
    ids: tuple[str, ...]
    repeats: int
    level: str
    fingerprint: str
    figures: Mapping[str, float]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """One subject against the baseline."""

    label: str
    effects: tuple[Effect, ...]
    settings: tuple[Setting, ...]
    environment: tuple[Setting, ...]
    same_environment: bool
    notes: tuple[str, ...]
    """What keeps these two from being told apart properly."""

    def effect(self, metric: str) -> Effect | None:
        return next((effect for effect in self.effects if effect.metric == metric), None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Subjects, the baseline first, and a contrast for every other one. ``margin`` as in ``Effect.verdict``."""

    subjects: tuple[Subject, ...]
    contrasts: tuple[Contrast, ...]
    notes: tuple[str, ...]
    """What a reader has to know first."""
    margin: float
    units: Mapping[str, str]
    """Of every metric that any subject has a figure for, in the order to show them."""

    @property
    def data(self) -> dict[str, Any]:
        """The whole comparison as plain values."""
        return {"kind": "comparison", **asdict(self)}


def compare(groups: Sequence[Sequence[Measured]], *, margin: float = MARGIN, force: bool = False) -> Comparison:
    """Compare runs; each group is one run, or the repeats of one evaluation.

    Raises:
        InputError: fewer than two groups, a run that didn't finish, or, without ``force``, other tasks or datasets.
        StorageError: a run directory lacks what its record names.
    """
    if len(groups) < 2:
        raise InputError("a comparison takes at least two runs", hint="name a baseline and what to hold against it")
    for run in (run for group in groups for run in group):
        if run.record.get("status", "finished") != "finished":
            raise InputError(
                f"run {run.record['id']} is {run.record['status']}: it has no figures to compare", hint="repeat the run"
            )
    records = [group[0].record for group in groups]
    labels = _labels(records)
    notes = [*_mismatches(records, labels, force), *_environments(records, labels)]
    speeds = [Speed.of(group, seed) for seed, group in enumerate(groups)]
    subjects = tuple(_subject(label, group, speed) for label, group, speed in zip(labels, groups, speeds, strict=True))
    contrasts = tuple(
        _contrast(labels[index], (groups[0], groups[index]), (speeds[0], speeds[index]), margin)
        for index in range(1, len(groups))
    )
    units = {metric["name"]: metric["unit"] for record in records for metric in record["metrics"]}
    units |= {name: "ns" for speed in speeds for name in speed.percentiles}
    units |= {"throughput": "samples/s"} if any("throughput" in subject.figures for subject in subjects) else {}
    return Comparison(subjects, contrasts, tuple(notes), margin, units)


def repeat_set(run: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the repeats that ``run`` was made with, itself among them; ``records`` are all there are.

    Repeats of one evaluation share a group, and a sweep makes them in the order of their numbers: a number that doesn't
    rise begins the next sweep. It continues the set before (``--resume`` makes what is missing) where it has none of
    its numbers, and is a set of its own otherwise. (A sweep that finished only what the set lacked can't be told from
    one that resumed it.)
    """
    repeat = run.get("repeat")
    if not repeat:
        return [run["id"]]
    alike = [record for record in records if (record.get("repeat") or {}).get("group") == repeat["group"]]
    sweeps: list[dict[int, str]] = []
    for record in sorted(alike, key=lambda record: (record["started_at"], record["id"])):
        index = record["repeat"]["index"]
        if not sweeps or index <= max(sweeps[-1]):
            sweeps.append({})
        sweeps[-1][index] = record["id"]
    sets: list[dict[int, str]] = []
    for sweep in sweeps:
        if not sets or sweep.keys() & sets[-1].keys():
            sets.append({})
        sets[-1] |= sweep
    own = next((found for found in sets if run["id"] in found.values()), {repeat["index"]: run["id"]})
    return list(own.values())


def _mismatches(records: Sequence[Mapping[str, Any]], labels: Sequence[str], force: bool) -> list[str]:
    """Reasons not to compare at all."""
    found = []
    for record, label in zip(records[1:], labels[1:], strict=True):
        for noun, key, facts in (("task", "model", ("task",)), ("dataset", "dataset", ("name", "version"))):
            ours, theirs = (
                " ".join(str((side.get(key) or {}).get(fact)) for fact in facts) for side in (records[0], record)
            )
            if ours != theirs:
                found.append(f"different {noun}s: {labels[0]} has {ours}, {label} has {theirs}")
    if found and not force:
        raise InputError(f"these runs can't be compared: {'; '.join(found)}", hint="--force compares them all the same")
    return found


def _environments(records: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[str]:
    """One sentence when the runs come from different environments."""
    others = [
        label for record, label in zip(records[1:], labels[1:], strict=True) if not same_environment(record, records[0])
    ]
    if not others:
        return []
    verb = "was" if len(others) == 1 else "were"
    return [f"different machine or software: {', '.join(others)} {verb} not made in the environment of {labels[0]}"]


def _labels(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names; ids where names are not enough to tell the runs apart."""
    names = [str(record["name"]) for record in records]
    return [str(r["id"]) if names.count(name) > 1 else name for name, r in zip(names, records, strict=True)]


def _subject(label: str, group: Sequence[Measured], speed: Speed) -> Subject:
    record = group[0].record
    figures = {metric["name"]: metric["value"] for metric in record["metrics"] if metric["value"] is not None}
    figures |= speed.percentiles
    figures |= {} if speed.throughput is None else {"throughput": speed.throughput}
    return Subject(
        label,
        tuple(run.record["id"] for run in group),
        len(group),
        record["trace"]["level"],
        record["environment"]["fingerprint"],
        figures,
        tuple(dict.fromkeys(flag for run in group for flag in _flags(run.record))),
    )


def _flags(record: Mapping[str, Any]) -> list[str]:
    """What makes a run's figures doubtful."""
    flags = []
    steadiness = (record.get("latency") or {}).get("steadiness") or {}
    if steadiness.get("label") in UNSTEADY:
        flags.append(f"latency is {steadiness['label']}: {'; '.join(steadiness['reasons'])}")
    if not record["scenario"]["valid"]:
        flags.append(f"invalid by LoadGen: {'; '.join(record['scenario']['problems']) or 'no reason given'}")
    return flags


def _contrast(
    label: str, groups: tuple[Sequence[Measured], Sequence[Measured]], speeds: tuple[Speed, Speed], margin: float
) -> Contrast:
    baseline, other = groups[0][0].record, groups[1][0].record
    notes: list[str] = []
    effects = [*accuracy_effect(groups[0][0], groups[1][0])]
    levels = baseline["trace"]["level"], other["trace"]["level"]
    scenarios = baseline["scenario"]["type"], other["scenario"]["type"]
    if levels[0] != levels[1]:
        notes.append(
            f"latency and throughput are not compared: traced at level {levels[1]}, the baseline at {levels[0]}"
        )
    else:
        if scenarios[0] != scenarios[1]:
            notes.append(f"latency is not compared: scenario {scenarios[1]}, the baseline's is {scenarios[0]}")
        else:
            effects += latency_effects(*speeds, margin)
        effects += throughput_effect(*speeds, margin)
        if not all(speed.repeated for speed in speeds) and all(speed.runs for speed in speeds):
            each = (
                "one run each" if all(len(group) == 1 for group in groups) else "fewer than three repeats of one side"
            )
            notes.append(f"{each}: intervals of latency and throughput cover variation within a run only")
            if not all(speed.steady for speed in speeds):
                together = set(repeat_set(baseline, [baseline, other])) == {baseline["id"], other["id"]}
                mend = (
                    "comes from its repeats together, not from one of them" if together else "needs --repeat 3 or more"
                )
                notes.append(f"a series is not steady: a verdict on its speed {mend}")
    return Contrast(
        label,
        tuple(effects),
        differing(settings(baseline), settings(other)),
        differing(*environments(baseline, other)),
        same_environment(baseline, other),
        tuple(notes),
    )
