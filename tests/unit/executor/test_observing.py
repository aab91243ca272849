"""Recorded predictions beside what the scenario says of them."""

from __future__ import annotations

import json
import threading
import time
from time import perf_counter_ns

import numpy as np

from mlms.executor.observing import Predicted, prediction_spans, recorded_spans
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step
from mlms.tracing.spans import concat

WARM_UP, SIZES = 4, (4, 4, 3, 1, 4)


def predicted(rows: list[tuple[int, int, int]]) -> Predicted:
    return Predicted(*np.array(sorted(rows), np.int64).T)


def test_each_prediction_has_the_size_of_its_own_batch() -> None:
    recorder = Recorder()
    predict = recorder.wrap(time.sleep, recorder.intern("predict x", "model", {"mlms.batch_size": 8, "other": "kept"}))

    def timed(seconds: float, size: int, into: list[tuple[int, int, int]]) -> None:
        start = perf_counter_ns()
        predict(seconds)
        into.append((start, perf_counter_ns(), size))

    warmed_up: list[tuple[int, int, int]] = []
    timed(0.001, WARM_UP, warmed_up)
    predict(0.001)  # as a worker does before any query
    measured: list[tuple[int, int, int]] = []
    workers = [
        threading.Thread(target=timed, args=(0.05 - 0.004 * place, size, measured)) for place, size in enumerate(SIZES)
    ]
    for worker in workers:  # each begins while those before it run, and ends before them
        worker.start()
        time.sleep(0.001)
    for worker in workers:
        worker.join()
    tables = recorded_spans(recorder, [(Step(None), 0)], (predicted(warmed_up), predicted(measured)))
    frame = concat(list(tables)).frame
    attributes = [json.loads(text) for text in frame["attributes"]]
    assert [found.get("mlms.batch_size") for found in attributes] == [WARM_UP, None, *SIZES]
    assert {found["other"] for found in attributes} == {"kept"}
    assert set(frame["name"]) == {"predict x"}
    (told,) = {json.loads(text)["mlms.batch_size"] for table in recorded_spans(recorder, [(Step(None), 0)])
               for text in table.frame["attributes"]}  # fmt: skip
    assert told == 8, "where nobody says otherwise it is what the framework was told"


def test_a_runtime_s_clock_may_put_the_end_of_a_span_beyond_its_own() -> None:
    recorder = Recorder()
    predict = recorder.wrap(time.sleep, recorder.intern("predict x", "model", {"mlms.batch_size": 8}))
    rows = []
    for size in (2, 3):
        start = perf_counter_ns()
        predict(0.002)
        rows.append((start, perf_counter_ns() - 1_000_000, size))
    frame = concat(list(recorded_spans(recorder, [(Step(None), 0)], (predicted(rows),)))).frame
    assert [json.loads(text)["mlms.batch_size"] for text in frame["attributes"]] == [2, 3]


def test_spans_made_of_times_have_the_sizes_too() -> None:
    made = prediction_spans(Step(None), "x", predicted([(10, 20, 3), (20, 30, 1)]))
    found = [json.loads(text) for text in made.frame["attributes"]]
    assert found == [{"mlms.query": 0, "mlms.batch_size": 3}, {"mlms.query": 1, "mlms.batch_size": 1}]
