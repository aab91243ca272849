"""The evaluations of a plan held against one of them, by what their models answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlms.analysis.agreement import OutputAgreement, agreement
from mlms.errors import InputError, MlmsError, UnknownNameError
from mlms.executor.answers import Answered, answer
from mlms.executor.session import Session
from mlms.manifests.names import suggestion
from mlms.manifests.types import Evaluation, Plan


@dataclass(frozen=True, slots=True)
class Beside:
    """One model beside the reference: its outputs, or why they can't be compared."""

    name: str
    framework: str
    outputs: tuple[OutputAgreement, ...]
    worst: tuple[str, ...]
    """The id of the sample with the largest difference, for each output."""
    error: Exception | None = None

    @property
    def agrees(self) -> bool:
        return self.error is None and all(output.agrees for output in self.outputs)


@dataclass(frozen=True, slots=True)
class Agreed:
    """All models beside the reference, in the manifest's order."""

    reference: str
    framework: str
    samples: int
    atol: float
    rtol: float
    others: tuple[Beside, ...]

    @property
    def agrees(self) -> bool:
        return all(other.agrees for other in self.others)

    @property
    def data(self) -> dict[str, Any]:
        """The whole as plain values."""
        return {
            "reference": self.reference,
            "framework": self.framework,
            "samples": self.samples,
            "atol": self.atol,
            "rtol": self.rtol,
            "agrees": self.agrees,
            "models": [
                {
                    "name": other.name,
                    "framework": other.framework,
                    "agrees": other.agrees,
                    "outputs": [
                        {**asdict(output), "worst": worst, "agrees": output.agrees}
                        for output, worst in zip(other.outputs, other.worst, strict=True)
                    ],
                    "error": None if other.error is None else str(other.error),
                }
                for other in self.others
            ],
        }


def agree(plan: Plan, session: Session, reference: str | None, atol: float, rtol: float) -> Agreed:
    """Hold every evaluation against the one named ``reference``, or the first.

    Raises:
        UnknownNameError: no evaluation is named so.
        InputError: there is nothing to compare.
        MlmsError: the reference's model failed.
    """
    first, others = _chosen(plan, reference)
    expected = answer(first, session)
    if expected.error is not None:
        raise expected.error
    assert expected.outputs is not None
    beside = tuple(_beside(answer(each, session), expected, atol, rtol) for each in others)
    return Agreed(first.name, first.framework.name, len(expected.samples), atol, rtol, beside)


def _chosen(plan: Plan, reference: str | None) -> tuple[Evaluation, list[Evaluation]]:
    everyone = {each.name: each for each in plan.evaluations}
    name = reference or next(iter(everyone))
    if name not in everyone:
        hint = suggestion(name, everyone, "the manifest")
        raise UnknownNameError(f"the manifest has no evaluation named '{name}'", hint=hint)
    if len(everyone) < 2:
        raise InputError(f"'{name}' is the manifest's only evaluation", hint="name two or more models")
    return everyone[name], [each for other, each in everyone.items() if other != name]


def _beside(answered: Answered, expected: Answered, atol: float, rtol: float) -> Beside:
    name, framework = answered.evaluation.name, answered.evaluation.framework.name
    if answered.error is not None:
        return Beside(name, framework, (), (), answered.error)
    assert answered.outputs is not None
    assert expected.outputs is not None
    try:
        if answered.samples != expected.samples:
            raise InputError("it was asked other samples than the reference", hint="give all evaluations one dataset")
        outputs = agreement(answered.outputs, expected.outputs, atol=atol, rtol=rtol)
    except MlmsError as error:
        return Beside(name, framework, (), (), error)
    return Beside(name, framework, outputs, tuple(expected.samples[output.worst] for output in outputs))
