"""How text from elsewhere is made safe to show, and sizes; other figures read as ``mlms.runs.summary`` has them."""

from __future__ import annotations

import unicodedata

LONGEST = 200

_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: object, longest: int = LONGEST) -> str:
    r"""Text that can't steer a terminal or a browser and keeps to a length.

    Controls, lone surrogates and the marks that turn the direction of writing are shown as escapes; white space other
    than blanks becomes a blank; what is over ``longest`` characters is cut, with an ellipsis.

    >>> plain("a\x1b[31mb\n"), plain("abcdef", 4)
    ('a\\x1b[31mb ', 'abc…')
    """
    whole = str(text)
    cut = whole if len(whole) <= longest else whole[: longest - 1] + "…"
    return "".join(map(_plain_character, cut))


def _plain_character(character: str) -> str:
    if character in "\t\n\r\v\f\u2028\u2029\x85":
        return " "
    if character in _BIDI or unicodedata.category(character) in ("Cc", "Cs"):
        code = ord(character)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return character


def size(octets: float) -> str:
    """Bytes in binary units.

    >>> size(25769803776), size(39720), size(12)
    ('24.0 GiB', '38.8 KiB', '12 B')
    """
    value, unit = float(octets), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:,.1f} {unit}"
