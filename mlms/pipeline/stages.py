"""Processors in a row, each failure naming its step and its sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlms.errors import ModelError
from mlms.hooks.blame import blaming
from mlms.hooks.types import Processor


@dataclass(frozen=True, slots=True)
class Stage:
    """A processor and where it stands: ``preprocess[1] resize``."""

    label: str
    plugin: str
    processor: Processor


def apply(stages: Sequence[Stage], value: Any, sample: str) -> Any:
    """Pass ``value`` through the stages.

    Raises:
        ModelError: a processor raised something that isn't an mlms error; it names processor, plugin and sample.
    """
    for stage in stages:
        with blaming(f"{stage.label} (from {stage.plugin}) failed on sample '{sample}'", ModelError):
            value = stage.processor(value)
    return value
