"""URLs as they may be shown: in records, reports, messages and hints, which people pass on."""

from __future__ import annotations

import re

HIDDEN = "…"

_USER = re.compile(r"([a-z][a-z0-9+.-]*://)?[^/?#]*@", re.IGNORECASE)
_UNESCAPED = re.compile(r"([a-z][a-z0-9+.-]*://)[^/?#@\[]*:(?!\d*([/?#]|$)).*@", re.IGNORECASE)
"""A password with a /, ? or # in it: no port begins so."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def shown(url: str) -> str:
    """``url`` without user, password and fragment, and with ``…`` for each value of its query: tokens stand there.

    It need not be well-formed; a gRPC target without a scheme is taken too.
    """
    place, mark, query = without_user(url).partition("#")[0].partition("?")
    return place + mark + re.sub("[^&;]+", _without_value, query)


def without_user(url: str) -> str:
    """``url`` without user and password."""
    for pattern in (_USER, _UNESCAPED):
        if found := pattern.match(url):
            return (found[1] or "") + url[found.end() :]
    return url


def shown_within(text: str) -> str:
    """``text`` with every URL in it as ``shown``."""
    return _URL.sub(lambda found: shown(found[0]), text)


def _without_value(part: re.Match[str]) -> str:
    key, mark, _ = part[0].partition("=")
    return f"{key}={HIDDEN}" if mark else HIDDEN
