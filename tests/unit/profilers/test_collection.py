import gc

from mlms.profilers.collection import Collection


def make_garbage() -> None:
    for _ in range(5000):
        ring: list[object] = []
        ring.append(ring)


def test_the_collector_is_off_and_on_again() -> None:
    assert gc.isenabled()
    with Collection("disabled") as collection:
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
        make_garbage()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert collection.describe() == {"mode": "disabled", "collections": 0, "paused_ns": 0}
    assert collection._note not in gc.callbacks


def test_one_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with Collection("disabled"):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_pauses_are_timed() -> None:
    with Collection("enabled") as collection:
        make_garbage()
        gc.collect()
    assert len(collection.pauses) >= 1
    assert all(end > start for start, end in collection.pauses)
    assert collection.describe()["paused_ns"] == sum(end - start for start, end in collection.pauses)


def test_a_collection_by_the_model_itself_counts() -> None:
    with Collection("disabled") as collection:
        gc.collect()
    assert len(collection.pauses) == 1
