import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes import work
from mlms import api
from mlms.api.evaluating import open_session
from mlms.errors import InputError, Place, ProcessError
from mlms.executor.child import portable
from mlms.executor.isolation import in_fresh_process
from mlms.executor.session import Session
from mlms.progress import Advance


class Shown:
    """A display that keeps what it shows."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def task(self, description: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        done = 0

        def advance(amount: int) -> None:
            nonlocal done
            done += amount

        yield advance
        self.lines.append(f"{description}: {done} of {total} {unit}")

    def warn(self, message: str) -> None:
        self.lines.append(f"warning: {message}")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return open_session((), api.Settings(output=tmp_path), Shown())


def lines(session: Session) -> list[str]:
    assert isinstance(session.progress, Shown)
    return session.progress.lines


def test_it_returns_what_the_work_returns_and_shows_its_progress(
    session: Session, capfd: pytest.CaptureFixture[str]
) -> None:
    process, output = in_fresh_process(work.report, session, "x")
    assert process != os.getpid()
    assert output == session.output
    assert lines(session) == ["counting: 3 of 3 numbers", "warning: that was it"]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "a word on standard output\n")


def test_errors_come_back_whole(session: Session) -> None:
    with pytest.raises(InputError) as caught:
        in_fresh_process(work.refuse, session, "x")
    assert (caught.value.message, caught.value.hint) == ("too small", "take a bigger one")
    assert caught.value.place == Place("numbers.yaml", 3, 4)


def test_a_bug_comes_back_with_its_traceback(session: Session) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)in the process of 'x':.*in blunder.*Unsayable: 1 and 2"):
        in_fresh_process(work.blunder, session, "x")


def test_a_death_is_named_with_what_was_going_on(session: Session) -> None:
    with pytest.raises(ProcessError, match=r"the process of 'x' was ended by SIGTERM \(Terminated\), while dying"):
        in_fresh_process(work.die, session, "x")


def test_a_timeout_ends_it(session: Session) -> None:
    start = time.monotonic()
    with pytest.raises(ProcessError, match=r"'x' did not end within its timeout of 4 s and was killed"):
        in_fresh_process(work.sleep, session, "x", timeout=4)
    assert 4 <= time.monotonic() - start < 10


def test_nothing_it_started_stays_behind(session: Session) -> None:
    left = in_fresh_process(work.linger, session, "x")
    deadline = time.monotonic() + 10
    while Path(f"/proc/{left}").exists():  # until whoever adopted it has noticed its end
        state = Path(f"/proc/{left}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_this_process_sleeps_meanwhile(session: Session) -> None:
    before = time.process_time()
    with pytest.raises(ProcessError):
        in_fresh_process(work.sleep, session, "x", timeout=4)
    assert time.process_time() - before < 0.4


def test_an_error_that_can_t_travel_says_the_same() -> None:
    kept = InputError("wrong", hint="right")
    assert portable(kept) is kept
    replaced = portable(work.Unsayable(1, 2))
    assert type(replaced) is RuntimeError
    assert str(replaced) == "Unsayable: 1 and 2"
