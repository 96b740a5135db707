"""Strangers: everybody claims to be everybody else of the same corpus, with the right words.

Whole logins: quality gate, words, voice. The words are those that were said, so that only the
voice and the quality are against the stranger; of LibriSpeech no transcripts are at hand, and
there the words are not checked. People are enrolled from three utterances each, as `membrane
evaluate` does. Three attempts are three different utterances of one stranger (or of the person),
of which one that is let in is enough. Held back are the speakers on whom nothing was chosen; the
thresholds and calibrations have seen some of the others. FAR and FRR are of whole transactions,
their intervals from resampling the speakers; exact, as if all were independent, where
those are too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.attacks.door import ATTEMPTS, DEFAULT, Knock, Outcome
from benchmarks.attacks.people import Person, enrolled, everybody
from benchmarks.attacks.tally import in_attempts, levels_of, per_cent, percentage, reasons, table
from benchmarks.attacks.work import Work
from membrane.evaluation.intervals import Estimate, estimates
from membrane.evaluation.metrics import ScoredTrials
from membrane.voice.encoder import ENCODERS

RESAMPLES = 200
QUICK_PEOPLE = 3


def report(work: Work) -> str:
    """Return what was measured, in Markdown."""
    doors = [work.door(name) for name in sorted(ENCODERS, key=lambda name: name != DEFAULT)]
    found = everybody(most=QUICK_PEOPLE if work.quick else None)
    people = enrolled(found, doors)
    outcomes = work.outcomes(doors, list(knocks(people)))
    held_back = {person.name for person in people if person.held_back}
    head = [
        *("speech", "encoder", "level", "strangers let in (FAR %)", "at three attempts"),
        *("people refused (FRR %)", "at three attempts", "refused by"),
    ]
    groups = list(_groups(outcomes, held_back))
    rows = [
        [name, encoder, level, *_rates(some)]
        for name, group in groups
        for encoder in dict.fromkeys(one.encoder for one in group)
        for level in levels_of(group)
        for some in [[one for one in group if one[1:3] == (encoder, level)]]
    ]
    refused = len(found) - len(people)
    return (
        f"{len(people)} people enrolled, {refused} refused because their phrases did not agree.\n\n"
        f"{table(head, rows)}"
    )


def knocks(people: Sequence[Person]) -> Iterator[list[Knock]]:
    """Yield every login of everybody, claimed against everybody of the same corpus."""
    for person in people:
        names = tuple(other.name for other in people if other.corpus == person.corpus)
        for said in person.logins:
            yield [
                Knock(person.corpus, said.utterance, said.words, names, person.name, said.levels)
            ]


def _groups(
    outcomes: Sequence[Outcome], held_back: set[str]
) -> Iterator[tuple[str, list[Outcome]]]:
    for corpus in dict.fromkeys(outcome.instrument for outcome in outcomes):
        group = [outcome for outcome in outcomes if outcome.instrument == corpus]
        kept = [one for one in group if {one.name, one.who} <= held_back]
        yield f"{corpus}, held back", kept
        if len(kept) < len(group):
            yield f"{corpus}, all", group


def _rates(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the cells of one corpus, encoder and level."""
    cells = []
    three = in_attempts(outcomes, ATTEMPTS)
    rates = [transaction_rates(some) for some in (outcomes, three)]
    for key, genuine in (("fmr", False), ("fnmr", True)):
        for some, found in zip((outcomes, three), rates, strict=True):
            wrong = [one.accepted != genuine for one in some if (one.who == one.name) == genuine]
            cells.append(_shown(found.get(key), wrong))
    people = [one for one in outcomes if one.who == one.name]
    return [*cells, reasons(people)]


def transaction_rates(outcomes: Sequence[Outcome]) -> dict[str, Estimate]:
    """Return FAR (as ``fmr``) and FRR (as ``fnmr``) with intervals over resamples of speakers.

    Empty where there are no transactions of both kinds.
    """
    same = np.array([one.who == one.name for one in outcomes], bool)
    if not same.any() or same.all():
        return {}
    numbers = {name: place for place, name in enumerate(dict.fromkeys(one.who for one in outcomes))}
    who = np.array([numbers[one.who] for one in outcomes], np.int32)
    name = np.array([numbers.setdefault(one.name, len(numbers)) for one in outcomes], np.int32)
    accepted = np.array([one.accepted for one in outcomes], bool)
    worth = accepted.astype(float)
    places = np.arange(len(outcomes), dtype=np.int32)
    scored = ScoredTrials(worth, worth, accepted, same, name, places, name, who)
    found = estimates(scored, resamples=RESAMPLES)
    return {key: found[key] for key in ("fmr", "fnmr")}


def _shown(estimate: Estimate | None, wrong: Sequence[bool]) -> str:
    """Return a rate with its interval; with the exact one where speakers are too few for theirs."""
    if estimate is None or np.isnan(estimate.low):
        return per_cent(sum(wrong), len(wrong))
    ends = f"{percentage(estimate.low)} to {percentage(estimate.high)}"
    return f"{percentage(estimate.value)} ({ends}) of {len(wrong):,}"
