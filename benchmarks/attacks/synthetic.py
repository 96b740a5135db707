"""Synthetic voices: every variant of eSpeak NG reads the prompt, against every real person.

The words are right. eSpeak's formant synthesis knows nothing of the person; a voice clone, made
from recordings of them, would do far better and is not tried here. The attacker who climbs is told
the similarity after each attempt, which Membrane hides, and changes speed and pitch for one person
from the best voice on; the similarity that is reached is shown beside what the person's own logins
reach and what is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.attacks import espeak
from benchmarks.attacks.door import DEFAULT, DIGITS, LONG, SHORT, Door, Knock, Outcome, outcomes
from benchmarks.attacks.espeak import LANGUAGES, Voice
from benchmarks.attacks.logins import random_digits
from benchmarks.attacks.people import Person, enrolled, everybody
from benchmarks.attacks.tally import apcer_table, levels_of, per_cent, table
from benchmarks.attacks.work import Work
from membrane.evaluation.parallel import as_they_finish
from membrane.phrase.matching import normalise
from membrane.voice.encoder import ENCODERS

LEVEL = "balanced"
"""At which the climbing attacker is judged: the default."""

SPEEDS = (80, 260)
PITCHES = (0, 99)
"""Least and greatest that is tried; eSpeak's pitch knows no others."""

STEPS = (40, 20, 10, 5)
"""In words per minute and in pitch, each until it no longer helps."""

MOST_OWN = 7
"""Logins of a person that show how alike they are to themselves."""

LANGUAGES_TRIED = {False: 4, True: 1}
VARIANTS_TRIED = {False: None, True: 4}
PEOPLE_OF_CORPUS = {False: None, True: 2}
CLIMBED = {False: 8, True: 1}
"""By whether it must be quick: languages, variants and people; people of each corpus, held back,
whom a voice is climbed to."""


def report(work: Work) -> str:
    """Return what was measured, in Markdown."""
    if espeak.missing():
        return f"Not measured: {espeak.PROGRAM} is not installed."
    doors = [work.door(name) for name in sorted(ENCODERS, key=lambda name: name != DEFAULT)]
    people = enrolled(everybody(most=PEOPLE_OF_CORPUS[work.quick]), doors)
    voices = [
        Voice(language, variant)
        for language in LANGUAGES[: LANGUAGES_TRIED[work.quick]]
        for variant in espeak.variants()[: VARIANTS_TRIED[work.quick]]
    ]
    names = tuple(person.name for person in people)
    found = work.outcomes(doors, list(_knocks(voices, names)))
    lines = [f"{len(voices)} voices, {len(people)} people enrolled."]
    for door in doors:
        of_it = [one for one in found if one.encoder == door.encoder]
        lines += [f"Encoder {door.encoder}:", apcer_table(of_it), _independent(of_it)]
    return "\n\n".join([*lines, _climbed(work, doors[0], people, found)])


def _knocks(voices: Sequence[Voice], names: tuple[str, ...]) -> Iterator[list[Knock]]:
    chance = np.random.default_rng(5)
    for voice in voices:
        for levels in (SHORT, LONG):
            digits = random_digits(DIGITS[levels[0]], chance)
            sound = espeak.prompt_said(voice, digits)
            instrument = f"eSpeak {voice.language}, every variant"
            yield [Knock(instrument, sound, normalise(digits), names, voice.name, levels)]


def _independent(outcomes: Sequence[Outcome]) -> str:
    """Return how many voices and people were ever confused: attempts are not independent."""
    rows = []
    for level in levels_of(outcomes):
        at_level = [one for one in outcomes if one.level == level]
        let_in = [one for one in at_level if one.accepted]
        rows.append(
            [
                level,
                per_cent(len(let_in), len(at_level)),
                per_cent(len({one.who for one in let_in}), len({one.who for one in at_level})),
                per_cent(len({one.name for one in let_in}), len({one.name for one in at_level})),
            ]
        )
    head = ["level", "attempts let in %", "voices ever let in %", "people ever taken for one %"]
    return table(head, rows)


