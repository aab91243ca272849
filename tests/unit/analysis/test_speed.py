"""What two runs' speeds could as well have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fakes.records import write_measured_run
from mlms.analysis.speed import Speed, latency_effects
from mlms.runs.run import Run


def test_a_ratio_of_tails_lies_within_what_the_slow_queries_can_make_it(tmp_path: Path) -> None:
    """One in a thousand of 10,000 queries is slow, and p99.9 is the usual query before the first of them."""

    def speed(name: str, slow: int) -> Speed:
        random = np.random.default_rng(slow)
        series = (1e6 + random.normal(0, 1e4, 10_000)).astype(np.int64)
        series[random.choice(10_000, slow, replace=False)] = 50_000_000
        path = write_measured_run(tmp_path, name, series, np.ones(450, dtype=bool))
        return Speed.of([Run(path)], 0)

    effects = latency_effects(speed("few", 10), speed("many", 30), 0.01)
    (found,) = (effect for effect in effects if effect.metric == "latency.p99.9")
    assert 45 < found.effect < 51
    assert found.interval is not None
    assert found.interval.high < 52
    assert found.verdict == "not distinguishable", "a run like the first has a slow p99.9 two times in five"
