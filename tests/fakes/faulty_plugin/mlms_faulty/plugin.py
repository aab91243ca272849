"""The registration of frameworks that break rules of their registration; ``serving`` has those that break others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {"type": "object", "additionalProperties": False, "properties": {"fault": {"type": "string"}}}
SERVING = "mlms_faulty.serving"


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    good = served("faulty", SERVING, "Linear models in NumPy.", levels=("framework", "layer"), options=OPTIONS)
    yield good
    yield replace(good, name="no-summary", summary="")
    yield replace(good, name="open-options", options={"type": "object"})
    yield served("unknown-level", SERVING, "A level of its own.", levels=("sublayer",), options=OPTIONS)
    yield served("upside-down", SERVING, "Levels upside down.", levels=("layer", "framework"), options=OPTIONS)
    yield Component("any-device", lambda options, context: AnyDevice(), "Takes every device.", OPTIONS)
    yield Component("lingering", lambda options, context: Lingering(), "Is observed for ever.", OPTIONS)


class AnyDevice:
    def __init__(self) -> None:
        from mlms.serving.framework import ServedFramework

        self.inner = ServedFramework("any-device", SERVING, ())
        self.levels = self.inner.levels

    def load(self, model: Any, weights: Any, device: str, options: Any) -> Any:
        return self.inner.load(model, weights, "cpu", options)

    def describe(self) -> Any:
        return self.inner.describe()


class Lingering(AnyDevice):
    def __init__(self) -> None:
        super().__init__()
        self.levels = (*self.levels, "framework")

    def load(self, model: Any, weights: Any, device: str, options: Any) -> Any:
        predictor = super().load(model, weights, device, options)

        @contextmanager
        def observe(recorder: Any, level: str, batch: Any) -> Iterator[Any]:
            inner = recorder.wrap(predictor.predict, recorder.intern("run", "framework"))
            predictor.predict = recorder.wrap(inner, recorder.intern("predict", "model"))
            yield predictor

        predictor.observe = observe
        return predictor
