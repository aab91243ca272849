"""Whether two models answer the same, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import InputError

ATOL, RTOL = 1e-4, 1e-3
"""What frameworks that sum float32 in different orders stay within, with room; float16 needs more."""

Answers = Mapping[str, npt.NDArray[Any]]
"""A model's outputs by name, of shape (samples, ...)."""


@dataclass(frozen=True, slots=True)
class OutputAgreement:
    """One output beside the reference's.

    ``max_abs`` is the largest |a - b| and ``max_rel`` the largest |a - b| / max(|b|, atol), b being the reference;
    ``outside`` the share of elements with |a - b| > atol + rtol |b| (the rule of ``numpy.allclose`` and
    ``torch.testing``), and ``worst`` the position of the sample with the largest difference. ``top1`` is the share of
    samples whose largest element is the same, None for outputs that aren't one row of several numbers a sample.
    """

    name: str
    reference: str
    max_abs: float
    max_rel: float
    outside: float
    top1: float | None
    worst: int

    @property
    def agrees(self) -> bool:
        return self.outside == 0


def agreement(
    answers: Answers, reference: Answers, *, atol: float = ATOL, rtol: float = RTOL
) -> tuple[OutputAgreement, ...]:
    """Each output beside the reference's of the same name; those that only one side has, by their place among these.

    Elements that are not a number, or infinite, agree where both are the same.

    Raises:
        InputError: the outputs differ in number, or in shape.
    """
    return tuple(
        _output(name, answers[name], other, reference[other], atol, rtol) for name, other in _pairs(answers, reference)
    )


def _pairs(answers: Answers, reference: Answers) -> Sequence[tuple[str, str]]:
    if len(answers) != len(reference):
        raise InputError(
            f"it has the outputs {', '.join(answers)}, and the reference {', '.join(reference)}",
            hint="compare models with the same outputs",
        )
    others = iter([name for name in reference if name not in answers])
    return [(name, name if name in reference else next(others)) for name in answers]


def _output(
    name: str, values: npt.NDArray[Any], other: str, expected: npt.NDArray[Any], atol: float, rtol: float
) -> OutputAgreement:
    if values.shape != expected.shape:
        raise InputError(
            f"output '{name}' has shape {values.shape}, and the reference's '{other}' {expected.shape}",
            hint="compare models that answer in the same form",
        )
    if not len(values):
        raise InputError("there is no sample to compare")
    a, b = values.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    difference = np.where(np.isnan(difference), np.inf, difference)
    scale = np.nan_to_num(np.abs(b), posinf=0.0)
    with np.errstate(over="ignore"):
        relative = difference / np.maximum(scale, atol or np.finfo(np.float64).tiny)
    by_sample = difference.reshape(len(a), -1).max(axis=1, initial=0.0)
    classes = a.ndim == 2 and a.shape[1] > 1
    return OutputAgreement(
        name=name,
        reference=other,
        max_abs=float(by_sample.max()),
        max_rel=float(relative.max(initial=0.0)),
        outside=float((difference > atol + rtol * scale).mean()) if difference.size else 0.0,
        top1=float((a.argmax(axis=1) == b.argmax(axis=1)).mean()) if classes else None,
        worst=int(by_sample.argmax()),
    )
