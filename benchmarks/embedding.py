"""Embedding throughput: Membrane's d-vector beside the Resemblyzer package, on the same files.

Each reads and embeds the files in a process of its own, by turns, so that a busy machine slows
both. Twice: on one core (``OMP_NUM_THREADS=1``), where both spend nearly all their time in the same
multiplications, so little can be won; and on all cores, each as it comes: the package with torch's
threads, Membrane with a file on each core. "warm" leaves out the imports, the models and the first
file, "whole" is the process from start to end. Run from the project's root, after `make parity`,
which sets up the reference::

    .venv/bin/python benchmarks/embedding.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT.parent / "shared" / "speech" / "librispeech"
RECORDINGS = ROOT / "tests" / "recordings"

OURS = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from membrane.audio.files import read_utterance
from membrane.voice.encoder import load_encoder
encoder = load_encoder()
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
    """Compare on one core, then on all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reference = ROOT / ".venv-reference" / "bin" / "python"
    parser.add_argument("--reference", type=Path, default=reference, metavar="PYTHON")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.reference.exists():
        parser.error(f"{options.reference} is missing: run `make parity`, or give --reference")
    files = files_to_embed(options.files)
    for title, threads in (("one core", "1"), (f"all {os.cpu_count()} cores", "")):
        print(f"{title}, {len(files)} files, median of {options.rounds} rounds", flush=True)
        compare(options.reference, files, options.rounds, threads)


if __name__ == "__main__":
    main()
