"""What holds for all tests."""

import os
import signal

import pytest

# Before NumPy is imported: a product's second thread has no core of its own beside the other process of tests, and
# mostly waits for one, busily. Half of the processor time of the simulations went there.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> None:
    """A job in the background of a script is started with Ctrl-C ignored, and so would be the programs under test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
