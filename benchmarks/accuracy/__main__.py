"""Error rates of Membrane beside those of other verifiers, in one command.

    python -m benchmarks.accuracy [--corpus NAME ...] [--encoder NAME ...] [--quick] [--json FILE]
                                  [--write]

On the held-back speakers of ../shared/speech, in held-back noise and babble. Membrane has a column
for each of its encoders that can be used here, the default one first. The others are the
Resemblyzer package as it is shipped (in .venv-reference, `make parity` makes it), Gaussian mixtures
of cepstral coefficients as in a known REST demo, and the cosine of mean coefficients.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.accuracy import table
from benchmarks.accuracy.cells import PROJECT, Row, row_of
from benchmarks.accuracy.cepstral import MeanCepstra, Mixtures
from benchmarks.accuracy.corpora import CORPORA, QUICK
from benchmarks.accuracy.ours import Ours
from benchmarks.accuracy.package import Package
from benchmarks.accuracy.systems import Corpus, System, Task
from membrane.errors import EngineUnavailable, MembraneError
from membrane.evaluation.parallel import as_they_finish
from membrane.evaluation.voices import cache_folder
from membrane.settings import Settings
from membrane.terminal.tasks import require_writable
from membrane.voice.encoder import ENCODERS

RESULTS = Path(__file__).with_name("RESULTS.md")
RESAMPLES = 200
"""Of the speakers, as `membrane evaluate` draws them."""


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", nargs="+", choices=CORPORA, default=list(CORPORA), help="by default all")
    add("--encoder", nargs="+", choices=ENCODERS, default=default_first(), help="by default all")
    add("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    add("--json", type=Path, metavar="FILE", help="write every number to a file")
    add("--write", action="store_true", help="write RESULTS.md")
    add(
        "--reference",
        type=Path,
        metavar="PYTHON",
        default=PROJECT / ".venv-reference" / "bin" / "python",
        help="of the environment with the Resemblyzer package; by default that of `make parity`",
    )
    add("--workers", type=int, help="processes; by default one for each core")
    add("--cache", type=Path, metavar="DIR", default=cache_folder().parent / "accuracy")
    chosen = parser.parse_args()
    if chosen.write and (chosen.quick or len(chosen.corpus) < len(CORPORA)):
        parser.error("--write is for the whole table: leave out --quick and --corpus")
    return chosen


def default_first() -> list[str]:
    """Return the names of all encoders, that of a login first."""
    return sorted(ENCODERS, key=lambda name: name != Settings().encoder)


def tasks_of(corpora: Iterable[Corpus], *, quick: bool) -> list[Task]:
    """Return each corpus in each of its conditions."""
    return [
        Task(corpus, condition)
        for corpus in corpora
        for condition in corpus.conditions
        if not quick or condition.name in QUICK
    ]


def rows_of(
    tasks: Sequence[Task],
    ours: Sequence[Ours],
    others: Sequence[System],
    chosen: argparse.Namespace,
) -> list[Row]:
    """Return the error rates of every task, in their order."""
    calls = [(task, ours, others, chosen.cache / "scores", RESAMPLES) for task in tasks]
    finished = as_they_finish(row_of, calls, workers=chosen.workers)
    found = track(finished, total=len(calls), console=Console(stderr=True), description="judging")
    by_name = {(row.corpus, row.condition): row for row in found}
    return [by_name[task.corpus.name, task.condition.name] for task in tasks]


def main() -> None:
    """Measure, print, and write what was asked for."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores between them
    try:
        run(options())
    except MembraneError as error:
        sys.exit(str(error))


def run(chosen: argparse.Namespace) -> None:
    """Measure, print, and write."""
    if chosen.json:
        require_writable(chosen.json)
    encoders = [Ours(chosen.cache / "voices", name) for name in chosen.encoder]
    peers: list[System] = [
        Package(chosen.reference),
        Mixtures(background=False),
        Mixtures(background=True),
        MeanCepstra(),
    ]
    corpora = [CORPORA[name]() for name in chosen.corpus]
    ours = [system for system in encoders if not system.problem]
    others = [system for system in peers if not system.problem]
    missing = [f"{one.name}: {one.problem}." for one in (*encoders, *peers) if one.problem]
    if not ours:
        raise EngineUnavailable(missing[0])
    notes = [*(system.about for system in ours), *missing]
    rows = rows_of(tasks_of(corpora, quick=chosen.quick), ours, others, chosen)
    show(corpora, rows, notes)
    if chosen.json:
        chosen.json.write_text(json.dumps(table.as_json(corpora, rows, notes), indent=2) + "\n")
    if chosen.write:
        RESULTS.write_text(table.as_markdown(corpora, rows, notes), encoding="utf-8")


def show(corpora: Iterable[Corpus], rows: Sequence[Row], notes: Iterable[str]) -> None:
    """Print a table for each corpus, and what to know of them."""
    console = Console()
    for corpus in corpora:
        own = [row for row in rows if row.corpus == corpus.name]
        console.print(table.for_terminal(corpus, own))
    for line in (*table.ABOUT, table.summary(rows), *notes):
        console.print(line, highlight=False)


if __name__ == "__main__":
    main()
