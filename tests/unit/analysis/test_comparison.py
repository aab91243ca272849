from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from fakes.records import record, write_measured_run
from fakes.series import fixed, integers, with_stalls
from mlms.analysis.comparison import Contrast, compare, repeat_set
from mlms.analysis.effects import MARGIN, ratio_verdict
from mlms.analysis.intervals import welch_ratio
from mlms.analysis.latency import PERCENTILES, queries_needed, summarize
from mlms.analysis.paired import mcnemar
from mlms.errors import InputError, StorageError
from mlms.runs.run import Run

SIMULATIONS = 100
SLOWDOWN = 1.05


@dataclass
class Simulated:
    """A run in memory, one query after the other."""

    record: dict[str, Any]
    latencies: pl.DataFrame
    predictions: pl.DataFrame


def predicted(correct: npt.NDArray[np.bool_]) -> pl.DataFrame:
    classes = np.where(correct[:, None], [1, 2], [2, 1])
    columns = {"sample": np.arange(len(correct)).astype(str), "target": np.ones(len(correct), np.int64)}
    return pl.DataFrame({**columns, "classes": pl.Series(classes).cast(pl.List(pl.Int64))})


def simulated(
    series: npt.NDArray[np.int64], correct: npt.NDArray[np.bool_], predictions: pl.DataFrame, name: str
) -> Simulated:
    count = len(series)
    starts = np.concatenate([[0], np.cumsum(series + 5_000)[:-1]])
    seconds = float(starts[-1] + series[-1]) / 1e9
    accuracy = {"name": "top1", "value": 100 * correct.mean(), "unit": "%", "samples": len(correct), "published": None}
    return Simulated(
        record(
            name=name,
            metrics=[accuracy],
            latency={**summarize(series), "samples_per_query": 1, "warmup_queries": 0},
            throughput={"value": count / seconds, "unit": "samples/s", "duration_s": seconds},
        ),
        pl.DataFrame(
            {"phase": "measured", "start_ns": starts, "latency_ns": series, "samples": np.ones(count, np.int32)}
        ),
        predictions,
    )


@cache
def contrasts(spread: float, memory: float, queries: int) -> list[tuple[Contrast, Contrast]]:
    """A run against another of the same evaluation, and against that 5% slower: same answers, rare stalls in all."""
    found = []
    for seed in range(SIMULATIONS):
        random = np.random.default_rng(seed)
        correct = random.random(450) < 0.95
        base, other = (with_stalls(random, fixed(random, queries, spread, memory, 8e6)) for _ in range(2))
        answers = predicted(correct)
        runs = [
            [simulated(series, correct, answers, name)]
            for series, name in zip((base, other, integers(other * SLOWDOWN)), "abc", strict=True)
        ]
        same, slower = compare(runs).contrasts
        found.append((same, slower))
    return found


def verdicts(found: Iterable[Contrast], metric: str) -> Counter[str]:
    effects = (contrast.effect(metric) for contrast in found)
    return Counter(effect.verdict for effect in effects if effect is not None)


# (spread, memory, queries): what the default rules of single_stream, 10 s and 64 queries, give of a model that takes
# 160 ms or more, 50 ms, 8 ms, and 1 ms; the longer a prediction, the steadier. FOUND are the metrics by which a change
# of 5% is surely found then; docs/comparing.md has the rates.
DEFAULTS = [(0.03, 0.3, 64), (0.05, 0.3, 200), (0.05, 0.3, 1250), (0.1, 0.5, 1250), (0.1, 0.5, 10_000)]
FOUND = [
    {"latency.p50"},
    {"latency.p50"},
    {"latency.p50", "latency.p90", "latency.p95"},
    {"latency.p50", "latency.p90"},
    {"latency.p50", "latency.p90", "latency.p95", "throughput"},
]


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "memory", "queries"), DEFAULTS)
def test_the_same_evaluation_twice_is_not_distinguishable_in_any_metric(
    spread: float, memory: float, queries: int
) -> None:
    found = [same for same, _ in contrasts(spread, memory, queries)]
    alike = sum(all(effect.verdict == "not distinguishable" for effect in same.effects) for same in found)
    assert alike >= 95
    supported = [f"latency.p{percentile:g}" for percentile in PERCENTILES if queries >= queries_needed(percentile)]
    assert [effect.metric for effect in found[0].effects] == ["top1", *supported, "throughput"]


