"""What a measurement says of its predictions."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from mlms.scenarios.measurement import Measurement


def test_a_median_is_of_predictions_of_one_size() -> None:
    nothing = cast("Any", None)
    measured = Measurement(
        began=0,
        starts=np.array([0, 100, 200, 300]),
        ends=np.array([10, 130, 220, 340]),
        answered=((1,), (1, 2, 3), (4,), (5, 6, 7)),
        outputs=(),
        queries=nothing,
        loadgen=nothing,
        rate=None,
        clock=nothing,
        problems=(),
        loadgen_version="",
    )
    assert measured.sizes.tolist() == [1, 3, 1, 3]
    assert measured.samples == 8
    assert (measured.median_ns(1), measured.median_ns(3)) == (15, 35)
    assert measured.median_ns(2) == 25, "of all where there are none of so many"
