"""Two voices: at once, one after the other, and a television under an honest person.

The people are held-back speakers of the digit dataset. *At once*: an impostor says the prompt while
a recording of an earlier login of the victim, other digits, is played; the ratio is that of the
impostor's speech to the victim's. *One after the other*: the first digits of the prompt are the
impostor's, the rest are cut from earlier logins of the victim, or the other way round.
*Television*: read English of held-back speakers under an honest login, one talker or a babble of
six; the ratio is that of the person's speech to it. Television alone says nothing that was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

from benchmarks.attacks.door import DEFAULT, DIGITS, LONG, SHORT, Door, Knock, Outcome
from benchmarks.attacks.logins import (
    Login,
    enrolment_of,
    joined,
    pasted,
    random_digits,
    recorded_logins,
    said_by,
)
from benchmarks.attacks.tally import apcer_table, bpcer_table
from benchmarks.attacks.work import Work
from benchmarks.phrases import SPEAKERS, SPEECH, babble, load, of_part
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.evaluation.disturbances import with_noise
from membrane.phrase.matching import normalise
from membrane.voice.encoder import ENCODERS

AT_ONCE_DB = (-10, -5, 0, 5, 10)
TELEVISION_DB = (20, 10, 5)
TELEVISION_S = 5
LOUDNESS = 0.05
"""Effective value of a television alone: the level of ordinary speech."""

RECORDED = 30
"""Earlier logins of each person that others have."""

HALVES = """Three victims are few, and people differ: half and half again, every speaker of the
digit dataset as victim of every other, the first half or the second; the last three are speakers
that thresholds were chosen on. Encoder resemblyzer."""
"""Said of the last table."""

QUIET = "login of the person, nobody else to be heard"
ALONE = "television alone"


class Sizes(NamedTuple):
    """How often everything is tried.

    Parameters
    ----------
    pairs : int
        For each victim, impostor, and way of mixing.
    logins : int
        Of each honest person, for each television.
    """

    pairs: int
    logins: int


SIZES = {False: Sizes(5, 12), True: Sizes(1, 1)}
"""By whether it must be quick."""


def report(work: Work) -> str:
    """Return what was measured, in Markdown."""
    people = SPEAKERS["report"]
    doors = [work.door(name) for name in sorted(ENCODERS, key=lambda name: name != DEFAULT)]
    for door in doors:
        for person in people:
            door.enrol(person, enrolment_of(person))
    found = work.outcomes(doors, list(_all_knocks(people, SIZES[work.quick])))
    lines = []
    for door in doors:
        of_it = [outcome for outcome in found if outcome.encoder == door.encoder]
        lines.append(f"Encoder {door.encoder}:")
        lines.append(apcer_table([one for one in of_it if not _honest(one)]))
        lines.append(bpcer_table([one for one in of_it if _honest(one)]))
    return "\n\n".join([*lines, HALVES, halves(doors[0], work)])


def halves(door: Door, work: Work) -> str:
    """Return how often half a phrase of somebody else's passes, for each victim apart."""
    everybody = [person for part in ("report", "choose") for person in SPEAKERS[part]]
    for person in SPEAKERS["choose"]:
        door.enrol(person, enrolment_of(person))
    knocks = list(_half_knocks(everybody, SIZES[work.quick].pairs))
    return apcer_table(work.outcomes([door], knocks), first="half and half, the victim")


