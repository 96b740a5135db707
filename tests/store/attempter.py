"""Logins from processes of their own: what the crash and concurrency tests start.

``attempter.py guess DATABASE COUNT NAME…`` begins as many attempts at each name and prints each
name that it was let to try. ``attempter.py killed DATABASE ROUNDS`` kills a process that logs in
again and again, each time at a random moment, and prints how often it had been accepted.
``attempter.py taken DATABASE ROUNDS`` kills a process that takes over what an earlier version kept,
each time at a random moment, and prints how often it had not finished. ``attempter.py forks
DATABASE COUNT`` forks as often while threads log in, lets each child begin an attempt, and prints
how long the slowest child took.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from membrane.errors import LockedOut
from membrane.store.sqlite_login_state import SqliteLoginState

LONGEST_CHILD_S = 20
"""Seconds after which a child is stuck."""

LONGEST_LIFE_LOGINS = 4
"""A kill finds the process anywhere between its first write and about its fourth login."""


def guess(database: Path, count: int, names: list[str]) -> None:
    logins = SqliteLoginState(database, lock_timeout_s=120)
    for name in names * count:
        try:
            logins.begin(name)
        except LockedOut:
            continue
        sys.stdout.write(name + "\n")
        sys.stdout.flush()


def killed(database: Path, rounds: int) -> int:
    # What is imported late is imported now, and the time of a login is known.
    log_in(SqliteLoginState(database), 0)
    start = time.perf_counter()
    log_in(SqliteLoginState(database), 1)
    longest_life_s = LONGEST_LIFE_LOGINS * (time.perf_counter() - start)
    chance = random.Random(5)
    accepted = 0
    for _ in range(rounds):
        accepted += _life(database, chance.uniform(0, longest_life_s))
    return accepted


def log_in(logins: SqliteLoginState, number: int) -> None:
    turn = logins.begin("ada")
    logins.remember_prompt("ada", str(number))
    logins.succeed(turn, b"%d" % number)


def _life(database: Path, life_s: float) -> int:
    """Return how many logins of a process were accepted before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # A failure that a kill left must not end the loop after five of them.
        SqliteLoginState(database).unlock("ada")
        for number in itertools.count():
            log_in(SqliteLoginState(database), number)
            os.write(writing, b".")
    os.close(writing)
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # Each time it is a sound file that is left.
    logins = SqliteLoginState(database, lock_timeout_s=60)
    state = logins.state_of("ada")
    if len(state["failures"]) > 1 or not state["recent_recordings"]:
        raise SystemExit(f"a kill left {state}")
    with os.fdopen(reading, "rb") as dots:
        return len(dots.read())


def taken(database: Path, rounds: int) -> int:
    kept = {path: path.read_bytes() for path in database.parent.rglob("*") if path.is_file()}
    chance = random.Random(6)
    start = time.perf_counter()
    expected = SqliteLoginState(database).state_of("ada")
    longest_life_s = 1.2 * (time.perf_counter() - start)
    unfinished = 0
    for _ in range(rounds):
        _put_back(database, kept)
        child = os.fork()
        if not child:
            SqliteLoginState(database).state_of("ada")
            os._exit(0)
        time.sleep(chance.uniform(0, longest_life_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        unfinished += any(path.exists() for path in kept)
        state = SqliteLoginState(database).state_of("ada")
        if state != expected or any(path.exists() for path in kept):
            raise SystemExit(f"a kill left {state} in {list(database.parent.rglob('*'))}")
    return unfinished


def _put_back(database: Path, kept: dict[Path, bytes]) -> None:
    for path in database.parent.glob(f"{database.name}.logins.sqlite*"):
        path.unlink()
    for path, content in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def forks(database: Path, count: int) -> float:
    logins = SqliteLoginState(database, lock_timeout_s=60)
    ended, slowest = threading.Event(), 0.0

    def hammer(name: str) -> None:
        while not ended.is_set():
            logins.succeed(logins.begin(name), b"recording")
            logins.state_of(name)

    threads = [threading.Thread(target=hammer, args=(f"thread {one}",)) for one in range(4)]
    for thread in threads:
        thread.start()
    for number in range(count):
        start = time.perf_counter()
        child = os.fork()
        if not child:
            signal.alarm(LONGEST_CHILD_S)
            logins.begin(f"child {number}")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            os._exit(1)
        slowest = max(slowest, time.perf_counter() - start)
    ended.set()
    for thread in threads:
        thread.join()
    return slowest


if __name__ == "__main__":
    command, file, number, *others = sys.argv[1:]
    if command == "guess":
        guess(Path(file), int(number), others)
    else:
        does = {"killed": killed, "taken": taken, "forks": forks}[command]
        sys.stdout.write(str(does(Path(file), int(number))))
