from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.contexts import context
from mlms import api
from mlms.errors import PluginError
from mlms.executor.profiling import profiled, replayed, try_profilers
from mlms.hooks import Component
from mlms.hooks.components import Components, Plugin, Registered, Registry
from mlms.manifests.types import Step
from mlms.tracing.recorder import Recorder

PLUGIN = Plugin("acme", "acme-mlms", "1.0")


class Watcher:
    """Notes what happens to it, in a list of all; ``fails`` is where it raises."""

    def __init__(self, name: str, level: str, seen: list[str], fails: str = "") -> None:
        self.name, self.level, self.seen, self.fails = name, level, seen, fails

    @contextmanager
    def attach(self, recorder: Recorder) -> Iterator[None]:
        if self.fails == "attach":
            raise OSError("no such device")
        self.seen.append(f"{self.name} on")
        try:
            yield
        except BaseException as error:
            self.seen.append(f"{self.name} saw {type(error).__name__}")
            raise
        self.seen.append(f"{self.name} off")
        if self.fails == "end":
            raise OSError("it was unplugged")


def components(seen: list[str], **watchers: str | tuple[str, str]) -> Components:
    """Profilers by name, each with its level and where it fails."""

    def component(name: str, told: str | tuple[str, str]) -> Registered[Any]:
        level, fails = (told, "") if isinstance(told, str) else told

        def make(options: Any, where: Any) -> Watcher:
            if fails == "make":
                raise ZeroDivisionError("not today")
            seen.append(f"{name} made with {dict(options)} for {where.device_uuid}")
            return Watcher(name, level, seen, fails)

        return Registered(Component(name, make, "Watches."), PLUGIN)

    made = Registry("profiler", {name: component(name, told) for name, told in watchers.items()})
    return replace(api.load_plugins(), profilers=made)


def named(*profilers: Step, leveled: bool = False, level: str = "layer") -> Any:
    return SimpleNamespace(profilers=tuple(profilers), trace=SimpleNamespace(leveled=leveled, level=level))


def observe(level: str, offered: Components, *profilers: Step) -> Recorder:
    recorder = Recorder()
    where = replace(context(), device_uuid="GPU-1")
    with profiled(named(*profilers), offered, where, recorder, level):
        pass
    return recorder


@pytest.mark.parametrize(
    ("level", "profilers", "on"),
    [
        ("none", [], set()),
        ("model", [], set()),
        ("layer", [], set()),
        ("library", [], {"gpu"}),
        ("hardware", [], {"gpu", "host", "power"}),
        ("none", ["host"], {"host"}),
        ("library", ["host"], {"gpu", "host"}),
        ("hardware", ["host"], {"gpu", "host", "power"}),
    ],
)
def test_what_is_on(level: str, profilers: list[str], on: set[str]) -> None:
    seen: list[str] = []
    offered = components(seen, host="hardware", gpu="library", power="hardware")
    recorder = observe(level, offered, *map(Step, profilers))
    assert {line.split()[0] for line in seen if line.endswith(" on")} == on
    assert {line.split()[0] for line in seen if line.endswith(" off")} == on
    assert recorder.notes == []
    if level == "none" and not profilers:
        assert seen == [], "nothing is even made"


def test_options_and_the_gpu_are_told() -> None:
    seen: list[str] = []
    observe("none", components(seen, host="hardware"), Step("host", {"interval": 1}))
    assert seen == ["host made with {'interval': 1} for GPU-1", "host on", "host off"]


