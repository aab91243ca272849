"""What holds for all tests."""

import os
import signal

import pytest

# Two processes of tests share two cores, so a second thread of either mostly waits for one, and by default does that
# busily: half of the processor time of many tests went there. Read when NumPy and PyTorch are imported, here and in the
# programs under test; PyTorch has as many threads as ever.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> None:
    """A job in the background of a script is started with Ctrl-C ignored, and so would be the programs under test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that in the end no process waits long for the other."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
