import pytest

from mlms.builtins.readers.targets import class_indices
from mlms.errors import DataError, Place


@pytest.mark.parametrize("labels", [None, ("dog", "cat")])
def test_an_index_of_more_digits_than_a_number_has(labels: tuple[str, ...] | None) -> None:
    with pytest.raises(DataError, match=r"labels\.csv:2: there is no class 9{18}\.\.\."):
        class_indices(["9" * 5000], labels, [Place("labels.csv", 2)])