@pytest.mark.parametrize("fails", ["attach", "end"])
def test_one_that_fails_is_a_note_and_the_others_go_on(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    offered = components(seen, host="hardware", bad=("hardware", fails))
    with caplog.at_level(logging.WARNING, "mlms"):
        recorder = observe("none", offered, Step("bad"), Step("host"))
    assert "host off" in seen
    (note,) = recorder.notes
    assert note.startswith("bad (from acme-mlms 1.0): failed: OSError: ")
    assert "Traceback" in caplog.text


def test_what_the_measurement_raises_passes_through_all() -> None:
    seen: list[str] = []
    offered = components(seen, host="hardware", bad=("hardware", "end"), gone=("hardware", "attach"))
    recorder = Recorder()
    steps = named(Step("gone"), Step("bad"), Step("host"))
    with pytest.raises(KeyboardInterrupt), profiled(steps, offered, context(), recorder, "none"):
        raise KeyboardInterrupt
    assert seen[-2:] == ["host saw KeyboardInterrupt", "bad saw KeyboardInterrupt"]


def test_one_that_can_t_be_made() -> None:
    seen: list[str] = []
    offered = components(seen, host="hardware", bad=("hardware", "make"))
    with pytest.raises(PluginError, match=r"acme-mlms 1.0 can't make 'bad': ZeroDivisionError: not today"):
        observe("none", offered, Step("bad"))
    recorder = observe("hardware", offered)
    assert recorder.notes == ["bad: off: plugin acme-mlms 1.0 can't make 'bad': ZeroDivisionError: not today"]
    assert "host off" in seen


def test_trying_all_tells_what_each_sees() -> None:
    seen: list[str] = []
    offered = components(seen, bad=("hardware", "make"), gone=("hardware", "attach"), host="hardware")
    bad, gone, host = try_profilers(offered, context(), 0.0)
    assert (bad.name, bad.error) == ("bad", "plugin acme-mlms 1.0 can't make 'bad': ZeroDivisionError: not today")
    assert gone.error is None
    assert "no such device" in gone.recorder.notes[0]
    assert (host.error, host.recorder.notes) == (None, [])


@pytest.mark.parametrize(
    ("device", "on"), [("cuda:1", {"anywhere", "on-gpus"}), ("cpu", {"anywhere"}), (None, {"anywhere"})]
)
def test_one_for_other_devices_is_not_on_by_itself(device: str | None, on: set[str]) -> None:
    seen: list[str] = []
    offered = components(seen, **{"anywhere": "layer", "on-gpus": "layer"})
    registered = offered.profilers.get("on-gpus")

    def make(options: Any, where: Any) -> Watcher:
        made = registered.component.make(options, where)
        made.devices = "cuda"
        return made

    entries = {
        "anywhere": offered.profilers.get("anywhere"),
        "on-gpus": replace(registered, component=replace(registered.component, make=make)),
    }
    offered = replace(offered, profilers=Registry("profiler", entries))
    recorder = Recorder()
    with profiled(named(), offered, replace(context(), device=device), recorder, "layer"):
        pass
    assert {word.removesuffix(" on") for word in seen if word.endswith(" on")} == on
    seen.clear()
    with profiled(named(Step("on-gpus", {})), offered, replace(context(), device=device), recorder, "model"):
        pass
    assert "on-gpus on" in seen, "one that is named is on anywhere"


@pytest.mark.parametrize(
    ("level", "on"),
    [
        ("model", {"sampler"}),
        ("layer", {"sampler"}),
        ("library", {"sampler", "tracer"}),
        ("hardware", {"sampler", "tracer"}),
    ],
)
def test_where_profiling_is_leveled_a_named_one_waits_for_its_level(level: str, on: set[str]) -> None:
    seen: list[str] = []
    offered = components(seen, sampler="hardware", tracer="library")
    asked = named(Step("sampler", {}), Step("tracer", {}), leveled=True, level="hardware")
    with profiled(asked, offered, context(), Recorder(), level):
        pass
    assert {word.removesuffix(" on") for word in seen if word.endswith(" on")} == on


class Counting(Watcher):
    def replay(self, predict: Any, recorder: Recorder) -> None:
        self.seen.append(f"{self.name} replays {predict()}")
        if self.fails == "replay":
            raise OSError("counters are busy")


@pytest.mark.parametrize("fails", ["", "replay"])
def test_one_that_replays_does_so_afterwards(fails: str) -> None:
    seen: list[str] = []
    watcher = Counting("counting", "hardware", seen, fails)
    registered = Registered(Component("counting", lambda options, where: watcher, "Counts."), PLUGIN)
    offered = replace(api.load_plugins(), profilers=Registry("profiler", {"counting": registered}))
    recorder = Recorder()
    with profiled(named(Step("counting", {})), offered, context(), recorder, "model") as on:
        pass
    replayed(on, lambda: "one", recorder)
    assert seen == ["counting on", "counting off", "counting replays one"]
    assert recorder.notes == (["counting (from acme-mlms 1.0): failed: OSError: counters are busy"] if fails else [])
