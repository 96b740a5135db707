"""Real people to enrol, and what they say when they log in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np

from benchmarks.attacks.door import DIGITS, ENROLMENT, LONG, SHORT, Door
from benchmarks.attacks.logins import enrolment_of, recorded_logins
from benchmarks.phrases import SPEECH, heldback
from membrane.audio.utterance import Utterance
from membrane.evaluation.corpora.recordings import Recording, find_recordings
from membrane.evaluation.corpora.transcripts import read_transcripts
from membrane.evaluation.trials import enrol_and_probe
from membrane.phrase.matching import normalise
from membrane.phrase.recognizers.pocketsphinx import PocketSphinxRecognizer
from membrane.settings import SECURITY_LEVELS

DIGIT_LOGINS = 21
"""Strings that a speaker of digits says at each length: seven logins of three attempts."""

DIGIT_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


@dataclass(frozen=True, eq=False)
class Said:
    """What somebody says to log in.

    Parameters
    ----------
    utterance : Utterance
    words : str
        Empty where they are not known.
    levels : tuple of str
        The security levels that it is an answer to.
    """

    utterance: Utterance
    words: str = ""
    levels: tuple[str, ...] = SECURITY_LEVELS


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody of a corpus.

    Parameters
    ----------
    name, corpus : str
    enrolment : sequence of Utterance
    logins : sequence of Said
    held_back : bool
        Whether no threshold was chosen on their voice.
    """

    name: str
    corpus: str
    enrolment: Sequence[Utterance]
    logins: Sequence[Said]
    held_back: bool


def everybody(*, most: int | None = None) -> list[Person]:
    """Return the people of three corpora, `most` of each at most."""
    corpora = (_digit_speakers(), _readers("librispeech"), _readers("speechocean762"))
    return [person for people in corpora for person in islice(people, most)]


def enrolled(people: Sequence[Person], doors: Sequence[Door]) -> list[Person]:
    """Enrol people at every door; return those whose phrases agreed at all of them."""
    agreed = [
        {person.name for person in people if door.enrol(person.name, person.enrolment)}
        for door in doors
    ]
    return [person for person in people if all(person.name in names for names in agreed)]


def _digit_speakers() -> Iterator[Person]:
    reported = heldback("fsdd")
    for speaker in DIGIT_SPEAKERS:
        logins = [
            Said(login.utterance, normalise(login.digits), levels)
            for levels in (SHORT, LONG)
            for login in recorded_logins(
                speaker, DIGIT_LOGINS, DIGITS[levels[0]], np.random.default_rng([*speaker.encode()])
            )
        ]
        yield Person(f"fsdd {speaker}", "fsdd", enrolment_of(speaker), logins, speaker in reported)


def _readers(corpus: str) -> Iterator[Person]:
    """Yield the people of a corpus as `membrane evaluate` enrols them."""
    recordings = find_recordings([SPEECH / corpus]).recordings
    trials = enrol_and_probe(recordings, enroll=(ENROLMENT,))
    reported = heldback(corpus)
    for who in trials.enrolled:
        probes = [probe for probe in trials.probes if probe.speaker == who.speaker]
        yield Person(
            f"{corpus} {who.speaker}",
            corpus,
            [one.read() for one in who.recordings],
            [Said(probe.read(), _words(corpus, probe)) for probe in probes],
            who.speaker in reported,
        )


def _words(corpus: str, recording: Recording) -> str:
    """Return what is said in a recording, if it is known and the recognizer knows all words."""
    said = _transcripts(corpus).get(recording.files, "")
    return "" if _recognizer().unknown_words(said) else said


@cache
def _transcripts(corpus: str) -> dict[tuple[object, ...], str]:
    path = SPEECH / corpus / "transcripts.tsv"
    if not path.exists():
        return {}
    recordings = find_recordings([SPEECH / corpus]).recordings
    return {said.recording.files: said.words for said in read_transcripts(path, recordings)}


@cache
def _recognizer() -> PocketSphinxRecognizer:
    return PocketSphinxRecognizer()
