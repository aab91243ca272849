"""``_events.c``, built by ``hatch_build.py`` where that can be done."""

from mlms.tracing.events import Events as _Events

def Events() -> _Events: ...