@pytest.mark.slow
@pytest.mark.parametrize(("rules", "metrics"), list(zip(DEFAULTS, FOUND, strict=True)))
def test_a_slowdown_of_5_percent_is_found(rules: tuple[float, float, int], metrics: set[str]) -> None:
    found = [slower for _, slower in contrasts(*rules)]
    for metric in metrics:
        assert verdicts(found, metric)["worse"] >= 95, metric
    for effect in found[0].effects:
        assert verdicts(found, effect.metric)["better"] == 0, effect.metric
    assert verdicts(found, "top1") == {"not distinguishable": SIMULATIONS}


@pytest.mark.slow
@pytest.mark.parametrize("rules", DEFAULTS)
def test_the_interval_of_the_ratio_holds_it_at_its_rate(rules: tuple[float, float, int]) -> None:
    held: Counter[str] = Counter()
    for _, slower in contrasts(*rules):
        for effect in slower.effects:
            if effect.interval is not None and effect.metric in ("latency.p50", "latency.p90", "throughput"):
                held[effect.metric] += (1 / SLOWDOWN if effect.metric == "throughput" else SLOWDOWN) in effect.interval
    assert len(held) == 3
    assert min(held.values()) >= 89, held  # 95 less three standard errors of 100


def repeats(root: Path, name: str, factors: list[float], seed: int, **changes: Any) -> list[Run]:
    """Repeats whose processes differ by ``factors``."""
    made = []
    for index, factor in enumerate(factors, 1):
        series = fixed(np.random.default_rng([seed, index]), 400, 0.03, 0.2, 8e6 * factor)
        repeat = {"index": index, "of": len(factors), "group": name * 4}
        path = write_measured_run(root, f"{name}{index}", series, repeat=repeat, **changes)
        made.append(Run(path))
    return made


def test_repeats_carry_what_single_runs_cannot_see(tmp_path: Path) -> None:
    """Processes that differ by 2% among themselves: single runs would be told apart, three repeats are not."""
    one = repeats(tmp_path, "one", [1.0, 1.02, 1.04], 1)
    two = repeats(tmp_path, "two", [1.05, 1.01, 1.03], 2)
    together = compare([one, two]).contrasts[0]
    effect = together.effect("latency.p50")
    assert effect is not None
    assert effect.interval is not None
    assert effect.interval.method == "Welch's t over 3 and 3 repeats"
    assert effect.verdict == "not distinguishable"
    assert not together.notes
    apart = compare([one[:1], two[:1]]).contrasts[0]
    single = apart.effect("latency.p50")
    assert single is not None
    assert single.verdict == "worse"
    assert apart.notes == ("one run each: intervals of latency and throughput cover variation within a run only",)
    some = compare([one, two[:2]]).contrasts[0]
    assert some.notes[0].startswith("fewer than three repeats of one side: ")


@pytest.mark.parametrize(("count", "spread", "found"), [(3, 0.005, 95), (5, 0.01, 95), (3, 0.01, 80)])
def test_a_slowdown_of_5_percent_is_found_across_repeats(count: int, spread: float, found: int) -> None:
    """``spread`` is how much processes differ; docs/comparing.md has the rates."""
    told: Counter[tuple[float, str]] = Counter()
    for seed in range(SIMULATIONS):
        random = np.random.default_rng(seed)
        one, two = (np.exp(random.normal(0, spread, count)) for _ in range(2))
        for factor in (1.0, 1.05):
            told[factor, ratio_verdict(welch_ratio(one, factor * two), False, MARGIN)] += 1
    assert told[1.0, "not distinguishable"] >= 95
    assert told[1.05, "worse"] >= found


