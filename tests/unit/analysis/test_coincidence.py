from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlms.analysis.coincidence import coincidences, coinciding

spans = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)), max_size=20).map(
    lambda pairs: np.array([(start, start + length) for start, length in pairs], dtype=np.int64).reshape(-1, 2)
)


@given(spans, spans)
def test_overlaps_are_those_found_one_by_one(queries: np.ndarray, events: np.ndarray) -> None:
    found = coinciding(queries[:, 0], queries[:, 1], events)
    assert found.tolist() == [any(a <= end and b >= start for a, b in events) for start, end in queries]


def test_events_queries_and_outliers_are_counted() -> None:
    starts = np.array([0, 10, 20, 30])
    slow = np.array([False, True, True, False])
    events = {"gc": np.array([[12, 13], [14, 21]]), "page_faults": np.empty((0, 2), dtype=np.int64)}
    assert coincidences(starts, starts + 5, slow, events) == {
        "gc": {"events": 2, "queries": 2, "outliers": 2},
        "page_faults": {"events": 0, "queries": 0, "outliers": 0},
    }
