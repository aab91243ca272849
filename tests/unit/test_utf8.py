"""Text that UTF-8 can't hold."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlms.utf8 import escaped, storable

TEXT = st.text(st.characters())  # with surrogates
DATA = st.recursive(TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))


def test_odd_bytes_are_written_out() -> None:
    assert escaped(os.fsdecode(b"a\xff.png")) == "a\\udcff.png"
    assert storable({"\udcff": ("é", 1, None)}) == {"\\udcff": ["é", 1, None]}


@given(st.text())
def test_other_text_stays(text: str) -> None:
    assert escaped(text) == text


@given(DATA)
def test_all_of_it_can_be_written(data: Any) -> None:
    written = json.dumps(storable(data), ensure_ascii=False).encode("utf-8")
    assert json.loads(written) == storable(data)
