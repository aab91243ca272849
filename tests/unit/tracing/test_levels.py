import pytest

from mlms.tracing.levels import LEVELS, depth


def test_each_level_is_deeper_than_the_one_before() -> None:
    assert [depth(level) for level in LEVELS] == list(range(8))
    assert depth("application") < depth("model") < depth("hardware")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel"):
        depth("kernel")
