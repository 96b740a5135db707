"""The table: for a terminal, for RESULTS.md, and as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import inf, isfinite
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.accuracy.cells import MEASURES, Cell, Row, speakers_of
from benchmarks.accuracy.systems import Corpus
from membrane.evaluation.intervals import Estimate

BEATEN = "†"
"""Marks a number of Membrane where a system that is not Membrane has a better one."""

WIDTH = len("(0.00–0.50)")
"""Of a column: five of them and the conditions fit 80 columns, with one more 92."""

ABOUT = (
    "Above the equal error rate in per cent, below minDCF (p = 0.01, normalised), each with a 95 % "
    "interval that resamples speakers.",
    "Voiceprints are made of clean utterances. Every system hears the same samples. Membrane is "
    "given the room before the probe, too, as at a microphone; its quality gate is off, and how "
    "many probes it would refuse stands under the condition.",
    "The mixtures hear the room and the microphone as much as the voice, which helps them where "
    "every speaker has a room of their own. The log of the REST demo that they follow has a mean "
    "equal error rate of 9.2 % over 35 users, each with a threshold of their own.",
    f"{BEATEN} marks a number of Membrane where a system that is not Membrane has a better one.",
)


def shown(key: str, estimate: Estimate, *, mark: str = "") -> str:
    """Return a number with a mark and its interval: a rate in per cent, a cost as it is."""
    scale, digits = (100, 1) if key == "eer" else (1, 2)
    numbers = (estimate.value, estimate.low, estimate.high)
    value, low, high = (f"{number * scale:.{digits}f}" for number in numbers)
    return f"{value}{mark} ({low}–{high})" if isfinite(estimate.low) else value + mark


def best(row: Row, key: str) -> float:
    """Return the least number of a row."""
    return min(cell.measures[key].value for cell in row.cells)


def is_beaten(row: Row, cell: Cell, key: str) -> bool:
    """Tell whether a cell is Membrane's, and a system that is not Membrane is better."""
    others = [one.measures[key].value for one in row.cells if not one.ours]
    return cell.ours and min(others, default=inf) < cell.measures[key].value


def number_of(row: Row, cell: Cell, key: str, *, bold: str) -> str:
    """Return one number: the best ones bold, a beaten one of Membrane marked."""
    estimate = cell.measures[key]
    if estimate.value == best(row, key):
        return bold.format(shown(key, estimate))
    return shown(key, estimate, mark=BEATEN if is_beaten(row, cell, key) else "")


def summary(rows: Sequence[Row]) -> str:
    """Return in how many numbers the first system, which is Membrane, is beaten, and where."""
    name = rows[0].cells[0].system
    numbers = len(rows) * len(MEASURES)
    places: dict[str, list[str]] = {}
    beaten = 0
    for row in rows:
        titles = [title for key, title in MEASURES.items() if is_beaten(row, row.cells[0], key)]
        if titles:
            places.setdefault(row.corpus, []).append(f"{row.condition} ({', '.join(titles)})")
        beaten += len(titles)
    if not beaten:
        return f"{name} is the best, or as good as the best, in all of {numbers} numbers."
    where = "; ".join(f"{corpus}: {', '.join(names)}" for corpus, names in places.items())
    return f"{name} is not the best in {beaten} of {numbers} numbers. {where}."


def counts(corpus: Corpus) -> str:
    """Return how many speakers and trials a corpus has."""
    trials = corpus.trials
    genuine = int(trials.same.sum())
    return (
        f"{len(speakers_of(trials))} speakers, {len(trials.enrolled)} of them enrolled; "
        f"{genuine:,} genuine and {len(trials.same) - genuine:,} impostor trials"
    )


def of_speakers(row: Row) -> str:
    """Return the mean equal error rate of speakers with a threshold of their own."""
    rates = ", ".join(f"{cell.system} {cell.eer_of_speakers:.1%}" for cell in row.cells)
    return (
        f"Each speaker with a threshold of their own, mean equal error rate, {row.condition}: "
        f"{rates}."
    )


def for_terminal(corpus: Corpus, rows: Sequence[Row]) -> Table:
    """Return the rows of one corpus as a table."""
    table = Table(
        title=corpus.title,
        caption=f"{counts(corpus)}\n{of_speakers(rows[0])}",
        box=box.SIMPLE,
        padding=0,
        show_lines=True,
    )
    table.add_column("probes", no_wrap=True)
    for cell in rows[0].cells:
        table.add_column(cell.system, max_width=WIDTH)
    for row in rows:
        table.add_row(
            f"{row.condition}\n[dim]gate {row.refused}/{row.probes}[/dim]",
            *(
                "\n".join(number_of(row, cell, key, bold="[bold]{}[/bold]") for key in MEASURES)
                for cell in row.cells
            ),
        )
    return table


def as_markdown(corpora: Sequence[Corpus], rows: Sequence[Row], notes: Iterable[str]) -> str:
    """Return the whole of RESULTS.md."""
    parts = [
        "# Error rates beside those of others",
        "Written by `python -m benchmarks.accuracy --write`.",
        *ABOUT,
        summary(rows),
        *notes,
    ]
    for corpus in corpora:
        own = [row for row in rows if row.corpus == corpus.name]
        parts += [f"## {corpus.title}", counts(corpus) + ".", markdown_table(own)]
        parts.append(of_speakers(own[0]))
    return "\n\n".join(parts) + "\n"


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the rows of one corpus as a Markdown table."""
    titles = ["probes", "refused", *(cell.system for cell in rows[0].cells)]
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        cells = [
            "<br>".join(number_of(row, cell, key, bold="**{}**") for key in MEASURES)
            for cell in row.cells
        ]
        lines.append([row.condition, f"{row.refused} of {row.probes}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(corpora: Sequence[Corpus], rows: Sequence[Row], notes: Iterable[str]) -> dict[str, Any]:
    """Return everything as plain values; not-a-number as None."""
    return {
        "corpora": {corpus.name: counts(corpus) for corpus in corpora},
        "rows": [finite(asdict(row)) for row in rows],
        "summary": summary(rows),
        "notes": list(notes),
    }


def finite(value: Any) -> Any:
    """Return plain values with None for what is not a number."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
