"""The kinds of activity that can be traced."""

from enum import IntEnum


class Kind(IntEnum):
    """What can be traced; a value is the number of CUPTI's activity kind.

    DRIVER and RUNTIME, calls of either API that put work on a device, wait for it or allocate, are taken by callbacks
    rather than as CUPTI's records. The runtime's end in the driver's, with the same correlation id.
    """

    MEMCPY = 1
    MEMSET = 2
    DRIVER = 4
    RUNTIME = 5
    KERNEL = 10
    MARKER = 12
    OVERHEAD = 17
    PEER_COPY = 22
    SYNCHRONIZATION = 38
    MEMORY = 49


#: What a trace holds unless asked otherwise: work on the device, and the driver calls behind it, with their spans.
DEFAULT_KINDS = (
    Kind.KERNEL,
    Kind.MEMCPY,
    Kind.MEMSET,
    Kind.PEER_COPY,
    Kind.DRIVER,
    Kind.OVERHEAD,
)
