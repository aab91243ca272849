"""Frameworks made of a serving module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlms.hooks.types import NO_OPTIONS, Component, Context, Framework


def served(
    name: str,
    module: str,
    summary: str,
    *,
    levels: tuple[str, ...] = (),
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Component[Framework]:
    """The framework component of a serving module (``mlms.serving.contract`` says what that has).

    ``module`` is its dotted name, ``levels`` are the trace levels below "model" that its models can be observed at.
    The framework asset's ``environment`` says whether it runs in this process or in a worker.
    """

    def make(options: Mapping[str, Any], context: Context) -> Framework:
        from mlms.serving.framework import ServedFramework

        return ServedFramework(name, module, levels, context.environment, context.answer_timeout)

    return Component(name, make, summary, options)
