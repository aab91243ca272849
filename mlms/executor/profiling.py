"""Profilers of an evaluation: which are on, and the time that they observe."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mlms.errors import PluginError
from mlms.executor.binding import make
from mlms.hooks.components import Components, Registered
from mlms.hooks.types import Context, ForDevices, Profiler, Replays
from mlms.manifests.types import Evaluation
from mlms.tracing.levels import depth
from mlms.tracing.recorder import Recorder

log = logging.getLogger("mlms")

TRIAL_S = 0.3

On = tuple[Registered[Profiler], Profiler]
"""A profiler that is on, and what offers it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A profiler that was tried; ``error`` says why it could not be made."""

    name: str
    recorder: Recorder
    error: str | None = None


@contextmanager
def profiled(
    evaluation: Evaluation, components: Components, context: Context, recorder: Recorder, level: str
) -> Iterator[Sequence[On]]:
    """Have every profiler that is on observe for as long as the context is open; gives them.

    On are those that the evaluation names, and those that ``level``, the trace's, goes down to; where profiling is
    leveled, one that is named waits for the level that it is of, unless it samples from outside. What they see is in
    ``recorder`` when the context has ended. One that fails only observes no more: a note says so, the log has the
    traceback.

    Raises:
        PluginError: one that is named can't be made.
    """
    on = tuple(_on(evaluation, components, context, recorder, level))
    with ExitStack() as attached:
        for registered, profiler in on:
            attached.enter_context(_attached(registered, profiler, recorder))
        yield on


def replayed(on: Sequence[On], predict: Callable[[], object], recorder: Recorder) -> None:
    """Let those profilers that need predictions of their own make them, now that nothing is measured any more."""
    for registered, profiler in on:
        if isinstance(profiler, Replays):
            try:
                profiler.replay(predict, recorder)
            except Exception as error:
                _note_failure(registered, recorder, error)


@contextmanager
def _attached(registered: Registered[Profiler], profiler: Profiler, recorder: Recorder) -> Iterator[None]:
    """The profiler attached, whose own failures are notes."""
    try:
        observing = profiler.attach(recorder)
        observing.__enter__()
    except Exception as error:
        _note_failure(registered, recorder, error)
        yield
        return
    try:
        yield
    finally:
        try:
            observing.__exit__(*sys.exc_info())
        except Exception as error:
            _note_failure(registered, recorder, error)


def try_profilers(components: Components, context: Context, seconds: float = TRIAL_S) -> Iterator[Trial]:
    """Attach every profiler to this process for a moment: what each can observe here, and why what it can't is off."""
    trials = []
    with ExitStack() as attached:
        for registered in components.profilers:
            recorder = Recorder()
            try:
                profiler = make(registered, {}, context)
            except PluginError as error:
                trials.append(Trial(registered.component.name, recorder, error.message))
                continue
            if isinstance(profiler, Replays):
                continue  # without a prediction it has nothing to see
            attached.enter_context(_attached(registered, profiler, recorder))
            trials.append(Trial(registered.component.name, recorder))
        time.sleep(seconds)
    yield from trials


def _note_failure(registered: Registered[Profiler], recorder: Recorder, error: Exception) -> None:
    name = registered.component.name
    log.warning("profiler '%s' failed", name, exc_info=error)
    recorder.notes.append(f"{name} (from {registered.plugin}): failed: {type(error).__name__}: {error}")


def _on(
    evaluation: Evaluation, components: Components, context: Context, recorder: Recorder, level: str
) -> Iterator[On]:
    named = [profiler.name for profiler in evaluation.profilers]
    for step in evaluation.profilers:
        registered = components.profilers.get(step.name)
        profiler = make(registered, step.options, context)
        if not evaluation.trace.leveled or level == evaluation.trace.level or _undisturbing(profiler, level):
            yield registered, profiler
    if depth(level) <= depth("model"):  # predictions alone have nothing below them that could be observed
        return
    for registered in components.profilers:
        if registered.component.name in named:
            continue
        try:
            profiler = make(registered, {}, context)
        except PluginError as error:
            recorder.notes.append(f"{registered.component.name}: off: {error.message}")
            continue
        elsewhere = isinstance(profiler, ForDevices) and not (context.device or "").startswith(profiler.devices)
        if depth(profiler.level) <= depth(level) and not elsewhere:
            yield registered, profiler


def _undisturbing(profiler: Profiler, level: str) -> bool:
    """Whether it leaves the figures of a run at ``level`` what they are."""
    return profiler.level == "hardware" or depth(profiler.level) <= depth(level)
