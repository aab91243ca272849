from __future__ import annotations

import pytest

from mlms.executor.outcome import exit_code


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([0, 0], 0), ([2, 2], 2), ([0, 2], 1), ([1, 2], 1), ([0, 1], 1), ([1], 1)]
)
def test_the_exit_code_of_a_sweep(codes: list[int], expected: int) -> None:
    assert exit_code(codes) == expected
