from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.reports.format import plain, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("resnet50", "resnet50"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("nul\x00del\x7f", "nul\\x00del\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("half \ud800", "half \\ud800"),
        ("Zürich 数字", "Zürich 数字"),
    ],
)
def test_plain_shows_what_would_steer_the_reader(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(1, 250))
def test_plain_is_printable_encodable_and_settled(text: str, longest: int) -> None:
    shown = plain(text, longest)
    shown.encode("utf-8")
    assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in shown)
    assert plain(shown, 10_000) == shown
    assert len(plain("x" * len(text), longest)) <= longest


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (24 * 2**30, "24.0 GiB"), (2**50, "1,024.0 TiB")],
)
def test_size(octets: int, text: str) -> None:
    assert size(octets) == text
