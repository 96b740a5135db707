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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from membrane.errors import UsageError
from membrane.evaluation.asked import FALSE, RIGHT, asked_about, candidates
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.labels import counted
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.intervals import Estimate, clopper_pearson, estimate_of
from membrane.evaluation.keeping import Kept
from membrane.evaluation.report.wording import MISSING, as_text, percent
from membrane.evaluation.word_checks import Checked, WordCheck, check_words, words_by
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
                str(rates.words or "all"),
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
    kept: Kept | None = None,
    **how: Any,
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
    kept : Kept, optional
        Decisions of earlier runs (`word_checks.kept_decisions`); without it nothing is kept.
    **how
        As `word_checks.check_words` takes it.

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
    engines = [words_by(name, settings).recognizer for name in recognizers]

    def unknown_to_one(phrase: str) -> list[str]:
        return [word for engine in engines for word in engine.unknown_words(phrase)]

    unknown = {phrase: unknown_to_one(phrase) for phrase in {one.words for one in said}}
    known = [one for one in said if not unknown[one.words]]
    spoken = [one.words for one in known]
    words = [word for word in candidates(spoken) if not unknown_to_one(word)]
    asked = asked_about(spoken, words, seed=seed)
    checks = [
        WordCheck(one, condition, name, phrases)
        for name in dict.fromkeys(recognizers)
        for condition in conditions
        for one, phrases in zip(known, asked, strict=True)
    ]
    outcomes = list(zip(checks, check_words(checks, settings, kept=kept, **how), strict=True))
    left_out = len(said) - len(known)
    notes = [*_unknown_notes(left_out, unknown.values()), *_unreadable_notes(outcomes)]
    if not any(checked.accepted for _, checked in outcomes):
        reasons = Counter(checked.reason for _, checked in outcomes if checked.problem)
        why = reasons.most_common(1)[0][0] if reasons else [*notes, "nothing was said"][0]
        raise UsageError(f"no phrase could be judged: {why.rstrip('.')}")
    if kept and kept.problem:
        notes.append(f"{kept.problem[0].upper()}{kept.problem[1:]}.")
    return PhraseEvaluation(tuple(_rates(outcomes, seed)), settings.strict, left_out, tuple(notes))


Outcomes = list[tuple[WordCheck, Checked]]


def _rates(outcomes: Outcomes, seed: int) -> list[PhraseRates]:
    parts: dict[tuple[str, str], dict[int | None, Outcomes]] = {}
    for check, checked in outcomes:
        lengths = parts.setdefault((check.recognizer, check.condition.name), {None: []})
        for words in (None, len(check.said.words.split())):
            lengths.setdefault(words, []).append((check, checked))
    return [
        PhraseRates(*place, words, _counts(part), _errors(part, seed))
        for place, lengths in parts.items()
        for words, part in sorted(lengths.items(), key=lambda one: one[0] or 0)
    ]


def _counts(outcomes: Outcomes) -> dict[str, int]:
    problems = Counter(checked.problem for _, checked in outcomes)
    return {
        "speakers": len({check.said.recording.speaker for check, _ in outcomes}),
        "utterances": len(outcomes),
        "judged": problems[""],
        "refused": problems["refused"],
        "unreadable": problems["unreadable"],
    }


def _errors(outcomes: Outcomes, seed: int) -> dict[str, ErrorRate]:
    decided: dict[str, list[tuple[str, bool]]] = {kind: [] for kind in KINDS}
    for check, checked in outcomes:
        for asked, accepted in zip(check.asked, checked.accepted, strict=not checked.problem):
            wrong = accepted != (asked.kind == RIGHT)
            decided[asked.kind].append((check.said.recording.speaker, wrong))
    return {kind: _error_rate(found, seed) for kind, found in decided.items() if found}


def _error_rate(decided: Sequence[tuple[str, bool]], seed: int) -> ErrorRate:
    """Return the rate of wrong decisions, each with whose utterance it is about."""
    claims = Counter(speaker for speaker, _ in decided)
    wrong = Counter(speaker for speaker, error in decided if error)
    errors, count, speakers = wrong.total(), len(decided), len(claims)
    resampled = Estimate(errors / count)
    if speakers > 1:
        chance = np.random.default_rng(seed)
        drawn = chance.multinomial(speakers, np.full(speakers, 1 / speakers), size=RESAMPLES)
        rates = (drawn @ [wrong[one] for one in claims]) / (drawn @ list(claims.values()))
        low, high = np.percentile(rates, (2.5, 97.5)).tolist()
        resampled = estimate_of(errors / count, (low, high), speakers)
    exact = Estimate(errors / count, *clopper_pearson(errors, count))
    return ErrorRate(errors, count, speakers, exact, resampled)


def _unknown_notes(left_out: int, unknown: Iterable[Sequence[str]]) -> list[str]:
    what = f"{counted(left_out, 'utterance')} with words that a recognizer does not know"
    words = sorted({word for some in unknown for word in some})
    return [f"Left out: {what}: {_several(words)}."] if left_out else []


def _unreadable_notes(outcomes: Outcomes) -> list[str]:
    reasons = list(dict.fromkeys(one.reason for _, one in outcomes if one.problem == "unreadable"))
    number = counted(len(reasons), "recording")
    return [f"{number} could not be read: {_several(reasons, '; ')}."] if reasons else []


def _several(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _error_as_json(error: ErrorRate) -> dict[str, Any]:
    numbers = {
        "value": error.exact.value,
        "low": error.exact.low,
        "high": error.exact.high,
        "speakers_low": error.resampled.low,
        "speakers_high": error.resampled.high,
    }
    plain = {name: number if isfinite(number) else None for name, number in numbers.items()}
    return {"errors": error.errors, "claims": error.claims, "speakers": error.speakers, **plain}


def _cells(rates: PhraseRates) -> Iterable[tuple[str, ...]]:
    where = (rates.recognizer, rates.condition, str(rates.words or "all"))
    for name, count in rates.counts.items():
        yield (*where, name, "", "", str(count), *[""] * 4)
    for kind, error in rates.errors.items():
        numbers = list(_error_as_json(error).values())[3:]
        written = ("" if number is None else f"{number:.6g}" for number in numbers)
        yield (*where, kind, str(error.errors), str(error.claims), *written)
