"""Replay: recordings of earlier logins against a new prompt, and prompts pasted from them.

The victims are held-back speakers of the digit dataset, enrolled from other takes than those of
their logins, which the attacker recorded. The voice is always the victim's: the words decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.attacks import prompts
from benchmarks.attacks.door import DIGITS, LONG, SHORT, Knock, Outcome
from benchmarks.attacks.logins import (
    Login,
    enrolment_of,
    pasted,
    random_digits,
    recorded_logins,
    through_loudspeaker,
)
from benchmarks.attacks.tally import (
    apcer_table,
    bpcer_table,
    in_attempts,
    per_cent,
    percentage,
    table,
)
from benchmarks.attacks.work import Work
from benchmarks.honest_users import LOGIN_TAKES
from benchmarks.phrases import SPEAKERS
from membrane.audio.fingerprint import fingerprint_of
from membrane.audio.utterance import Utterance
from membrane.phrase.matching import normalise
from membrane.store.login_record import REMEMBERED

HONEST = "login of the person"
RANDOM = "earlier login, new random prompt"
PLAYED = "earlier login through a loudspeaker in a room, new random prompt"
EXCHANGED = "earlier login, two neighbours exchanged in the prompt"
REORDERED = "earlier login, its digits in another order asked"
PASTED = "prompt pasted from single digits of earlier logins, over one noise"
CRUDE = "prompt pasted, side by side in digital silence"
PASTED_PLAYED = "prompt pasted, over one noise, through a loudspeaker in a room"

CHANGED = {
    count: f"earlier login, {count} of its digits changed in the prompt" for count in (1, 2, 3)
}


OLD_TAKES, NEW_TAKES = LOGIN_TAKES[:5], LOGIN_TAKES[5:]
"""Takes of logins that were recorded, and of a login that nobody ever heard."""


COST = """What raises the cost of pasting. Whoever holds a good recording of every digit of the
prompt is as good as the person: compare the rows above with the honest logins. Eight digits hinder
hardly more than six, because a recording of eight digits also holds more of them; prompts of words
(`--prompt words`) do: how likely, in per cent, the next prompt can be pasted from so many
recordings of earlier logins of the same kind (computed, not measured). What is cut from
the last twenty logins is recognised (above), so that the recordings must be older, or of something
else than logins. The paste must be ready before the time between prompt and speech is over, and it
loses much through a loudspeaker."""
"""Said of the table that follows."""


class Sizes(NamedTuple):
    """How much is tried.

    Parameters
    ----------
    recordings : int
        Of earlier logins, of each victim and length.
    prompts : int
        Random prompts for each of them.
    changed : int
        Prompts of every kind that is near to what was said.
    pasted : int
        Prompts that are pasted, of each victim, length and kind.
    recognised : int
        Of these, how many are looked for among the recordings that are remembered.
    """

    recordings: int
    prompts: int
    changed: int
    pasted: int
    recognised: int


SIZES = {False: Sizes(60, 6, 2, 100, 30), True: Sizes(4, 2, 1, 4, 2)}
"""By whether it must be quick. In full there are 1,080 attempts with a recording and a new prompt
at each security level, 300 to 360 of every other kind."""


def report(work: Work) -> str:
    """Return what was measured, in Markdown."""
    victims = SPEAKERS["report"]
    door = work.door()
    for victim in victims:
        door.enrol(victim, enrolment_of(victim))
    sizes = SIZES[work.quick]
    found = work.outcomes([door], list(_all_knocks(victims, sizes)))
    attacks = [outcome for outcome in found if outcome.instrument != HONEST]
    honest = [outcome for outcome in found if outcome.instrument == HONEST]
    three = [one._replace(instrument="… three attempts") for one in in_attempts(honest)]
    return "\n\n".join(
        [
            f"{len(victims)} victims, encoder {door.encoder}.",
            apcer_table(attacks),
            bpcer_table([*honest, *three]),
            risk(attacks),
            recognised(victims, sizes),
            COST,
            prompts.covering_table(),
        ]
    )


def risk(outcomes: Sequence[Outcome]) -> str:
    """Return how likely one recording is let in with a random prompt, by how much they differ.

    Few random prompts are near to what was said, so counting them says little of those; here each
    distance is weighted by how likely it is.
    """
    rows = []
    for level, length in DIGITS.items():
        shares = prompts.distance_shares(length)
        cells, total = [], shares[0]
        for count, name in CHANGED.items():
            tried = [one.accepted for one in outcomes if one[0] == name and one.level == level]
            rate = sum(tried) / max(1, len(tried))
            total += shares[count] * rate
            cells.append(f"{percentage(shares[count])} × {percentage(rate)}")
        rows.append([level, percentage(shares[0]), *cells, percentage(total)])
    head = ["per cent", "same prompt", *(f"{count} changed" for count in CHANGED), "sum"]
    return (
        "How likely a random prompt differs in so few places, times how often it is then let in. "
        "Of the last twenty logins no recording meets such a prompt: a new one differs from each "
        "of their prompts in half of the places or more."
        f"\n\n{table(head, rows)}"
    )


def _all_knocks(victims: Sequence[str], sizes: Sizes) -> Iterator[list[Knock]]:
    for victim in victims:
        for levels in (SHORT, LONG):
            length = DIGITS[levels[0]]
            chance = np.random.default_rng([*victim.encode(), length])
            recorded = list(recorded_logins(victim, sizes.recordings, length, chance))
            for login in recorded:
                yield list(_replayed(login, sizes, levels, chance))
                yield list(_played(login, sizes, levels, chance))
            for _ in range(sizes.pasted):
                digits = random_digits(length, chance)
                yield from _pasted(digits, recorded, levels, chance)


def _replayed(
    login: Login, sizes: Sizes, levels: tuple[str, ...], chance: np.random.Generator
) -> Iterator[Knock]:
    knock = partial(_knock, login.speaker, login.utterance, levels)
    yield knock(HONEST, login.digits)
    for _ in range(sizes.prompts):
        yield knock(RANDOM, random_digits(len(login.digits), chance))
    for _ in range(sizes.changed):
        for count, instrument in CHANGED.items():
            yield knock(instrument, prompts.changed(login.digits, count, chance))
        if len(set(login.digits)) > 1:
            yield knock(EXCHANGED, prompts.exchanged(login.digits, chance))
            yield knock(REORDERED, prompts.reordered(login.digits, chance))


def _played(
    login: Login, sizes: Sizes, levels: tuple[str, ...], chance: np.random.Generator
) -> Iterator[Knock]:
    sound = through_loudspeaker(login.utterance, chance)
    for _ in range(sizes.prompts):
        asked = random_digits(len(login.digits), chance)
        yield _knock(login.speaker, sound, levels, PLAYED, asked)


def _pasted(
    digits: str, recorded: Sequence[Login], levels: tuple[str, ...], chance: np.random.Generator
) -> Iterator[list[Knock]]:
    victim = recorded[0].speaker
    sounds = _patchworks(digits, recorded, chance)
    for instrument, sound in sounds.items():
        yield [_knock(victim, sound, levels, instrument, digits)]


def _patchworks(
    digits: str, recorded: Sequence[Login], chance: np.random.Generator
) -> dict[str, Utterance]:
    """Return a prompt in each way of pasting it; nothing where a digit was never recorded."""
    careful = pasted(digits, recorded, chance)
    crude = pasted(digits, recorded, chance, crude=True)
    if careful is None or crude is None:
        return {}
    return {
        PASTED: careful.utterance,
        CRUDE: crude.utterance,
        PASTED_PLAYED: through_loudspeaker(careful.utterance, chance),
    }


def recognised(victims: Sequence[str], sizes: Sizes) -> str:
    """Return how many patchworks are known again by the recordings that they were cut from.

    Compared with each remembered recording alone, as `verify` does, and with all of them together.
    """
    found: dict[str, list[tuple[bool, bool]]] = {}
    length = DIGITS[SHORT[0]]
    for victim in victims:
        chance = np.random.default_rng([*victim.encode(), 7])
        recorded = list(recorded_logins(victim, REMEMBERED, length, chance, takes=OLD_TAKES))
        known = [fingerprint_of(login.samples) for login in recorded]
        for fresh in recorded_logins(victim, sizes.recognised, length, chance, takes=NEW_TAKES):
            sounds = _patchworks(fresh.digits, recorded, chance)
            for instrument, sound in {**sounds, HONEST: fresh.utterance}.items():
                one = fingerprint_of(sound.samples)
                alone = any(one.same_recording(other) for other in known)
                found.setdefault(instrument, []).append((alone, one.heard_in(known)))
    rows = [
        [instrument, *(per_cent(sum(column), len(column)) for column in zip(*flags, strict=True))]
        for instrument, flags in found.items()
    ]
    head = ["what is submitted", "by one of them alone %", "by all together, as `verify` asks %"]
    return (
        f"Pasted from the last {REMEMBERED} logins, whose fingerprints are kept: how many are "
        "taken for a recording that was heard before, by one remembered recording alone, and by "
        "all together (`Fingerprint.heard_in`). The person's own new login must not be. What is "
        "pasted from recordings that are not remembered is not recognised:"
        f"\n\n{table(head, rows)}"
    )


def _knock(
    victim: str, utterance: Utterance, levels: tuple[str, ...], instrument: str, asked: str
) -> Knock:
    return Knock(instrument, utterance, normalise(asked), (victim,), victim, levels)
