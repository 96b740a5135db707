"""What a login costs as a whole process, beside a script that uses the Resemblyzer package.

    python -m benchmarks.speed [--reference .venv-reference/bin/python] [--runs 7]

Both run in turn, each on one thread, so that a busy machine slows both. The script loads the
package and compares two files, nothing more: no words, no quality gate, no database. Figures are
medians; CPU is user and system time of the process, memory its peak.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from membrane.audio.files import read_utterance, save_recording
from membrane.audio.utterance import SAMPLE_RATE

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = ROOT / "tests" / "recordings" / "boris"
SECONDS = 5
NOISE_DB = 10

PACKAGE = """
import sys
from resemblyzer import VoiceEncoder, preprocess_wav
encoder = VoiceEncoder("cpu", verbose=False)
one, other = (encoder.embed_utterance(preprocess_wav(path)) for path in sys.argv[1:3])
similarity = float(one @ other)
print(similarity, "accepted" if similarity >= 0.8 else "refused")
"""


@dataclass
class Cost:
    """What one process took."""

    cpu_s: float
    wall_s: float
    megabytes: float


def cost_of(command: list[str | Path], home: Path) -> Cost:
    """Run a command that must succeed and return what it took."""
    environment = {
        **os.environ,
        "MEMBRANE_REPLAY": "allow",  # the same login is timed again and again
        "OMP_NUM_THREADS": "1",
        "MEMBRANE_HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    elapsed = time.perf_counter() - started
    return Cost(used.ru_utime + used.ru_stime, elapsed, used.ru_maxrss / 1024)


def recording(folder: Path, *, noisy: bool) -> tuple[Path, str]:
    """Return a login of five seconds and the words in it."""
    login = sorted(RECORDINGS.glob("login-*.flac"))[0]
    samples = read_utterance(login).samples
    room = samples[: SAMPLE_RATE // 2]
    samples = np.concatenate([samples, np.resize(room, SECONDS * SAMPLE_RATE)])
    samples = samples[: SECONDS * SAMPLE_RATE]
    if noisy:
        power = np.mean(samples**2) * 10 ** (-NOISE_DB / 10)
        hiss = np.random.default_rng(0).normal(0, np.sqrt(power), len(samples))
        samples = (samples + hiss).astype(np.float32)
    path = folder / ("noisy.wav" if noisy else "clean.wav")
    save_recording(path, samples)
    return path, login.stem.split("-", 1)[1].replace("-", " ")


def show(name: str, ours: list[Cost], theirs: list[Cost]) -> None:
    """Print one comparison."""
    for label, field in (("CPU s", "cpu_s"), ("wall s", "wall_s"), ("MB", "megabytes")):
        one = median(getattr(cost, field) for cost in ours)
        other = median(getattr(cost, field) for cost in theirs)
        print(f"{name:28} {label:7} {one:8.2f} {other:8.2f}   {one / other:.2f}")


def main() -> None:
    """Print what both take, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, default=ROOT / ".venv-reference/bin/python")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    if not options.reference.exists():
        parser.exit(2, f"{options.reference} is missing: run `make parity` first\n")
    membrane = [sys.executable, "-m", "membrane"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        enrolment = sorted(RECORDINGS.glob("enrol-*.flac"))
        files = [part for file in enrolment for part in ("-f", file)]
        cost_of([*membrane, "enroll", "-u", "boris", *files, "--consent"], folder)
        print(f"{'':28} {'':7} membrane  package   ratio")
        for noisy in (False, True):
            path, words = recording(folder, noisy=noisy)
            verify = [*membrane, "verify", "-u", "boris", "-f", path, "--expect", words]
            script = [options.reference, "-W", "ignore", "-c", PACKAGE, path, enrolment[0]]
            pairs = [
                (cost_of(verify, folder), cost_of(script, folder)) for _ in range(options.runs + 1)
            ][1:]
            ours, theirs = map(list, zip(*pairs, strict=True))
            show(f"verify, {path.stem} 5 s", ours, theirs)
        for command in ("--help", "list"):
            costs = [cost_of([*membrane, command], folder) for _ in range(options.runs)]
            print(f"{'membrane ' + command:28} CPU s   {median(c.cpu_s for c in costs):8.2f}")


if __name__ == "__main__":
    main()