def _half_knocks(everybody: Sequence[str], pairs: int) -> Iterator[list[Knock]]:
    levels = SHORT
    length = DIGITS[levels[0]]
    for victim, impostor in permutations(everybody, 2):
        chance = np.random.default_rng([*victim.encode(), *impostor.encode()])
        for _ in range(pairs):
            digits = random_digits(length, chance)
            theirs, other = (said_by(one, digits, chance) for one in (victim, impostor))
            for first, second in ((theirs, other), (other, theirs)):
                sound = spliced(first, second, length // 2, chance)
                yield [Knock(victim, sound, _spoken(other), (victim,), impostor, levels)]


def _honest(outcome: Outcome) -> bool:
    return outcome.who == outcome.name


def _all_knocks(people: Sequence[str], sizes: Sizes) -> Iterator[list[Knock]]:
    for levels in (SHORT, LONG):
        length = DIGITS[levels[0]]
        chance = np.random.default_rng([length, 3])
        recorded = {
            person: list(recorded_logins(person, RECORDED, length, chance)) for person in people
        }
        for victim, impostor in permutations(people, 2):
            for _ in range(sizes.pairs):
                yield from _at_once(recorded[victim], impostor, levels, chance)
                yield from _one_after_the_other(recorded[victim], impostor, levels, chance)
    for person, levels in product(people, (SHORT, LONG)):
        chance = np.random.default_rng([*person.encode(), DIGITS[levels[0]]])
        for _ in range(sizes.logins):
            yield from _television(person, levels, chance)


def _at_once(
    recorded: Sequence[Login], impostor: str, levels: tuple[str, ...], chance: np.random.Generator
) -> Iterator[list[Knock]]:
    old = recorded[chance.integers(len(recorded))]
    said = said_by(impostor, random_digits(len(old.digits), chance), chance)
    for ratio in AT_ONCE_DB:
        instrument = f"two at once, the impostor {ratio:+d} dB"
        sound = with_noise(said.utterance, np.resize(old.samples, len(said.samples)), ratio)
        yield [Knock(instrument, sound, _spoken(said), (old.speaker,), impostor, levels)]


def _one_after_the_other(
    recorded: Sequence[Login], impostor: str, levels: tuple[str, ...], chance: np.random.Generator
) -> Iterator[list[Knock]]:
    victim, length = recorded[0].speaker, len(recorded[0].digits)
    digits = random_digits(length, chance)
    theirs, other = pasted(digits, recorded, chance), said_by(impostor, digits, chance)
    if theirs is None:
        return
    for count in range(1, length):
        for instrument, first, second in (
            (f"first {count} the impostor's digits, the rest the victim's", other, theirs),
            (f"first {count} the victim's digits, the rest the impostor's", theirs, other),
        ):
            sound = spliced(first, second, count, chance)
            yield [Knock(instrument, sound, _spoken(other), (victim,), impostor, levels)]


def spliced(first: Login, second: Login, count: int, chance: np.random.Generator) -> Utterance:
    """Return a phrase of which somebody says the first digits and somebody else the rest."""
    cuts = [(first if place < count else second).cut(place) for place in range(len(first.digits))]
    return Utterance(joined(cuts, chance)[0])


def _television(
    person: str, levels: tuple[str, ...], chance: np.random.Generator
) -> Iterator[list[Knock]]:
    said = said_by(person, random_digits(DIGITS[levels[0]], chance), chance)
    length = len(said.samples)
    kinds = {"one talker": _talker(length, chance), "babble": babble(length, "report", chance)}
    asked = _spoken(said)
    yield [Knock(QUIET, said.utterance, asked, (person,), person, levels)]
    for kind, noise in kinds.items():
        for ratio in TELEVISION_DB:
            sound = with_noise(said.utterance, noise, ratio)
            instrument = f"login of the person, television ({kind}) at {ratio} dB"
            yield [Knock(instrument, sound, asked, (person,), person, levels)]
    for kind, noise in kinds.items():
        alone = Utterance(LOUDNESS * noise)
        yield [Knock(f"{ALONE} ({kind})", alone, asked, (person,), "television", levels)]


def _talker(length: int, chance: np.random.Generator) -> Samples:
    """Return somebody who reads, at an effective value of 1."""
    folder = SPEECH / "librispeech-single"
    files = of_part(sorted(folder.iterdir()), folder.name, "report")
    speech = load(files[chance.integers(len(files))])
    start = chance.integers(max(1, len(speech) - TELEVISION_S * SAMPLE_RATE))
    speech = np.resize(speech[start:], length)
    return (speech / np.sqrt(np.mean(speech**2))).astype(np.float32)


def _spoken(login: Login) -> str:
    """Return the digits of a login as the words that are asked for."""
    return normalise(login.digits)
