import subprocess
import sys

from mlms.profilers.noise import find_noise


def test_every_finding_says_what_and_a_noisy_one_the_mend() -> None:
    found = find_noise(0.2)
    assert len({finding.name for finding in found}) == len(found) >= 11
    for finding in found:
        assert finding.detail
        assert bool(finding.mend) == (finding.quiet is False)


def test_others_work_is_noticed() -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        (load,) = [finding for finding in find_noise(0.5) if finding.name == "other load"]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert load.quiet is False
    assert "end other work" in load.mend
