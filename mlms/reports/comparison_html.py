"""A comparison as one HTML file that needs nothing else. Imported lazily; jinja2 is imported when one is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlms.reports import comparison
from mlms.reports.html import environment, source
from mlms.reports.overlay import distributions, tradeoff

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def render_comparison(data: Mapping[str, Any], latencies: Sequence[npt.NDArray[np.int64] | None]) -> str:
    """Render a comparison; ``latencies`` has each subject's measured latencies (ns), in the subjects' order.

    Only subjects traced at the baseline's level are drawn together.
    """
    subjects = data["subjects"]
    level = subjects[0]["level"]
    drawn = [subject if subject["level"] == level else {**subject, "figures": {}} for subject in subjects]
    series = [
        values if subject["level"] == level else None for values, subject in zip(latencies, subjects, strict=True)
    ]
    accuracy = next((name for name, unit in data["units"].items() if unit not in ("ns", "samples/s")), None)
    templates = environment()
    return templates.get_template("compare.html").render(
        **_context(data),
        style=source(templates, "run.css"),
        curves=distributions(series),
        tradeoff=tradeoff(drawn, accuracy),
    )


def fragment(data: Mapping[str, Any]) -> str:
    """The tables alone, for a notebook."""
    return environment().get_template("compare_tables.html").render(**_context(data))


def _context(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data": data,
        "remarks": comparison.remarks(data),
        "runs": [
            (subject, contrast, comparison.lines(contrast), list(comparison.differences(contrast)))
            for subject, contrast in zip(data["subjects"][1:], data["contrasts"], strict=True)
        ],
        "title": comparison.title,
    }
