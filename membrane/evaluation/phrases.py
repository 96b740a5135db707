"""Phrases: how often the words that were said are refused, and other words are accepted.

Every utterance takes the way that a login takes: condition, denoising, quality gate, recognizer.
What the gate refuses is counted and not judged, as at a login.

Conventions
-----------
*False reject rate*: the share of utterances whose own words are refused. *False accept rate*, one
for each kind of claim of `claims.FALSE`: the share of claims of that kind that are accepted. One
word changed, more or fewer is the hardest claim there is; who replays a recording of another
prompt claims *other words*.

Each rate has two intervals of 95 %. The exact one (Clopper and Pearson 1934) takes claims for
independent, and is too narrow where one speaker is heard often. The other resamples speakers: as
many as there are, with replacement, the percentiles of the rate of all their claims (subsets
bootstrap, Bolle, Ratha and Pankanti 2004). Where a rate is 0 or 1 resampling shows nothing: there
its end is the exact bound for as many trials as there are speakers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError
from membrane.evaluation.claims import FALSE, RIGHT, candidates, claims_about
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.labels import counted
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.intervals import Estimate, clopper_pearson, estimate_of
from membrane.evaluation.keeping import Kept, Progress
from membrane.evaluation.report.wording import MISSING, as_text, percent
from membrane.evaluation.word_checks import (
    Judged,
    Task,
    judge_tasks,
    recognizer_named,
)
from membrane.settings import Settings

RESAMPLES = 1000

NAMED = 5
"""Words or files that a note names at most."""

KINDS = {RIGHT: "right words refused", **{kind: f"{what} accepted" for kind, what in FALSE.items()}}
"""What is counted as an error, by kind of claim."""

HEADS = (
    *("recognizer", "condition", "words", "said", "refused"),
    *("FRR", "FAR: other", "changed", "more", "fewer"),
)
"""Of `PhraseEvaluation.rows`: utterances said, those that the quality gate refused, and the rate
of errors for each kind of claim."""

INTERVAL_HEADS = ("recognizer", "condition", "error", "of", "rate", "by speakers")
"""Of `PhraseEvaluation.intervals`."""

CSV_HEADS = (
    *("recognizer", "condition", "words", "measure", "errors", "claims", "value"),
    *("low", "high", "speakers_low", "speakers_high"),
)
"""Of `PhraseEvaluation.csv_rows`."""


@dataclass(frozen=True)
class ErrorRate:
    """How often one kind of claim is decided wrongly.

    Parameters
    ----------
    errors, claims, speakers : int
        Wrong decisions, of all, about as many people's utterances.
    exact : Estimate
        The rate, with the exact interval for independent claims.
    resampled : Estimate
        The rate, with the interval of resampled speakers; without for a single one.
    """

    errors: int
    claims: int
    speakers: int
    exact: Estimate
    resampled: Estimate


@dataclass(frozen=True)
class PhraseRates:
    """The error rates of one recognizer in one condition.

    Parameters
    ----------
    recognizer, condition : str
    words : int or None
        Of phrases of so many words; None for all.
    counts : dict of str to int
        ``utterances``, and of these ``judged``, ``refused`` (by the quality gate) and
        ``unreadable``; ``speakers``.
    errors : dict of str to ErrorRate
        By the keys of `KINDS`; those without any claim are missing.
    """

    recognizer: str
    condition: str
    words: int | None
    counts: dict[str, int]
    errors: dict[str, ErrorRate]

    @property
    def length(self) -> str:
        """The number of words, or ``"all"``."""
        return "all" if self.words is None else str(self.words)


@dataclass(frozen=True)
class PhraseEvaluation:
    """All that an evaluation of phrases found.

    Parameters
    ----------
    rates : tuple of PhraseRates
        By recognizer, then condition; first of all phrases, then by rising number of words.
    strict : bool
        Whether words were judged as ``--security strict`` does.
    unknown : int
        Utterances left out because a recognizer does not know a word of them.
    notes : tuple of str
        What was left out and why; a sentence each.
    provenance : dict of str to Any
    """

    rates: tuple[PhraseRates, ...]
    strict: bool
    unknown: int = 0
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return counts and rates as plain values; not-a-number as None."""
        return {
            "strict": self.strict,
            "unknown_words": self.unknown,
            "rates": [
                {
                    "recognizer": rates.recognizer,
                    "condition": rates.condition,
                    "words": rates.words,
                    "counts": dict(rates.counts),
                    "errors": {kind: _error_as_json(error) for kind, error in rates.errors.items()},
                }
                for rates in self.rates
            ],
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each recognizer, condition and number of words, under `HEADS`."""
        return [
            (
                rates.recognizer,
                rates.condition,
                rates.length,
                f"{rates.counts['utterances']:,}",
                f"{rates.counts['refused']:,}",
                *(
                    percent(rates.errors[kind].exact.value) if kind in rates.errors else MISSING
                    for kind in KINDS
                ),
            )
            for rates in self.rates
        ]

    def intervals(self) -> list[tuple[str, ...]]:
        """Return a row for each rate of phrases of all lengths, under `INTERVAL_HEADS`."""
        return [
            (
                rates.recognizer,
                rates.condition,
                KINDS[kind],
                f"{error.errors:,} of {error.claims:,}",
                as_text("fmr", error.exact),
                as_text("fmr", error.resampled),
            )
            for rates in self.rates
            if rates.words is None
            for kind, error in rates.errors.items()
        ]

    def csv_rows(self) -> list[tuple[str, ...]]:
        """Return a row for each count and rate, under `CSV_HEADS`."""
        return [row for rates in self.rates for row in _cells(rates)]


def evaluate_phrases(  # noqa: PLR0913 (each is a choice of its own)
    said: Sequence[Said],
    settings: Settings,
    *,
    conditions: Sequence[Condition],
    recognizers: Sequence[str],
    seed: int = 0,
    workers: int | None = None,
    backend: str | None = None,
    scheduler: str | None = None,
    kept: Kept | None = None,
    progress: Progress | None = None,
    fail_fast: bool = False,
) -> PhraseEvaluation:
    """Let recognizers judge what was said and what was not, and count their errors.

    Every recognizer judges the same claims in every condition; an utterance with a word that one
    of them does not know is left out for all.

    Parameters
    ----------
    said : sequence of Said
    settings : Settings
        Denoising, strictness, and the files of a recognizer that takes its own.
    conditions : sequence of Condition
        None that cuts recordings: the words would be others.
    recognizers : sequence of str
        Names of engines.
    seed : int, not negative
        Of the claims, and of the resampled speakers.
    workers, backend, scheduler
        As `parallel.as_they_finish` takes them.
    kept : Kept, optional
        Decisions of earlier runs (`judging.kept_decisions`); without it nothing is kept.
    progress : callable, optional
        Called with the number of utterances that are judged, and of all: one for each condition
        and recognizer.
    fail_fast : bool
        Raise the first error of reading instead of counting it.

    Raises
    ------
    UsageError
        If there is no such recognizer, a condition cuts recordings, or nothing could be judged.
    Unavailable
        If a recognizer cannot run here.
    """
    if any(condition.seconds is not None for condition in conditions):
        raise UsageError(
            "a phrase that is cut is another phrase: evaluate phrases without --seconds"
        )
    strangers = _unknown_to(recognizers, settings)
    phrases = {one.words for one in said}
    unknown = {phrase: strangers(phrase) for phrase in phrases}
    known = [one for one in said if not unknown[one.words]]
    words = [word for word in candidates([one.words for one in known]) if not strangers(word)]
    claims = claims_about([one.words for one in known], words, seed=seed)
    tasks = [
        Task(one, condition, name, claimed)
        for name in dict.fromkeys(recognizers)
        for condition in conditions
        for one, claimed in zip(known, claims, strict=True)
    ]
    judged = judge_tasks(
        tasks,
        settings,
        kept=kept,
        progress=progress,
        fail_fast=fail_fast,
        workers=workers,
        backend=backend,
        scheduler=scheduler,
    )
    outcomes = list(zip(tasks, judged, strict=True))
    left_out = len(said) - len(known)
    notes = [*_unknown_notes(left_out, unknown.values()), *_unreadable_notes(outcomes)]
    if not any(judged.accepted for _, judged in outcomes):
        raise UsageError(_nothing_judged(outcomes, notes))
    if kept and kept.problem:
        notes.append(f"{kept.problem[0].upper()}{kept.problem[1:]}.")
    return PhraseEvaluation(tuple(_rates(outcomes, seed)), settings.strict, left_out, tuple(notes))


Outcomes = list[tuple[Task, Judged]]


def _unknown_to(recognizers: Sequence[str], settings: Settings) -> Callable[[str], list[str]]:
    """Return what finds the words of a phrase that one of the recognizers does not know."""
    engines = [recognizer_named(name, settings) for name in recognizers]
    return lambda phrase: [word for engine in engines for word in engine.unknown_words(phrase)]


def _rates(outcomes: Outcomes, seed: int) -> list[PhraseRates]:
    places = dict.fromkeys((task.recognizer, task.condition.name) for task, _ in outcomes)
    found = []
    for recognizer, condition in places:
        here = [
            (task, judged)
            for task, judged in outcomes
            if (task.recognizer, task.condition.name) == (recognizer, condition)
        ]
        lengths = sorted({_length(task) for task, _ in here})
        for words in (None, *lengths):
            part = [(task, judged) for task, judged in here if words in {None, _length(task)}]
            counts, errors = _counts(part), _errors(part, seed)
            found.append(PhraseRates(recognizer, condition, words, counts, errors))
    return found


def _length(task: Task) -> int:
    return len(task.said.words.split())


def _counts(outcomes: Outcomes) -> dict[str, int]:
    problems = Counter(judged.problem for _, judged in outcomes)
    return {
        "speakers": len({task.said.recording.speaker for task, _ in outcomes}),
        "utterances": len(outcomes),
        "judged": problems[""],
        "refused": problems["refused"],
        "unreadable": problems["unreadable"],
    }


def _errors(outcomes: Outcomes, seed: int) -> dict[str, ErrorRate]:
    decided = [
        (claim.kind, task.said.recording.speaker, accepted != (claim.kind == RIGHT))
        for task, judged in outcomes
        if judged.accepted
        for claim, accepted in zip(task.claims, judged.accepted, strict=True)
    ]
    of_kind = {
        kind: [(speaker, wrong) for each, speaker, wrong in decided if each == kind]
        for kind in KINDS
    }
    return {kind: _error_rate(found, seed) for kind, found in of_kind.items() if found}


def _error_rate(decided: Sequence[tuple[str, bool]], seed: int) -> ErrorRate:
    """Return the rate of wrong decisions, each with whose utterance it is about."""
    claims = Counter(speaker for speaker, _ in decided)
    wrong = Counter(speaker for speaker, error in decided if error)
    errors = wrong.total()
    return ErrorRate(
        errors,
        len(decided),
        len(claims),
        Estimate(errors / len(decided), *clopper_pearson(errors, len(decided))),
        _resampled(
            np.array([wrong[speaker] for speaker in claims]), np.array(list(claims.values())), seed
        ),
    )


def _resampled(errors: npt.NDArray[np.int64], claims: npt.NDArray[np.int64], seed: int) -> Estimate:
    """Return the rate of all, with its interval over resamples of the speakers.

    Parameters
    ----------
    errors, claims : np.ndarray, shape (speakers,)
    seed : int
    """
    speakers = len(claims)
    rate = float(errors.sum() / claims.sum())
    if speakers == 1:
        return Estimate(rate)
    chance = np.random.default_rng(seed)
    drawn = chance.multinomial(speakers, np.full(speakers, 1 / speakers), size=RESAMPLES)
    low, high = np.percentile((drawn @ errors) / (drawn @ claims), (2.5, 97.5))
    return estimate_of(rate, (float(low), float(high)), speakers)


def _unknown_notes(left_out: int, unknown: Iterable[Sequence[str]]) -> list[str]:
    if not left_out:
        return []
    words = sorted({word for some in unknown for word in some})
    return [
        f"Left out: {counted(left_out, 'utterance')} with words that a recognizer does not know: "
        f"{_several(words)}."
    ]


def _unreadable_notes(outcomes: Outcomes) -> list[str]:
    reasons = dict.fromkeys(
        judged.reason for _, judged in outcomes if judged.problem == "unreadable"
    )
    if not reasons:
        return []
    return [
        f"{counted(len(reasons), 'recording')} could not be read: {_several(list(reasons), '; ')}."
    ]


def _several(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _nothing_judged(outcomes: Outcomes, notes: Sequence[str]) -> str:
    reasons = Counter(judged.reason for _, judged in outcomes if judged.problem)
    why = reasons.most_common(1)[0][0] if reasons else notes[0] if notes else "nothing was said"
    return f"no phrase could be judged: {why.rstrip('.')}"


def _error_as_json(error: ErrorRate) -> dict[str, Any]:
    numbers = {
        "value": error.exact.value,
        "low": error.exact.low,
        "high": error.exact.high,
        "speakers_low": error.resampled.low,
        "speakers_high": error.resampled.high,
    }
    return {
        "errors": error.errors,
        "claims": error.claims,
        "speakers": error.speakers,
        **{name: number if isfinite(number) else None for name, number in numbers.items()},
    }


def _cells(rates: PhraseRates) -> Iterable[tuple[str, ...]]:
    where = (rates.recognizer, rates.condition, rates.length)
    for name, count in rates.counts.items():
        yield (*where, name, "", "", str(count), *[""] * 4)
    for kind, error in rates.errors.items():
        numbers = list(_error_as_json(error).values())[3:]
        written = ("" if number is None else f"{number:.6g}" for number in numbers)
        yield (*where, kind, str(error.errors), str(error.claims), *written)
