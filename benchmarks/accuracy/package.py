"""The Resemblyzer package as it is shipped, in an environment of its own with torch."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.accuracy.systems import Floats, Task, cosines
from membrane.audio.utterance import Samples
from membrane.errors import EngineUnavailable

SCRIPT = Path(__file__).with_name("reference.py")


@cache
def started(python: str) -> subprocess.Popen[str]:
    """Return a process that embeds with the package; it lives as long as this one."""
    return subprocess.Popen(
        [python, "-W", "ignore", str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is answered by the first process alone
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def embedded(python: str, sounds: list[Samples]) -> Floats:
    """Return the vector of each sound, shape (sounds, 256); not-a-number where it has none.

    Raises
    ------
    EngineUnavailable
        If the package cannot be run.
    """
    process = started(python)
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "sounds.npz"
        np.savez(request, *sounds)
        try:
            print(request, file=process.stdin, flush=True)
        except BrokenPipeError:
            raise EngineUnavailable(died(python)) from None
        if not process.stdout.readline():
            raise EngineUnavailable(died(python))
        vectors: Floats = np.load(request.with_suffix(".npy"))
        return vectors


def died(python: str) -> str:
    """Return what to do when the package does not answer."""
    return f"the Resemblyzer package does not run in {python}: see above, then make parity"


class Package:
    """Cosine of a probe and the normalised mean of the enrolled utterances; no gate, no denoising.

    Parameters
    ----------
    python : Path
        Of the environment in which the package is installed.
    """

    name = "Resemblyzer package"
    sources = (
        "benchmarks/accuracy/package.py",
        "benchmarks/accuracy/reference.py",
        "requirements-reference.txt",
    )

    def __init__(self, python: Path) -> None:
        self.python = python

    @property
    def problem(self) -> str:
        """Why it cannot run here; empty if it can."""
        return "" if self.python.exists() else "not installed: make parity"

    def scores(self, task: Task) -> Floats:
        """Score every enrolled speaker against every probe."""
        python = str(self.python)
        voiceprints = [embedded(python, sounds).mean(axis=0) for sounds in task.corpus.enrolments]
        return cosines(voiceprints, embedded(python, task.probes))
