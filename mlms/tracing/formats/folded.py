"""Folded stacks, as flame-graph programs read them: ``root;child;leaf NANOSECONDS``, the leaf's own time."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

from mlms.tracing.paths import fold
from mlms.tracing.structure import structure

if TYPE_CHECKING:
    from mlms.tracing.spans import Spans

_UNFIT = re.compile(r"[;\s\x00-\x1f\x7f]+")


def write(spans: Spans, file: IO[bytes]) -> None:
    """Write a line for each path with time of its own. Semicolons, spaces and control characters become ``_``."""
    tree = structure(spans)
    paths = fold(tree)
    frames = [_UNFIT.sub("_", name).encode() or b"_" for name in tree.names]
    parent, name = paths.parent.tolist(), paths.name.tolist()
    for path, own in enumerate(paths.self_ns.tolist()):
        if own == 0:
            continue
        stack = []
        step = path
        while step >= 0:
            stack.append(frames[name[step]])
            step = parent[step]
        file.write(b";".join(reversed(stack)) + b" %d\n" % own)
