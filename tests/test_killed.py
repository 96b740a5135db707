"""A login that is killed is never accepted, whenever that happens."""

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from membrane.errors import LockedOut
from membrane.store.joblib_store import JoblibStore
from membrane.store.lockout import FREE_FAILURES
from membrane.store.sqlite_login_state import SqliteLoginState
from tests.conftest import MEMBRANE

KILLS = 50
AT_ONCE = 2
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT]
PEOPLE = ["ada", "boris", "clara"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")


@pytest.fixture
def begin(environment, recording, words_of):
    """Begin a login that is accepted when it is left alone.

    Its answer goes to a file, so that no reader keeps it waiting.
    """

    def run(home, number=0):
        login = recording("ada", "login", number)
        arguments = ("-u", "ada", "-f", str(login), "--expect", words_of(login), "--json")
        with (home / "answer.json").open("w") as answer:
            process = subprocess.Popen(
                [*MEMBRANE, "verify", *arguments],
                env={**environment, "MEMBRANE_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.DEVNULL,
            )
        return SimpleNamespace(home=home, process=process)

    return run


def cpu_s(process):
    """Seconds of work that a process has done; unlike the clock, they know no other programs."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def answered_yes(login):
    """Whether a login has told that it is accepted, from the first letter to the last."""
    try:
        return json.loads((login.home / "answer.json").read_text())["accepted"] is True
    except ValueError:
        return False


@pytest.fixture
def home(enrolled, tmp_path):
    """Return a new home with ada, boris and clara in its database."""
    numbers = count()
    return lambda: Path(shutil.copytree(enrolled, tmp_path / f"home-{next(numbers)}"))


@pytest.fixture
def work_s(begin, home):
    """Seconds of work of a login that is left alone."""
    login = begin(home())
    os.waitid(os.P_PID, login.process.pid, os.WEXITED | os.WNOWAIT)  # its numbers stay to be read
    work = cpu_s(login.process)
    assert login.process.wait() == 0
    assert answered_yes(login)
    return work


@pytest.fixture
def kill_all(begin, home, work_s):
    """Send each signal to a login of its own, one after another deeper into its work."""

    def kill(place):
        number, number_of_all, by = place
        login = begin(home())
        limit_s = 1.1 * work_s * number / (number_of_all - 1)
        while login.process.poll() is None and cpu_s(login.process) < limit_s:
            time.sleep(0.002)
        login.process.send_signal(by)
        login.code = login.process.wait(timeout=60)
        return login

    def run(signals):
        places = [(number, len(signals), by) for number, by in enumerate(signals)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(kill, places))

    return run


def test_login_killed_at_50_points_is_never_accepted_and_breaks_nothing(begin, kill_all):
    logins = kill_all([signal.SIGKILL] * KILLS)
    codes = [login.code for login in logins]
    assert set(codes) <= {0, -signal.SIGKILL}
    assert codes.count(-signal.SIGKILL) > KILLS // 2, "the kills must find logins at work"
    for login in logins:
        assert login.code != 0 or answered_yes(login)
        store = JoblibStore(login.home / "voiceprints.joblib")
        assert sorted(store.gallery().names()) == PEOPLE
    for login in logins[:: KILLS // 5]:
        again = begin(login.home, 1)
        assert again.process.wait() == 0, (
            "what a killed login leaves behind must not hold others up"
        )


def test_login_that_crashes_or_is_told_to_end_is_never_accepted(kill_all):
    logins = kill_all(SIGNALS * 4)
    assert all(login.code != 0 or answered_yes(login) for login in logins)
    assert sum(login.code != 0 for login in logins) > len(logins) // 2


def test_killing_what_judges_gives_no_further_guess(begin, enrolled, program, recording):
    database = enrolled / "voiceprints.joblib"
    logins = SqliteLoginState(database)
    # Until the log is free they can be judged, but nobody is told.
    with FileLock(f"{database}.log.lock"):
        for failed in range(FREE_FAILURES):
            login = begin(enrolled)
            while (
                login.process.poll() is None and len(logins.state_of("ada")["failures"]) == failed
            ):
                time.sleep(0.005)
            login.process.kill()
            assert login.process.wait() == -signal.SIGKILL
    refused = program("verify", "-u", "ada", "-f", str(recording("ada", "login", 1)))
    assert (refused.returncode, refused.stdout) == (LockedOut.exit_code, "")
    assert "ada" in refused.stderr
