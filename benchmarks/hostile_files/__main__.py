"""Whether any file crashes a command, lets it hang or fills the memory.

    python -m benchmarks.hostile_files [--files 100000] [--workers 2] [--seed 1] [--keep FOLDER]

Valid recordings in every subtype that libsndfile writes, and what Membrane keeps (the database,
plain and encrypted, the record of logins and the decision log), are damaged in up to four ways:
bits and bytes, numbers of the header at their extremes, truncation, parts left out, doubled,
swapped and spliced. What is kept is also written anew with values that nobody would write.
Checksums are mostly made right again, so that the damage gets to the decoders. Each file goes
through what a command does with it: a recording is read, its speech found, its quality required and
its fingerprint taken; of what is kept everything is read, and a login counted and recorded.

It must be judged, or be refused with exit code 3 (a recording) or 5 (a database) in one line, in
less than 2 s of processor and 1.5 GB more than an idle process has, and leave neither a file nor a
descriptor nor anything printed behind. Whatever else happens is a finding, kept in the folder if
one is given, and makes the exit code 1. Seed and number decide a file. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.hostile_files.mutants import mutant
from benchmarks.hostile_files.seeds import Seed, seeds
from benchmarks.hostile_files.tally import Tally
from benchmarks.hostile_files.workers import Report, Workers

PROGRESS_S = 10.0
"""Seconds between two lines that tell how far it is."""


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile_files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--files", type=int, default=100_000, metavar="N", help="how many (100,000)")
    add("--first", type=int, default=0, metavar="N", help="number of the first (0)")
    add("--workers", type=int, default=2, metavar="N", help="processes (2)")
    add("--seed", type=int, default=1, metavar="N", help="another one makes other files (1)")
    add("--keep", type=Path, metavar="FOLDER", help="where files are kept that find something")
    return parser.parse_args()


def main() -> int:
    """Judge the files, print the table, and return 1 if there is a finding."""
    chosen = options()
    sound, tally, started = seeds(), Tally(), time.monotonic()
    told = started
    with tempfile.TemporaryDirectory() as folder:
        workers = Workers(sound, chosen.seed, count=chosen.workers, folder=folder)
        for report in workers.judge(range(chosen.first, chosen.first + chosen.files)):
            tally.add(report)
            if report.problem:
                tell(report, sound, chosen)
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                pace = tally.files / (told - started)
                print(f"{tally.files} of {chosen.files}, {pace:.0f} a second", file=sys.stderr)
    print(tally.table(seconds=time.monotonic() - started))
    return 1 if tally.findings else 0


def tell(report: Report, sound: dict[str, list[Seed]], chosen: argparse.Namespace) -> None:
    """Say what was found, and keep the file."""
    file = mutant(sound, chosen.seed, report.number)
    made = ", ".join(file.mutations)
    print(
        f"FOUND --seed {chosen.seed} --first {report.number} --files 1: "
        f"{file.kind} ({made}): {report.problem}",
        file=sys.stderr,
    )
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        name = f"{chosen.seed}-{report.number}.{file.kind.lower().replace(' ', '-')}"
        (chosen.keep / name).write_bytes(file.content)


if __name__ == "__main__":
    sys.exit(main())
