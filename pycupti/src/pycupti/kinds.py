"""The kinds of activity that can be traced."""

from enum import IntEnum


class Kind(IntEnum):
    """CUPTI's activity kinds that this package decodes; a value is CUPTI's own number."""

    MEMCPY = 1
    MEMSET = 2
    DRIVER = 4
    RUNTIME = 5
    KERNEL = 10
    MARKER = 12
    OVERHEAD = 17
    PEER_COPY = 22
    SYNCHRONIZATION = 38
    CORRELATION = 39
    MEMORY = 49


#: What a trace holds unless asked otherwise: work on the device, the calls that launched it, and the link to spans.
DEFAULT_KINDS = (
    Kind.KERNEL,
    Kind.MEMCPY,
    Kind.MEMSET,
    Kind.PEER_COPY,
    Kind.RUNTIME,
    Kind.DRIVER,
    Kind.CORRELATION,
    Kind.OVERHEAD,
)