def test_a_real_slowdown_shows_across_repeats(tmp_path: Path) -> None:
    one = repeats(tmp_path, "one", [1.0, 1.005, 1.01], 1)
    two = repeats(tmp_path, "two", [1.06, 1.055, 1.065], 2)
    found = compare([one, two])
    effect = found.contrasts[0].effect("latency.p50")
    assert effect is not None
    assert effect.verdict == "worse"
    assert effect.effect == pytest.approx(1.055, abs=0.01)
    assert found.subjects[1].repeats == 3


@pytest.fixture
def made(tmp_path: Path) -> Any:
    def make(name: str = "a", correct: npt.NDArray[np.bool_] | None = None, **changes: Any) -> list[Run]:
        series = fixed(np.random.default_rng(sum(map(ord, name))), 300)
        return [Run(write_measured_run(tmp_path, name, series, correct, **changes))]

    return make


def test_accuracy_is_compared_sample_by_sample(made: Any) -> None:
    right = np.arange(450) % 20 > 0
    other = right.copy()
    other[1:11] = False
    found = compare([made("a", right), made("b", other), made("c", right[:400])])
    effect = found.contrasts[0].effect("top1")
    assert effect is not None
    assert (effect.verdict, effect.p) == ("worse", mcnemar(10, 0))
    assert effect.effect == pytest.approx(-100 * 10 / 450)
    assert effect.interval is not None
    assert effect.interval.low < effect.effect < effect.interval.high < 0
    assert effect.note.startswith("0 samples gained, 10 lost of 450, McNemar's mid-p = 0.00098")
    part = found.contrasts[1].effect("top1")
    assert part is not None
    assert (part.verdict, part.effect) == ("not distinguishable", 0.0)
    assert "only the samples in common are compared (450 and 400 in all)" in part.note


def test_flips_that_cancel_are_not_a_difference(made: Any) -> None:
    right = np.arange(450) % 20 > 0
    effect = compare([made("a", right), made("b", np.roll(right, 1))]).contrasts[0].effect("top1")
    assert effect is not None
    assert (effect.verdict, effect.p) == ("not distinguishable", 1.0)
    assert effect.note.startswith("23 samples gained, 23 lost")


def test_other_data_under_the_same_ids_is_not_paired() -> None:
    """Of ten classes every tenth target is the same by chance, so no sample is paired, not even those."""
    series, right = fixed(np.random.default_rng(0), 300), np.arange(450) % 20 > 0
    one, other = (simulated(series, right, predicted(right), name) for name in "ab")
    assert compare([[one], [other]]).contrasts[0].effects[0].p == 1.0
    shift = pl.Series(np.arange(450) % 10)
    shuffled = other.predictions.with_columns(
        target=pl.col("target") + shift,
        classes=pl.concat_list(*(pl.col("classes").list.get(i) + shift for i in (0, 1))),
    )
    # The metric's own column is paired in the same way; its targets may be anything.
    named = other.predictions.select("sample", target=pl.lit("one"), top1=pl.Series(right))
    for predictions, differing in ((shuffled, 405), (named, 450)):
        effect = compare([[one], [replace(other, predictions=predictions)]]).contrasts[0].effects[0]
        assert effect.interval is not None
        assert effect.interval.method == "Newcombe, samples unpaired"
        assert effect.note.startswith(f"not paired: {differing} of 450 samples with the same id have another target")


