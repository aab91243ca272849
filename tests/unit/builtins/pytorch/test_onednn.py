"""oneDNN's verbose output."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.builtins.pytorch.onednn import Operators, Primitive, located, parsed

CONVOLUTION = (
    "onednn_verbose,v1,1795676446641.092041,primitive,exec,cpu,convolution,jit:avx2,forward_training,"
    "src:f32:a:blocked:abcd::f0 wei:f32:a:blocked:Acdb8a::f0 bia:undef::undef::: dst:f32:a:blocked:aBcd8b::f0,"
    "attr-scratchpad:user,alg:convolution_direct,mb1_ic3oc64_ih224oh112kh7sh2dh0ph3,1.25\n"
)
OLDER = (
    "onednn_verbose,1795676446641.092041,exec,cpu,reorder,jit:uni,undef,"
    "src_f32::blocked:abcd:f0 dst_f32::blocked:Acdb8a:f0,attr-scratchpad:user ,,64x3x7x7,0.5\n"
)


def test_a_line_of_today() -> None:
    found = parsed(CONVOLUTION)
    assert found is not None
    assert (found.start, found.end - found.start) == (pytest.approx(1_795_676_446_641_092_041, abs=300), 1_250_000)
    assert found.name == "oneDNN convolution"
    assert found.attributes["mlms.library.implementation"] == "jit:avx2"
    assert found.attributes["mlms.library.algorithm"] == "convolution_direct"
    assert found.attributes["mlms.library.problem"] == "mb1_ic3oc64_ih224oh112kh7sh2dh0ph3"


def test_a_line_of_before_3_1() -> None:
    found = parsed(OLDER)
    assert found is not None
    assert found.attributes["mlms.library.primitive"] == "reorder"
    assert "mlms.library.algorithm" not in found.attributes
    assert found.end - found.start == 500_000


@pytest.mark.parametrize(
    "line",
    [
        "onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71)",
        "onednn_verbose,v1,1795676446641.0,primitive,create:cache_miss,cpu,convolution,jit:avx2,x,y,z,a,b,1.0",
        "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward,src,attr,alg,problem,1.0",
        "onednn_verbose,v1,1795676446641.0,primitive,exec,cpu,convolution",
        "onednn_verbose,v1,1795676446641.0,primitive,exec,cpu,convolution,jit,forward,src,attr,alg,problem,soon",
    ],
    ids=["about the library", "a creation", "without a time stamp", "cut off", "no number"],
)
def test_other_lines_are_no_primitives(line: str) -> None:
    assert parsed(line) is None


def test_the_innermost_operator_is_the_one() -> None:
    operators = Operators([0, 10, 12, 40], [100, 30, 14, 60])
    assert [operators.innermost(moment) for moment in (5, 11, 13, 20, 35, 50, 99)] == [0, 1, 2, 1, 0, 3, 0]
    assert operators.innermost(101) is None
    assert operators.innermost(-1) is None


def test_a_primitive_keeps_clear_of_what_else_runs_in_its_operator() -> None:
    operators = Operators([0, 10, 50], [100, 20, 60])
    found = [operators.fit(0, Primitive(start, end, "", {})) for start, end in [(18, 30), (29, 52), (58, 120)]]
    assert found == [(20, 30), (30, 50), (60, 100)]


def test_of_two_threads_the_shortest_operator_is_taken() -> None:
    threads = {1: Operators([0], [100]), 2: Operators([10, 20], [90, 40])}
    (one,) = located([Primitive(22, 30, "", {})], threads)
    assert one == (0, 2, 22, 30)
    assert list(located([Primitive(200, 210, "", {})], threads)) == []


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), max_size=20))
def test_whatever_the_clocks_say_primitives_lie_in_their_operator_one_after_another(
    told: list[tuple[int, int]],
) -> None:
    operators = {1: Operators([0, 20, 50, 52], [100, 30, 70, 60])}
    primitives = [Primitive(start, start + took, "", {}) for start, took in sorted(told)]
    placed: dict[int | None, list[tuple[int, int]]] = {}
    for position, _, start, end in located(primitives, operators):
        middle = (primitives[position].start + primitives[position].end) // 2
        placed.setdefault(operators[1].innermost(middle), []).append((start, end))
    for place, intervals in placed.items():
        low, high = {0: (0, 100), 1: (20, 30), 2: (50, 70), 3: (52, 60)}[place or 0]
        assert all(low <= start <= end <= high for start, end in intervals)
        assert all(before[1] <= after[0] for before, after in pairwise(intervals))
