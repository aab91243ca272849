from collections import defaultdict
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from fakes.span_tables import span, table
from mlms.tracing.paths import fold
from mlms.tracing.structure import structure

SPAN = st.tuples(st.integers(-1, 25), st.sampled_from("abc"), st.integers(0, 60), st.integers(0, 40))


@given(st.lists(SPAN, max_size=25))
def test_folding_is_grouping_by_the_names_from_the_root(drawn: list[tuple[int, str, int, int]]) -> None:
    rows = [
        span(number, parent if parent >= 0 else None, name, "model", begin, begin + took, {})
        for number, (parent, name, begin, took) in enumerate(drawn)
    ]
    tree = structure(table(rows))
    grouped: dict[tuple[str, ...], list[int]] = defaultdict(list)
    own: dict[tuple[str, ...], int] = defaultdict(int)
    for number in range(len(drawn)):
        stack, step = [], number
        while step >= 0:
            stack.append(drawn[step][1])
            step = int(tree.parent[step])
        begin, took = drawn[number][2:]
        children = [row for at, row in enumerate(drawn) if tree.parent[at] == number]
        inside = sum(max(0, min(b + t, begin + took) - max(b, begin)) for _, _, b, t in children)
        grouped[tuple(reversed(stack))].append(took)
        own[tuple(reversed(stack))] += max(0, took - inside)
    paths = fold(tree)
    found = {}
    for path in range(len(paths.parent)):
        stack, step = [], path
        while step >= 0:
            assert paths.parent[step] < step
            stack.append(tree.names[paths.name[step]])
            step = int(paths.parent[step])
        found[tuple(reversed(stack))] = (paths.count[path], paths.total_ns[path], paths.median_ns[path])
        assert paths.self_ns[path] == own[tuple(reversed(stack))]
    assert found == {stack: (len(times), sum(times), median(times)) for stack, times in grouped.items()}


def test_a_loop_of_parents_and_a_parent_elsewhere_are_roots() -> None:
    rows = [span(0, 1, "a", "model", 0, 1, {}), span(1, 0, "b", "model", 0, 1, {}), span(2, 99, "c", "model", 0, 1, {})]
    tree = structure(table(rows))
    assert tree.parent.tolist() == [-1, -1, -1]
    assert fold(tree).count.tolist() == [1, 1, 1]
