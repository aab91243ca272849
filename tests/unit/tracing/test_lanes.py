from hypothesis import given
from hypothesis import strategies as st

from fakes.span_tables import span, table
from mlms.tracing.lanes import lanes
from mlms.tracing.structure import structure

SPAN = st.tuples(st.integers(-1, 30), st.integers(0, 60), st.integers(0, 40), st.sampled_from(["model", "library"]))


@given(st.lists(SPAN, max_size=30))
def test_spans_of_a_lane_are_apart_or_nest_in_an_ancestor(drawn: list[tuple[int, int, int, str]]) -> None:
    rows = [
        span(number, parent if 0 <= parent < len(drawn) else None, f"s{number}", level, begin, begin + took, {})
        for number, (parent, begin, took, level) in enumerate(drawn)
    ]
    tree = structure(table(rows))
    layout = lanes(tree)
    assert len(layout.lane) == len(drawn)
    ancestors: list[set[int]] = []
    for number in range(len(drawn)):
        above, step = set(), int(tree.parent[number])
        while step >= 0:
            above.add(step)
            step = int(tree.parent[step])
        ancestors.append(above)
    for one in range(len(drawn)):
        for other in range(one):
            if layout.lane[one] != layout.lane[other]:
                continue
            apart = tree.end[one] <= tree.start[other] or tree.end[other] <= tree.start[one]
            inner, outer = (one, other) if other in ancestors[one] else (other, one)
            within = tree.start[outer] <= tree.start[inner] and tree.end[inner] <= tree.end[outer]
            assert apart or (within and outer in ancestors[inner])


def test_lanes_are_named_by_level() -> None:
    rows = [span(number, None, "q", "model", number, 100, {}) for number in range(3)]
    assert lanes(structure(table(rows))).names == ["model", "model 2", "model 3"]
