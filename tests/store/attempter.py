"""Attempts from processes of their own: what the crash and concurrency tests start.

``attempter.py guess DATABASE COUNT NAME…`` begins as many attempts at each name and prints each
name that it was let to try. ``attempter.py killed DATABASE ROUNDS`` kills a process that logs in
again and again, each time at a random moment, and prints how often it had been accepted.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from membrane.errors import LockedOut
from membrane.store.attempts import Attempts

LONGEST_LIFE_LOGINS = 4
"""A kill finds the process anywhere between its first write and about its fourth login."""


def guess(database: Path, count: int, names: list[str]) -> None:
    attempts = Attempts(database, lock_timeout_s=120)
    for name in names * count:
        try:
            attempts.begin(name)
        except LockedOut:
            continue
        sys.stdout.write(name + "\n")
        sys.stdout.flush()


def killed(database: Path, rounds: int) -> int:
    # What is imported late is imported now, and the time of a login is known.
    log_in(Attempts(database), 0)
    start = time.perf_counter()
    log_in(Attempts(database), 1)
    longest_life_s = LONGEST_LIFE_LOGINS * (time.perf_counter() - start)
    chance = random.Random(5)
    accepted = 0
    for _ in range(rounds):
        accepted += _life(database, chance.uniform(0, longest_life_s))
    return accepted


def log_in(attempts: Attempts, number: int) -> None:
    turn = attempts.begin("ada")
    attempts.remember_prompt("ada", str(number))
    attempts.succeed(turn, b"%d" % number)


def _life(database: Path, life_s: float) -> int:
    """Return how many logins of a process were accepted before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # A failure that a kill left must not end the loop after five of them.
        Attempts(database).unlock("ada")
        for number in itertools.count():
            log_in(Attempts(database), number)
            os.write(writing, b".")
    os.close(writing)
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # Each time it is a sound file that is left.
    attempts = Attempts(database, lock_timeout_s=60)
    state = attempts.state_of("ada")
    if len(state["failures"]) > 1 or not state["recent_recordings"]:
        raise SystemExit(f"a kill left {state}")
    with os.fdopen(reading, "rb") as dots:
        return len(dots.read())


if __name__ == "__main__":
    command, file, number, *others = sys.argv[1:]
    if command == "guess":
        guess(Path(file), int(number), others)
    else:
        sys.stdout.write(str(killed(Path(file), int(number))))
