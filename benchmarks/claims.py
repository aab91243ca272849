"""What every benchmark shares: its options, its table, and the claims it ends with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that is to be at most ``goal``; ``unit`` is only shown."""

    claim: str
    value: float
    goal: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.value <= self.goal


def options(description: str | None, repeats: int, *, quick: bool = False) -> argparse.Namespace:
    """The command line: ``--repeats N`` (1 or more), ``--help``, which shows ``description``, and ``--quick`` if so."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=_positive, default=repeats, metavar="N", help=f"default {repeats}")
    if quick:
        few = "little of everything, to see that it runs: the figures say nothing"
        parser.add_argument("--quick", action="store_true", help=few)
    return parser.parse_args()


def conclude(claims: Sequence[Claim]) -> int:
    """Print the table of the claims and then one JSON line for each; the exit code is 1 if one doesn't hold."""
    width = max(len(claim.claim) for claim in claims)
    print(f"\n{'CLAIM'.ljust(width)}  {'VALUE':>12}  {'GOAL':>12}  HOLDS")
    for claim in claims:
        value, goal = f"{claim.value:.3f} {claim.unit}", f"≤ {claim.goal:g} {claim.unit}"
        print(f"{claim.claim.ljust(width)}  {value:>12}  {goal:>12}  {'yes' if claim.holds else 'NO'}")
    print()
    for claim in claims:
        line = {"claim": claim.claim, "value": round(claim.value, 6), "goal": claim.goal, "holds": claim.holds}
        print(json.dumps(line, ensure_ascii=False))
    return 0 if all(claim.holds for claim in claims) else 1


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print measurements: the first column to the left, the others to the right."""
    widths = [max(len(line[index]) for line in [columns, *rows]) for index in range(len(columns))]
    for line in [columns, *rows]:
        first, *others = (
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *others]))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more is needed")
    return number