def _climbed(work: Work, door: Door, people: Sequence[Person], found: Sequence[Outcome]) -> str:
    """Return how alike a person a voice becomes that is told each time how alike it is."""
    chosen = [
        person
        for corpus in dict.fromkeys(person.corpus for person in people)
        for person in [one for one in people if one.corpus == corpus and one.held_back][
            : CLIMBED[work.quick]
        ]
    ]
    calls = [(door, person.name, _best_voice(person.name, door, found)) for person in chosen]
    reached = dict(as_they_finish(climb, calls, workers=work.jobs))
    rows = [
        [
            *(person.name, voice.name, voice.words_per_minute, voice.pitch),
            *(f"{number:.3f}" for number in (first, best, _own_similarity(door, person))),
            "yes" if accepted else "no",
        ]
        for person in chosen
        for voice, first, best, accepted in [reached[person.name]]
    ]
    let_in = sum(row[-1] == "yes" for row in rows)
    head = [
        *("person", "voice", "words a minute", "pitch", "similarity, first", "best"),
        *("the person's own, median", "let in"),
    ]
    return (
        f"Climbing, encoder {door.encoder}, {LEVEL}: {per_cent(let_in, len(rows))} people were "
        f"reached with the right words.\n\n{table(head, rows)}"
    )


def _own_similarity(door: Door, person: Person) -> float:
    """Return how alike a person's own logins are, in the middle."""
    own = [Knock("own", said.utterance, "", (person.name,)) for said in person.logins[:MOST_OWN]]
    return float(np.nanmedian([one.similarity for one in outcomes([door], own)]))


def _best_voice(name: str, door: Door, found: Sequence[Outcome]) -> Voice:
    tried = [
        one
        for one in found
        if (one.name, one.encoder, one.level) == (name, door.encoder, LEVEL)
        and not np.isnan(one.similarity)
    ]
    language, _, variant = max(tried, key=lambda one: one.similarity).who.partition("+")
    return Voice(language, variant)


def climb(door: Door, name: str, voice: Voice) -> tuple[str, tuple[Voice, float, float, bool]]:
    """Return the voice near another that is most like a person, and whether it is let in.

    Speed and pitch are changed by smaller and smaller steps as long as the similarity rises. The
    words are not checked on the way, only at the end.
    """
    best = first = _similarity(door, name, voice)
    for step in STEPS:
        better = True
        while better:
            tried = {near: _similarity(door, name, near) for near in _near(voice, step)}
            nearest = max(tried, key=lambda near: tried[near])
            better = tried[nearest] > best
            if better:
                voice, best = nearest, tried[nearest]
    (end,) = outcomes([door], [_knock(name, voice, checked=True)])
    return name, (voice, first, best, end.accepted)


def _near(voice: Voice, step: int) -> list[Voice]:
    """Return the voices one step slower, faster, lower and higher."""
    speed, pitch = voice.words_per_minute, voice.pitch
    return [
        Voice(
            voice.language,
            voice.variant,
            int(np.clip(speed + faster, *SPEEDS)),
            int(np.clip(pitch + higher, *PITCHES)),
        )
        for faster, higher in ((-step, 0), (step, 0), (0, -step), (0, step))
    ]


def _similarity(door: Door, name: str, voice: Voice) -> float:
    (outcome,) = outcomes([door], [_knock(name, voice, checked=False)])
    return -1.0 if np.isnan(outcome.similarity) else outcome.similarity


def _knock(name: str, voice: Voice, *, checked: bool) -> Knock:
    digits = "492017"
    asked = normalise(digits) if checked else ""
    sound = espeak.prompt_said(voice, digits)
    return Knock("climbing", sound, asked, (name,), voice.name, (LEVEL,))
