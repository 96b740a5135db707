"""Recordings of people who say digits, and what an attacker makes of them.

A recorded login is joined from takes of single digits (Free Spoken Digit Dataset), so that it is
known where each digit lies in it: an attacker who cuts by ear and eye knows that, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.honest_users import ENROLMENT, ENROLMENT_TAKES, LOGIN_TAKES, strings_of
from benchmarks.phrases import FLOOR, SPEECH, load
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.evaluation.codecs import coded
from membrane.evaluation.disturbances import in_room, response_from

PEAK = 0.3
"""Of full scale, as `benchmarks.phrases.joined_digits` has it."""

BETWEEN_S = (0.04, 0.3)
AROUND_S = (0.3, 0.5)
"""Pauses between two digits, and before and after all of them."""

CRUDE_GAP_S = 0.05
"""Between two pasted digits, of digital silence, where nobody took care."""

Places = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Login:
    """A recording of digits, and where each of them lies.

    Parameters
    ----------
    speaker, digits : str
    samples : np.ndarray, shape (n,), float32, 16 kHz
    places : tuple of slice
    """

    speaker: str
    digits: str
    samples: Samples
    places: Places

    @property
    def utterance(self) -> Utterance:
        """The recording, as it is given to a login."""
        return Utterance(self.samples)

    def cut(self, place: int) -> Samples:
        """Return the sound of one digit."""
        return self.samples[self.places[place]]


def enrolment_of(speaker: str) -> list[Utterance]:
    """Return the strings that a speaker is enrolled from, of other takes than all logins."""
    return [utterance for _, utterance in strings_of(speaker, ENROLMENT, ENROLMENT_TAKES)]


def recorded_logins(
    speaker: str,
    count: int,
    length: int,
    chance: np.random.Generator,
    *,
    takes: range = LOGIN_TAKES,
) -> Iterator[Login]:
    """Yield recordings of somebody's logins with random prompts."""
    for _ in range(count):
        yield said_by(speaker, random_digits(length, chance), chance, takes=takes)


def random_digits(length: int, chance: np.random.Generator) -> str:
    """Return a prompt as `membrane.phrase.prompts.random_prompt` draws it, but repeatable."""
    return "".join(map(str, chance.integers(10, size=length)))


def said_by(
    speaker: str, digits: str, chance: np.random.Generator, *, takes: range = LOGIN_TAKES
) -> Login:
    """Return a recording of somebody who says digits, one after another."""
    folder = SPEECH / "fsdd" / speaker
    cuts = [
        load(folder / f"{digit}_{speaker}_{take}.flac")
        for digit, take in zip(digits, chance.choice(takes, len(digits)), strict=True)
    ]
    samples, places = joined(cuts, chance)
    return Login(speaker, digits, samples, places)


def joined(cuts: Sequence[Samples], chance: np.random.Generator) -> tuple[Samples, Places]:
    """Return sounds with pauses between them over a room's noise, and where each of them is."""
    pieces, places, length = [], [], 0
    for number, cut in enumerate(cuts):
        pause = _silence(chance.uniform(*(BETWEEN_S if number else AROUND_S)))
        places.append(slice(length + len(pause), length + len(pause) + len(cut)))
        pieces += [pause, cut]
        length = places[-1].stop
    return _in_quiet_room([*pieces, _silence(chance.uniform(*AROUND_S))], chance), tuple(places)


def pasted(
    digits: str, recordings: Sequence[Login], chance: np.random.Generator, *, crude: bool = False
) -> Login | None:
    """Return a prompt cut from recordings of earlier logins, each digit from any that has it.

    Parameters
    ----------
    digits : str
    recordings : sequence of Login
        Of one speaker.
    chance : np.random.Generator
    crude : bool
        Set the cuts side by side in digital silence, instead of over one room's noise.

    Returns
    -------
    Login or None
        None where the recordings lack a digit.
    """
    cuts = []
    for digit in digits:
        holding = [
            (one, place)
            for one in recordings
            for place, said in enumerate(one.digits)
            if said == digit
        ]
        if not holding:
            return None
        recording, place = holding[chance.integers(len(holding))]
        cuts.append(recording.cut(place))
    samples, places = _side_by_side(cuts) if crude else joined(cuts, chance)
    return Login(recordings[0].speaker, digits, samples, places)


def through_loudspeaker(utterance: Utterance, chance: np.random.Generator) -> Utterance:
    """Return a sound as a small loudspeaker plays it in a room: telephone band, echo, noise."""
    responses = sorted((SPEECH / "rir").glob("*.flac"))
    played = utterance.changed(samples=coded(utterance.samples, "telephone"))
    echoing = in_room(played, response_from(responses, chance))
    noise = chance.normal(scale=FLOOR, size=len(echoing.samples)).astype(np.float32)
    return echoing.changed(samples=echoing.samples + noise)


def _side_by_side(cuts: Sequence[Samples]) -> tuple[Samples, Places]:
    pieces, places, length = [], [], 0
    for cut in cuts:
        pause = _silence(CRUDE_GAP_S)
        places.append(slice(length + len(pause), length + len(pause) + len(cut)))
        pieces += [pause, cut]
        length = places[-1].stop
    return np.concatenate([*pieces, _silence(CRUDE_GAP_S)]), tuple(places)


def _silence(seconds: float) -> Samples:
    return np.zeros(int(SAMPLE_RATE * seconds), np.float32)


def _in_quiet_room(pieces: Sequence[Samples], chance: np.random.Generator) -> Samples:
    whole = np.concatenate(pieces)
    whole *= PEAK / np.abs(whole).max()
    return whole + chance.normal(scale=FLOOR, size=len(whole)).astype(np.float32)
