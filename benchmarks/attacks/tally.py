"""The tally: how often each attack got in, and the tables that say so.

Conventions
-----------
The terms are those of ISO/IEC 30107-3:2023. *Attack presentation classification error rate*
(APCER): the share of the attempts of one attack instrument that were let in; it is given for each
instrument, because an average over instruments hides the one that works. *Bona fide presentation
classification error rate* (BPCER): the share of honest attempts that were refused. Membrane has no
detector of attacks that could err alone, so both are of the whole decision: quality, words, voice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from benchmarks.attacks.door import ATTEMPTS, Outcome
from membrane.evaluation.intervals import clopper_pearson
from membrane.settings import SECURITY_LEVELS

Cells = Sequence[object]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def per_cent(count: int, total: int) -> str:
    """Return a share in per cent with its exact 95 % interval, and of how many."""
    if not total:
        return "–"
    low, high = clopper_pearson(count, total)
    return f"{percentage(count / total)} ({percentage(low)} to {percentage(high)}) of {total:,}"


def percentage(share: float) -> str:
    """Return a share in per cent with two significant digits."""
    number = 100 * share
    return f"{number:.0f}" if number >= 10 or number == 0 else f"{number:.2g}"


def levels_of(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the security levels that were asked, the mildest first."""
    asked = {outcome.level for outcome in outcomes}
    return [level for level in SECURITY_LEVELS if level in asked]


def apcer_table(outcomes: Sequence[Outcome], *, first: str = "attack instrument") -> str:
    """Return APCER of each instrument, a column for each level, and what refused it."""
    levels = levels_of(outcomes)
    head = [first, *(f"APCER %, {level}" for level in levels), "refused by"]
    return table(head, _rows(outcomes, levels, lambda outcome: outcome.accepted))


def bpcer_table(outcomes: Sequence[Outcome], *, first: str = "honest logins") -> str:
    """Return BPCER of each kind of honest login, a column for each level, and what refused it."""
    levels = levels_of(outcomes)
    head = [first, *(f"BPCER %, {level}" for level in levels), "refused by"]
    return table(head, _rows(outcomes, levels, lambda outcome: not outcome.accepted))


def _rows(
    outcomes: Sequence[Outcome], levels: Sequence[str], counts: Callable[[Outcome], bool]
) -> Iterable[list[str]]:
    for instrument in dict.fromkeys(outcome.instrument for outcome in outcomes):
        of_it = [outcome for outcome in outcomes if outcome.instrument == instrument]
        cells = []
        for level in levels:
            at_level = [outcome for outcome in of_it if outcome.level == level]
            cells.append(per_cent(sum(map(counts, at_level)), len(at_level)))
        yield [instrument, *cells, reasons(of_it)]


def reasons(outcomes: Iterable[Outcome]) -> str:
    """Return what refused, the most frequent first, in per cent of the refused."""
    found = Counter(outcome.refused_by for outcome in outcomes if outcome.refused_by)
    total = sum(found.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in found.most_common()) or "–"


def in_attempts(outcomes: Sequence[Outcome], attempts: int = ATTEMPTS) -> list[Outcome]:
    """Return transactions of several attempts each: one that is let in is enough.

    Attempts of one person against one name are taken in their order; what is left over, too few
    for another transaction, is not counted.
    """
    series: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        series.setdefault(outcome[:5], []).append(outcome)
    return [
        max(taken[at : at + attempts], key=lambda outcome: outcome.accepted)
        for taken in series.values()
        for at in range(0, len(taken) - attempts + 1, attempts)
    ]
