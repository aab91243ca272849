"""Everything that this package raises.

PycuptiError
├── Unavailable            this machine can't trace: no driver, no libcupti, one that crashes, another system
├── DriverError            a CUDA driver call failed
└── CuptiError             a CUPTI call failed: `code`, `name`, what it means, the mend
    ├── Conflict           39: another client holds CUPTI
    ├── CountersRestricted 35, 40: hardware counters are for administrators
    ├── CountersBusy       26: another client holds the counters
    └── UnknownMetric      17: names the metrics that the chip lacks
"""

from pycupti.codes import CODES, UNKNOWN_CODE

#: Added to a CUDA driver's result code by the core, to tell it from CUPTI's.
CUDA_BASE = 100_000


class PycuptiError(Exception):
    """Base of all errors; `hint` says the mend."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Join the message and the mend; both stay readable apart."""
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint

    def arguments(self) -> list[object]:
        """Return what builds this error again, in another process."""
        return [self.message, self.hint]


class Unavailable(PycuptiError):
    """GPU activity can't be traced on this machine."""


class DriverError(PycuptiError):
    """A CUDA driver call failed with `code`."""

    def __init__(self, code: int, action: str) -> None:
        """`action` says what was being done."""
        super().__init__(
            f"{action}: the CUDA driver answered {code}",
            "an earlier kernel may have failed; CUDA reports that here",
        )
        self.code = code


class CuptiError(PycuptiError):
    """A CUPTI call failed with `code`."""

    def __init__(self, code: int, action: str, mend: str = "") -> None:
        """`action` says what was being done; `mend` replaces the code's usual one."""
        known = CODES.get(code, UNKNOWN_CODE)
        super().__init__(f"{action}: {known.meaning} [CUPTI {code} {known.name}]", mend or known.mend)
        self.code = code
        self.name = known.name
        self.action = action

    def arguments(self) -> list[object]:
        """Return what builds this error again, in another process."""
        return [self.code, self.action, self.hint]


class Conflict(CuptiError):
    """Another client holds CUPTI in this process."""


class CountersRestricted(CuptiError):
    """Hardware counters are restricted to administrators; tracing still works."""


class CountersBusy(CuptiError):
    """Hardware counters are held by another client."""


class UnknownMetric(CuptiError):
    """The chip lacks the metrics in `names`."""

    def __init__(self, names: tuple[str, ...], chip: str, suggestions: tuple[str, ...] = ()) -> None:
        """`suggestions` are the nearest names that the chip has."""
        mend = f"did you mean {', '.join(suggestions)}?" if suggestions else ""
        super().__init__(17, f"planning metrics for {chip}: {', '.join(names)}", mend)
        self.names = names
        self._arguments = [names, chip, suggestions]

    def arguments(self) -> list[object]:
        """Return what builds this error again, in another process."""
        return [*self._arguments]


_CLASSES = {26: CountersBusy, 35: CountersRestricted, 39: Conflict, 40: CountersRestricted}


def rebuild(name: str, arguments: list[object]) -> PycuptiError:
    """Build an error again from its class's name and its `arguments`, as they come out of JSON."""
    made = globals()[name](*(tuple(each) if isinstance(each, list) else each for each in arguments))
    assert isinstance(made, PycuptiError)
    return made


def check(code: int, action: str) -> None:
    """Raise the error of a result code; 0 passes.

    >>> check(0, "nothing")
    """
    if code == 0:
        return
    if code == -1:
        raise Unavailable(f"{action}: this libcupti lacks the function", "metrics need CUPTI 12.6 or later")
    if code >= CUDA_BASE:
        raise DriverError(code - CUDA_BASE, action)
    raise _CLASSES.get(code, CuptiError)(code, action)