def test_without_predictions_the_samples_are_taken_for_unpaired(made: Any) -> None:
    files = {"latencies": "latencies.parquet"}
    right, wrong = np.arange(450) % 20 > 0, np.arange(450) % 10 > 0
    effect = compare([made("a", right, files=files), made("b", wrong)]).contrasts[0].effect("top1")
    assert effect is not None
    assert effect.interval is not None
    assert effect.interval.method == "Newcombe, samples unpaired"
    assert effect.note == "no samples in common to pair"


def test_a_figure_that_its_samples_do_not_give_is_not_paired(made: Any) -> None:
    odd = [{"name": "top1", "value": 12.34, "unit": "%", "samples": 450, "published": None}]
    effect = (
        compare([made("a", np.ones(450, bool)), made("b", np.ones(450, bool), metrics=odd)]).contrasts[0].effects[0]
    )
    assert (effect.verdict, effect.interval) == ("unknown", None)


def test_what_differs_is_told(made: Any) -> None:
    environment = record()["environment"]
    other = {**environment, "fingerprint": "ef" * 32, "packages": {"torch": "2.16.0"}}
    found = compare(
        [
            made("a", evaluation={"name": "a", "batch_size": 1, "model": {"name": "m", "file": "/x", "tags": ["old"]}}),
            made(
                "b", evaluation={"name": "b", "batch_size": 8, "model": {"name": "m", "file": "/y"}}, environment=other
            ),
        ]
    )
    (contrast,) = found.contrasts
    assert [(s.key, s.baseline, s.other) for s in contrast.settings] == [("batch_size", 1, 8)]
    assert [(s.key, s.baseline, s.other) for s in contrast.environment] == [("packages.torch", "2.15.0", "2.16.0")]
    assert not contrast.same_environment
    assert found.notes == ("different machine or software: b was not made in the environment of a",)


def test_another_framework_is_not_another_environment(made: Any) -> None:
    """Both were installed beside one another; a record lists its own framework's distribution only."""
    environment = record()["environment"]
    packages = {name: version for name, version in environment["packages"].items() if name != "torch"}
    other = {**environment, "fingerprint": "ef" * 32, "packages": {**packages, "onnxruntime": "1.32.0"}}
    framework = {**record()["framework"], "name": "onnxruntime", "distribution": "onnxruntime", "installed": "1.32.0"}
    found = compare([made("a"), made("b", environment=other, framework=framework)])
    assert found.notes == ()
    assert found.contrasts[0].same_environment
    assert not found.contrasts[0].environment
    assert "framework.installed" in {setting.key for setting in found.contrasts[0].settings}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"model": {**record()["model"], "task": "speech_recognition"}},
            "different tasks: a has image_classification, b",
        ),
        (
            {"dataset": {**record()["dataset"], "version": "2.0.0"}},
            "different datasets: a has digits-test 1.0.0, b has",
        ),
    ],
)
def test_other_tasks_and_datasets_are_refused_or_forced(made: Any, changes: dict[str, Any], reason: str) -> None:
    groups = [made("a"), made("b", **changes)]
    with pytest.raises(InputError, match=reason) as caught:
        compare(groups)
    assert caught.value.hint == "--force compares them all the same"
    found = compare(groups, force=True)
    assert found.notes[0].startswith(reason)
    assert found.contrasts[0].effect("latency.p50") is not None


def test_other_trace_levels_share_no_latency(made: Any) -> None:
    right = np.ones(450, bool)
    deeper = {**record()["trace"], "level": "layer"}
    (contrast,) = compare([made("a", right), made("b", right, trace=deeper)]).contrasts
    assert [effect.metric for effect in contrast.effects] == ["top1", "top5"]
    assert contrast.notes == ("latency and throughput are not compared: traced at level layer, the baseline at model",)


def test_other_scenarios_share_no_latency(made: Any) -> None:
    offline = {**record()["scenario"], "type": "offline"}
    (contrast,) = compare([made("a"), made("b", scenario=offline)]).contrasts
    assert [effect.metric for effect in contrast.effects] == ["throughput"]
    assert contrast.notes[0] == "latency is not compared: scenario offline, the baseline's is single_stream"


