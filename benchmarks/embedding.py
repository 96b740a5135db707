"""What embedding costs: the encoders side by side, and beside the Resemblyzer package.

First the encoders, by turns in one process: the CPU time of `--seconds` of speech, and how many
times that of the first encoder each takes, with a 95 % interval over the rounds.

Then the encoder "resemblyzer" and the package, which is left out where it is not installed. Each
reads and embeds the files in a process of its own, by turns, so that a busy machine slows both.
Twice: on one core (``OMP_NUM_THREADS=1``), where both spend nearly all their time in the same
multiplications, so little can be won; and on all cores, each as it comes: the package with torch's
threads, Membrane with a file on each core. "warm" leaves out the imports, the models and the first
file, "whole" is the process from start to end. Run from the project's root, after `make parity`,
which sets up the reference::

    .venv/bin/python -m benchmarks.embedding
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from membrane.audio.files import read_utterance
from membrane.audio.preparation import at_voice_level
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import Unavailable
from membrane.evaluation.intervals import Estimate
from membrane.voice.encoder import ENCODERS, Encoder, load_encoder

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT.parent / "shared" / "speech" / "librispeech"
RECORDINGS = ROOT / "tests" / "recordings"

OURS = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from membrane.audio.files import read_utterance
from membrane.voice.encoder import load_encoder
encoder = load_encoder("resemblyzer")
workers = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
embed = lambda path: encoder.embed(read_utterance(path).samples)
embed_all = lambda paths: list(ThreadPoolExecutor(workers).map(embed, paths))
"""

PACKAGE = """
import sys, time
from resemblyzer import VoiceEncoder, preprocess_wav
encoder = VoiceEncoder("cpu", verbose=False)
embed = lambda path: encoder.embed_utterance(preprocess_wav(path))
embed_all = lambda paths: [embed(path) for path in paths]
"""

MEASURE = """
embed(sys.argv[1])
start, start_cpu = time.perf_counter(), time.process_time()
embed_all(sys.argv[1:])
print(time.perf_counter() - start, time.process_time() - start_cpu)
"""

FIGURES = ("warm, elapsed", "warm, CPU", "whole, elapsed")


def files_to_embed(count: int) -> list[Path]:
    """Return real speech where it is, else the synthetic voices over and over."""
    files = sorted(SPEECH.rglob("*.flac")) or sorted(RECORDINGS.rglob("*.flac"))
    return [files[number % len(files)] for number in range(count)]


def clips(seconds: float, count: int) -> list[Samples]:
    """Return so many stretches of speech of this length, joined of files that are shorter."""
    length = int(seconds * SAMPLE_RATE)
    files = files_to_embed(2 * count)
    speech = np.concatenate([read_utterance(file).samples for file in files])
    whole = np.resize(speech, length * max(count, len(speech) // length))
    return [at_voice_level(clip) for clip in whole.reshape(-1, length)[:count]]


def encoders_here(names: Iterable[str]) -> list[Encoder]:
    """Return the encoders that can be used, each tried out; of the others say why not."""
    found = []
    for name in names:
        try:
            encoder = load_encoder(name)
            encoder.embed(clips(2.0, 1)[0])
        except Unavailable as error:
            print(f"  {name} is left out: {error}")
        else:
            found.append(encoder)
    return found


def cpu_of(encoders: Sequence[Encoder], *, seconds: float, rounds: int) -> np.ndarray:
    """Return the CPU seconds of every thread that each encoder takes, shape (rounds, encoders).

    The encoders take turns on the same clip, so that whatever else the machine does slows all.
    """
    spent = np.zeros((rounds, len(encoders)))
    for clip, row in zip(clips(seconds, rounds), spent, strict=True):
        for place, encoder in enumerate(encoders):
            start = time.process_time()
            encoder.embed(clip)
            row[place] = time.process_time() - start
    return spent


def ratio_of(tested: np.ndarray, reference: np.ndarray, *, resamples: int = 1000) -> Estimate:
    """Return the median of the ratios of all rounds, with a 95 % interval over the rounds."""
    ratios = tested / reference
    chance = np.random.default_rng(0)
    medians = np.median(chance.choice(ratios, (resamples, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return Estimate(float(np.median(ratios)), float(low), float(high))


def compare_encoders(names: Iterable[str], seconds: float, rounds: int) -> None:
    """Print the CPU time of every encoder, and how many times that of the first it is."""
    print(f"encoders, {seconds:g} s of speech, CPU time, median of {rounds} rounds", flush=True)
    encoders = encoders_here(names)
    spent = cpu_of(encoders, seconds=seconds, rounds=rounds)
    for place, encoder in enumerate(encoders):
        ratio = ratio_of(spent[:, place], spent[:, 0])
        print(
            f"  {encoder.name:15} {1000 * np.median(spent[:, place]):6.1f} ms: "
            f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f}) of {encoders[0].name}"
        )


def measure(python: Path, program: str, files: list[Path], threads: str) -> tuple[float, ...]:
    """Return the seconds of a program over the files, as in `FIGURES`."""
    command = [python, "-W", "ignore", "-c", program + MEASURE, *files]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    start = time.perf_counter()
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    whole = time.perf_counter() - start
    warm, warm_cpu = map(float, output.stdout.split()[-2:])
    return warm, warm_cpu, whole


def compare(reference: Path, files: list[Path], rounds: int, threads: str) -> None:
    """Print the throughput of both, and the median of the ratios of each round."""
    pairs = []
    for _ in range(rounds):
        package = measure(reference, PACKAGE, files, threads)
        pairs.append((package, measure(Path(sys.executable), OURS, files, threads)))
    for place, figure in enumerate(FIGURES):
        package_s = median(package[place] for package, _ in pairs)
        ours_s = median(ours[place] for _, ours in pairs)
        ratio = median(package[place] / ours[place] for package, ours in pairs)
        print(
            f"  {figure:15} package {len(files) / package_s:5.1f} files/s, "
            f"membrane {len(files) / ours_s:5.1f} files/s: {ratio:.1f} times as fast"
        )


def main() -> None:
    """Compare the encoders, then with the package on one core and on all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clips", type=int, default=30, help="rounds of the encoders")
    reference = ROOT / ".venv-reference" / "bin" / "python"
    parser.add_argument("--reference", type=Path, default=reference, metavar="PYTHON")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    compare_encoders(options.encoder, options.seconds, options.clips)
    if not options.reference.exists():
        print(f"the package is left out: {options.reference} is missing, `make parity` makes it")
        return
    files = files_to_embed(options.files)
    for title, threads in (("one core", "1"), (f"all {os.cpu_count()} cores", "")):
        print(f"{title}, {len(files)} files, median of {options.rounds} rounds", flush=True)
        compare(options.reference, files, options.rounds, threads)


if __name__ == "__main__":
    main()
