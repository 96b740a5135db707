"""Writes to a store from processes of its own: what the crash and concurrency tests start.

``writer.py enrol FILE PREFIX COUNT`` enrols people one after another and prints each name once
it is stored. ``writer.py killed FILE ROUNDS`` kills such a process at a random moment, again and
again, and prints what became of the people as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from membrane.store.joblib_store import JoblibStore
from membrane.store.voiceprint import EnrolledUtterance, RecordedQuality, Voiceprint

LONGEST_LIFE_WRITES = 6
"""A kill finds the writer anywhere between the start of its first write and about its sixth."""


def utterance(seed: int = 0) -> EnrolledUtterance:
    """Return an utterance with a random vector."""
    vector = np.random.default_rng(seed).normal(size=256)
    return EnrolledUtterance(
        vector=(vector / np.linalg.norm(vector)).astype(np.float32),
        norm=0.9,
        partials=3,
        recorded_at="2026-11-21T10:00:00+00:00",
        quality=RecordedQuality(2.5, 20.0, -23.5, 0.0),
        device="USB microphone",
        source="microphone",
    )


def person(name: str, seed: int = 0, utterances: int = 1, **facts: str) -> Voiceprint:
    """Return a person with random utterances."""
    encoder = facts.pop("encoder", "resemblyzer")
    spoken = [utterance(seed * 100 + number) for number in range(utterances)]
    return replace(Voiceprint.of(name, encoder, spoken), **facts)


def enrol(path: Path, prefix: str, count: int) -> None:
    store = JoblibStore(path, lock_timeout_s=60)
    for number in range(count):
        voiceprint = person(f"{prefix} {number}", number)
        store.add(voiceprint)
        sys.stdout.write(voiceprint.name + "\n")
        sys.stdout.flush()


def killed(path: Path, rounds: int) -> dict[str, int]:
    # The first write imports what all the children then have, the second one is timed.
    JoblibStore(path).add(person("First"))
    start = time.perf_counter()
    JoblibStore(path).add(person("Second"))
    longest_life_s = LONGEST_LIFE_WRITES * (time.perf_counter() - start)
    acknowledged = {"First", "Second"}
    chance = random.Random(7)
    interrupted = 0
    for number in range(rounds):
        life_s = chance.uniform(0, longest_life_s)
        acknowledged |= _life_of_a_writer(path, f"round {number}", life_s)
        interrupted += path.with_name(path.name + ".new").exists()
        found = set(JoblibStore(path).gallery().names())
        if not acknowledged <= found:
            raise SystemExit(f"lost {acknowledged - found}")
    return {
        "acknowledged": len(acknowledged),
        "found": len(found),
        "interrupted": interrupted,
    }


def _life_of_a_writer(path: Path, prefix: str, life_s: float) -> set[str]:
    """Return whose enrolment a writer acknowledged before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        store = JoblibStore(path)
        for number in itertools.count():
            voiceprint = person(f"{prefix} {number}", number)
            store.add(voiceprint)
            os.write(writing, voiceprint.name.encode() + b"\n")
    os.close(writing)
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as names:
        return set(names.read().splitlines())


if __name__ == "__main__":
    command, file, *arguments = sys.argv[1:]
    if command == "enrol":
        enrol(Path(file), arguments[0], int(arguments[1]))
    else:
        sys.stdout.write(json.dumps(killed(Path(file), int(arguments[0]))))
