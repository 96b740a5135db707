"""The place where a process judges one file after another, under limits and watched."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

from benchmarks.hostile_files.judging import outcome_of
from benchmarks.hostile_files.mutants import Mutant
from benchmarks.hostile_files.stored import DATABASE, ENDINGS, KEY, LOG, LOGINS, SEALED
from membrane.store import keys
from membrane.store.database_file import previous_of

CPU_S = 2.0
"""Seconds of processor that a file may take: on a busy machine the clock on the wall says less."""

MEMORY = 1536 << 20
"""Bytes of address space beyond what the modules and networks take."""

EXPECTED = {
    *(f"file{ending}" for ending in ENDINGS.values()),
    *(f"file{ENDINGS[kind]}.lock" for kind in (LOGINS, LOG)),
    previous_of(Path("file")).name,
}
"""Files that may be in the folder after a command: locks stay."""

KILOBYTES_OF_MB = 1024


class Desk:
    """Files are judged here.

    Parameters
    ----------
    folder : Path
        An empty one, in which also what a command leaves behind would be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        tempfile.tempdir = str(folder)
        os.environ.update(KEY)
        # What a library prints is shown to a person as more than the one line.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        sys.stdout.flush()
        sys.stderr.flush()
        for stream in (1, 2):
            os.dup2(self._printed.fileno(), stream)
        warnings.simplefilter("always")

    def set_limits(self) -> None:
        """Hold this process within its limits from now on: it has loaded what it needs."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def judge(self, file: Mutant) -> tuple[str, str, float, float]:
        """Judge a file; a signal ends the process if that takes too long.

        Returns
        -------
        outcome, problem : str
            As `judging.outcome_of` returns them; what is left behind is a problem, too.
        cpu_s : float, seconds
        grown_mb : float, MB
            By how much the process held more than ever before.
        """
        path = self._laid_out(file)
        keys.forget()
        descriptors, held, started = _descriptors(), _most_held(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        outcome, problem = outcome_of(file.kind, path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        cpu_s = time.process_time() - started
        problem = problem or self._left_behind(descriptors)
        return outcome, problem, cpu_s, (_most_held() - held) / KILOBYTES_OF_MB

    def _laid_out(self, file: Mutant) -> Path:
        """Write a file, and those that go with it; return where it is."""
        for other in self._folder.iterdir():
            other.unlink()
        database = self._folder / "file"
        for ending, content in file.beside.items():
            (self._folder / f"file{ending}").write_bytes(content)
        if file.kind in {DATABASE, SEALED}:
            # The remedy looks at the copy before this one, which may be as hostile.
            previous_of(database).write_bytes(file.content)
        path = self._folder / f"file{ENDINGS.get(file.kind, '')}"
        path.write_bytes(file.content)
        return path

    def _left_behind(self, descriptors: set[str]) -> str:
        if opened := _descriptors() - descriptors:
            return f"left a file open: {', '.join(map(_target, opened))}"
        others = {path.name for path in self._folder.iterdir()} - EXPECTED
        if others:
            return f"left files behind: {others}"
        sys.stderr.flush()
        sys.stdout.flush()
        if size := self._printed.seek(0, os.SEEK_END):
            self._printed.seek(0)
            text = self._printed.read(size).decode(errors="replace")
            self._printed.truncate(0)
            return f"printed {text[:200]!r}"
        return ""


def _descriptors() -> set[str]:
    """Return the numbers of the open files, and that of the folder that tells them."""
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - three times as fast


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return "closed since"


def _most_held() -> int:
    """Return the most memory that this process ever held, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