def test_doubtful_figures_are_flagged(made: Any) -> None:
    invalid = {**record()["scenario"], "valid": False, "problems": ["too short"]}
    runs = made("a", scenario=invalid)
    runs[0].record["latency"]["steadiness"].update(label="drifting", reasons=["24% slower"])
    found = compare([runs, made("b")])
    assert found.subjects[0].flags == ("latency is drifting: 24% slower", "invalid by LoadGen: too short")
    assert found.subjects[1].flags == ()


def test_a_verdict_that_a_series_does_not_bear_says_so_beside_it(made: Any) -> None:
    runs = made("a")
    runs[0].record["latency"]["steadiness"].update(label="bimodal", reasons=["two modes"])
    effects = compare([runs, made("b")]).contrasts[0].effects
    assert {(effect.verdict, effect.note) for effect in effects if effect.unit == "ns"} == {("unknown", "not steady")}


def test_too_few_or_unfinished_runs(made: Any) -> None:
    with pytest.raises(InputError, match="at least two runs"):
        compare([made("a")])
    with pytest.raises(InputError, match="is failed: it has no figures"):
        compare([made("a2"), made("b", status="failed")])


def test_half_a_run_names_the_missing_file(made: Any) -> None:
    runs = made("a")
    (runs[0].path / "latencies.parquet").unlink()
    with pytest.raises(StorageError, match=r"latencies\.parquet: this file is missing"):
        compare([runs, made("b")])


def test_a_run_against_itself_has_a_ratio_of_one(made: Any) -> None:
    runs = made("a", np.ones(450, bool))
    found = compare([runs, runs])
    assert all(effect.verdict == "not distinguishable" for effect in found.contrasts[0].effects)
    assert all(effect.effect == 1 for effect in found.contrasts[0].effects if effect.kind == "ratio")


def test_a_run_without_latencies(made: Any) -> None:
    right = np.ones(450, bool)
    found = compare([made("a", right), made("b", right, latency=None, throughput=None)])
    assert [effect.metric for effect in found.contrasts[0].effects] == ["top1", "top5"]


def test_repeats_belong_together_until_a_number_comes_again() -> None:
    def repeat(run_id: str, index: int, group: str = "g") -> dict[str, Any]:
        return record(run_id, started_at=run_id, repeat={"index": index, "of": 3, "group": group})

    known = [repeat("1", 1), repeat("2", 3), repeat("3", 2), repeat("4", 1), repeat("5", 2), repeat("6", 1, "other")]
    assert sorted(repeat_set(known[2], known)) == ["1", "2", "3"]
    assert sorted(repeat_set(known[3], known)) == ["4", "5"]
    assert repeat_set(known[5], known) == ["6"]
    assert repeat_set(record("7"), known) == ["7"]


@pytest.mark.parametrize(
    ("indices", "sets"),
    [
        ([2, 3, 1, 2, 3], [[0, 1], [2, 3, 4]]),  # the first of a sweep failed, and the next is whole
        ([2, 3, 1], [[0, 1, 2]]),  # it was resumed
        ([2, 3, 1, 1, 2, 3], [[0, 1, 2], [3, 4, 5]]),  # and then repeated
        ([1, 3, 2, 3], [[0, 1], [2, 3]]),  # the first of the second one failed
        ([1, 2, 3, 2, 3, 1], [[0, 1, 2], [3, 4, 5]]),  # and was resumed
    ],
)
def test_a_sweep_whose_repeats_failed_takes_none_of_the_next(indices: list[int], sets: list[list[int]]) -> None:
    known = [
        record(str(start), started_at=str(start), repeat={"index": index, "of": 3, "group": "g"})
        for start, index in enumerate(indices)
    ]
    for members in sets:
        for member in members:
            assert sorted(map(int, repeat_set(known[member], known))) == members
