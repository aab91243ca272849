import time

import numpy as np

from mlms.profilers.usage import peak_rss, reset_peak_rss, usage


def test_cpu_time_is_this_process_s() -> None:
    before = usage()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert usage().since(before).cpu_s >= 0.04
    asleep = usage()
    time.sleep(0.1)
    assert usage().since(asleep).cpu_s < 0.05


def test_new_memory_faults_and_raises_the_peak() -> None:
    reset_peak_rss()
    low, before = peak_rss(), usage()
    size = 64 * 2**20
    block = np.ones(size, dtype=np.uint8)
    assert peak_rss() - low > 0.8 * size
    assert usage().since(before).minor_faults > 0
    del block
    high = peak_rss()
    reset_peak_rss()
    assert peak_rss() < high
