"""The door: people enrolled in a database, and whole decisions about whoever knocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from membrane.audio.utterance import Utterance
from membrane.errors import Disagreement, PoorQuality
from membrane.login.decision import Decision
from membrane.login.examine import Examined
from membrane.login.membrane import Membrane
from membrane.settings import EVALUATING, SECURITY_LEVELS, Settings, load_settings

ENROLMENT = 3
"""Phrases that a voiceprint is made of."""

ATTEMPTS = 3
"""Prompts that one login may try."""

DIGITS = {"convenient": 6, "balanced": 6, "strict": 8}
"""How many digits each security level asks for."""

SHORT, LONG = ("convenient", "balanced"), ("strict",)
"""The levels that share the length of a prompt."""

DEFAULT = Settings().encoder


@dataclass(frozen=True)
class Door:
    """A database of people who were enrolled with one encoder.

    Parameters
    ----------
    folder : Path
        Where the database lies.
    encoder : str
    """

    folder: Path
    encoder: str = DEFAULT

    def enrol(self, name: str, utterances: Iterable[Utterance]) -> bool:
        """Enrol somebody with the first phrases that can be judged; tell whether they agreed."""
        membrane = self.at(SECURITY_LEVELS[0])
        phrases: list[Examined] = []
        for utterance in utterances:
            with suppress(PoorQuality):
                phrases.append(membrane.examine(utterance, enrolling=True))
            if len(phrases) == ENROLMENT:
                break
        try:
            membrane.enroll(name, phrases)
        except Disagreement:
            return False
        return True

    def at(self, level: str) -> Membrane:
        """Return the Membrane of a security level; all share their engines."""
        return _membrane(self, level)


class Knock(NamedTuple):
    """A sound at the door, and as whom it wants to be let in.

    Parameters
    ----------
    instrument : str
        What is tried, such as "recording of an earlier login".
    utterance : Utterance
    asked : str
        The prompt; empty where the words of the recording are not known, and not checked.
    names : tuple of str
        The people it claims to be, one after another.
    who : str
        Who speaks.
    levels : tuple of str
        The security levels that are asked.
    """

    instrument: str
    utterance: Utterance
    asked: str
    names: tuple[str, ...]
    who: str = ""
    levels: tuple[str, ...] = SECURITY_LEVELS


class Outcome(NamedTuple):
    """What became of one claim.

    Parameters
    ----------
    instrument, encoder, level, name, who : str
        As of the knock; `name` is the one that was claimed.
    refused_by : str
        The checks that failed, such as "words and voice"; empty if somebody was let in.
    similarity : float
        Raw cosine; not-a-number where the recording could not be judged.
    """

    instrument: str
    encoder: str
    level: str
    name: str
    who: str
    refused_by: str
    similarity: float

    @property
    def accepted(self) -> bool:
        """Whether somebody was let in."""
        return not self.refused_by


def outcomes(doors: Sequence[Door], knocks: Sequence[Knock]) -> list[Outcome]:
    """Return what every door decides about every knock, at every level that it asks for.

    Knocks with the same sound should follow one another: it is examined and listened to once.
    """
    return [
        outcome
        for _, same in groupby(knocks, key=lambda knock: id(knock.utterance))
        for together in [list(same)]
        for door in doors
        for outcome in _outcomes_at(door, together)
    ]


def _outcomes_at(door: Door, knocks: Sequence[Knock]) -> Iterator[Outcome]:
    """Yield the outcomes of knocks with the same sound."""
    heard = _heard(door, knocks[0].utterance)
    for knock in knocks:
        worded = {strict: _worded(door, heard, knock.asked, strict) for strict in _kinds(knock)}
        for level in knock.levels:
            membrane = door.at(level)
            for name in knock.names:
                evidence = worded[membrane.settings.strict]
                decided = _decided(membrane, name, evidence)
                yield Outcome(knock.instrument, door.encoder, level, name, knock.who, *decided)


def _kinds(knock: Knock) -> set[bool]:
    """Return whether the words must be matched strictly, loosely, or both."""
    return {level == "strict" for level in knock.levels}


def _heard(door: Door, utterance: Utterance) -> Examined | None:
    """Return the evidence without the words, or None for what cannot be judged."""
    with suppress(PoorQuality):
        return door.at(SECURITY_LEVELS[0]).examine(utterance)
    return None


def _worded(door: Door, heard: Examined | None, asked: str, strict: bool) -> Examined | None:
    """Return the evidence with the words that are asked for, as `verify` takes it."""
    if heard is None or not asked:
        return heard
    recognizer = door.at(SECURITY_LEVELS[0]).words.recognizer
    return replace(heard, words=recognizer.match(heard.prepared.samples, asked, strict=strict))


def _decided(membrane: Membrane, name: str, examined: Examined | None) -> tuple[str, float]:
    if examined is None:
        return "quality", float("nan")
    decision = membrane.decide(name, examined)
    similarity = decision.voice.similarity if decision.voice else float("nan")
    return refused_by(decision), similarity


def refused_by(decision: Decision) -> str:
    """Return which checks failed; empty if somebody was let in."""
    if decision.accepted:
        return ""
    failed = []
    if decision.words is not None and not decision.words.accepted:
        failed.append("words")
    if decision.voice is None or not decision.voice.accepted:
        failed.append("voice")
    return " and ".join(failed) or "another check"


@cache
def _membrane(door: Door, level: str) -> Membrane:
    return Membrane(
        load_settings(
            database=door.folder / f"{door.encoder}.joblib",
            encoder=door.encoder,
            security=level,
            **EVALUATING,
        ),
        processes=0,
    )
