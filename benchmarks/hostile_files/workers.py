"""Processes that may die: each judges some files under limits, and another goes on after it.

What a limit of the system ends is ended by a signal, so that nothing in the process could hide it.
"""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from benchmarks.hostile_files.desk import CPU_S, Desk
from benchmarks.hostile_files.mutants import Mutant, mutant
from benchmarks.hostile_files.seeds import Seed
from benchmarks.hostile_files.stored import ENDINGS

WALL_S = 60.0
"""Seconds after which whoever still waits is taken to wait for ever."""

BATCH = 1000
"""Files a process; a new one starts with clean memory."""

WARMING_UP = (*ENDINGS, "WAV", "FLAC", "MP3", "OGG", "OPUS")
"""Sound files of these kinds load every module and network, which is not counted."""

DIED = "died"


@dataclass(frozen=True)
class Report:
    """How one file ended.

    Parameters
    ----------
    number : int
        Which file.
    kind : str
    outcome : str
        What it ended in: `judging.FINE`, the name of an error, or `DIED`.
    problem : str
        What is wrong with that; empty if nothing is.
    cpu_s : float, seconds
    grown_mb : float, MB
        By how much the process held more than ever before.
    """

    number: int
    kind: str
    outcome: str
    problem: str = ""
    cpu_s: float = 0.0
    grown_mb: float = 0.0


@dataclass
class Worker:
    """A process, what it is to judge, and what is heard of it."""

    process: ForkProcess
    reports: Connection
    numbers: range
    heard_at: float


class Workers:
    """Judges files in processes of its own.

    Parameters
    ----------
    seeds : dict of str to list of Seed
    seed : int
    count : int
        Processes at a time.
    folder : str
        For their files; those who die leave theirs there.
    """

    def __init__(self, seeds: dict[str, list[Seed]], seed: int, *, count: int, folder: str) -> None:
        self._seeds = seeds
        self._seed = seed
        self._count = count
        self._folder = folder
        self._waiting: deque[range] = deque()
        self._running: dict[Connection, Worker] = {}

    def judge(self, numbers: range) -> Iterator[Report]:
        """Yield how each file ended, in the order in which they do."""
        self._waiting.extend(
            numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)
        )
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._count:
                self._start(self._waiting.popleft())
            for reports in wait(list(self._running), timeout=1.0):
                yield from self._heard(self._running[reports])
            self._end_those_that_wait()

    def _start(self, numbers: range) -> None:
        reports, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(
            target=_work, args=(self._seeds, self._seed, numbers, theirs, self._folder)
        )
        process.start()
        theirs.close()
        self._running[reports] = Worker(process, reports, numbers, time.monotonic())

    def _heard(self, worker: Worker) -> Iterator[Report]:
        worker.heard_at = time.monotonic()
        try:
            report = worker.reports.recv()
        except EOFError:
            yield from self._ended(worker)
            return
        worker.numbers = worker.numbers[1:]
        yield report

    def _ended(self, worker: Worker) -> Iterator[Report]:
        """Report the file that a process died of, if it did, and let another one go on."""
        worker.process.join()
        worker.reports.close()
        del self._running[worker.reports]
        if not worker.numbers:
            return
        number, rest = worker.numbers[0], worker.numbers[1:]
        if rest:
            self._waiting.appendleft(rest)
        kind = mutant(self._seeds, self._seed, number).kind
        yield Report(number, kind, DIED, _cause(worker.process.exitcode))

    def _end_those_that_wait(self) -> None:
        for worker in self._running.values():
            if time.monotonic() - worker.heard_at > WALL_S:
                worker.process.kill()


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"ended with exit code {exit_code}"
    if -exit_code == signal.SIGPROF:
        return f"took more than {CPU_S:g} s of processor"
    if -exit_code == signal.SIGKILL:
        return f"killed: no answer for {WALL_S:g} s, or out of memory"
    return f"killed by {signal.Signals(-exit_code).name}"


def _work(
    seeds: dict[str, list[Seed]], seed: int, numbers: range, reports: Connection, folder: str
) -> None:
    """Judge files until all are done, or one ends the process."""
    desk = Desk(Path(tempfile.mkdtemp(dir=folder)))
    for kind in WARMING_UP:
        sound = seeds[kind][0]
        desk.judge(Mutant(kind, (), sound.content, sound.beside))
    desk.set_limits()
    for number in numbers:
        file = mutant(seeds, seed, number)
        reports.send(Report(number, file.kind, *desk.judge(file)))
