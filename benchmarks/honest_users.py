"""How often an honest person is refused: whole logins, quality gate, words and voice together.

    python -m benchmarks.honest_users [--logins 60] [--part report|choose]

Two kinds of real speech. Strings of six digits joined from the Free Spoken Digit Dataset: three
strings enrol a speaker, others, of other takes, are the logins. And the digit strings of
speechocean762, which are short (three or four digits), of speakers enrolled with three other
utterances. Three attempts are three different strings of one person, all refused. The same logins,
right words said, are also claimed against everybody else of the same kind.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.phrases import SPEAKERS, SPEECH, interval, joined_digits, spoken_lines
from membrane.audio.files import read_utterance
from membrane.audio.utterance import Utterance
from membrane.errors import Disagreement, PoorQuality
from membrane.login.examine import Examined
from membrane.login.membrane import Membrane
from membrane.phrase.matching import is_digits
from membrane.settings import EVALUATING, SECURITY_LEVELS, load_settings

ENROLMENT = 3
ATTEMPTS = 3
DIGITS = 6
ENROLMENT_TAKES, LOGIN_TAKES = range(5), range(5, 15)


@dataclass
class Person:
    """Somebody's enrolment, and their logins: what was asked, and what was heard."""

    name: str
    enrolment: list[Utterance]
    logins: list[tuple[str, Utterance]]


@dataclass
class Tally:
    """What became of the logins of one kind of speech."""

    first: Counter[str] = field(default_factory=Counter)
    series: list[list[bool]] = field(default_factory=list)
    impostors: int = 0
    let_in: int = 0


def fsdd(part: str, logins: int) -> Iterator[Person]:
    """Yield the speakers of the digit dataset."""
    for speaker in SPEAKERS[part]:
        enrolment = [one for _, one in strings_of(speaker, ENROLMENT, ENROLMENT_TAKES)]
        yield Person(speaker, enrolment, list(strings_of(speaker, logins, LOGIN_TAKES)))


def strings_of(speaker: str, count: int, takes: range) -> Iterator[tuple[str, Utterance]]:
    """Yield random strings of a speaker's digits, joined from some of the takes."""
    chance = np.random.default_rng([*speaker.encode(), takes.start])
    for _ in range(count):
        digits = "".join(map(str, chance.integers(10, size=DIGITS)))
        yield digits, Utterance(joined_digits(speaker, digits, chance, takes=takes))


def speechocean(part: str) -> Iterator[Person]:
    """Yield the speakers of speechocean762 who said a digit string."""
    said: dict[str, list[tuple[str, Path]]] = {}
    for text, path in spoken_lines(part):
        said.setdefault(path.parent.name, []).append((text, path))
    for speaker, lines in said.items():
        strings = [
            line for line in lines if len(line[0].split()) >= 3 and is_digits(line[0].split())
        ]
        others = [line for line in lines if line not in strings]
        if strings:
            enrolment = [read_utterance(path) for _, path in others]
            logins = [(text, read_utterance(path)) for text, path in strings]
            yield Person(speaker, enrolment, logins)


def try_logins(people: list[Person], security: str) -> Tally:
    """Enrol everybody, let everybody log in, and everybody claim to be everybody else."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "voiceprints.joblib"
        membrane = Membrane(load_settings(database=database, security=security, **EVALUATING))
        enrolled = [person for person in people if enrol(membrane, person, tally)]
        names = [person.name for person in enrolled]
        for person in enrolled:
            outcomes = [try_login(membrane, person.name, login, tally) for login in person.logins]
            tally.series.append(outcomes)
            for asked, utterance in person.logins:
                for other in (name for name in names if name != person.name):
                    tally.impostors += 1
                    tally.let_in += accepted(membrane, other, asked, utterance)
    return tally


def try_login(membrane: Membrane, name: str, login: tuple[str, Utterance], tally: Tally) -> bool:
    """Let one person log in as a microphone would judge it, and count what they were told."""
    asked, utterance = login
    try:
        decision = membrane.verify(name, utterance, expected=asked)
    except PoorQuality:
        tally.first["quality"] += 1
        return False
    checks = (("words", decision.words), ("voice", decision.voice))
    failed = [check for check, match in checks if match is None or not match.accepted]
    tally.first[" and ".join(failed) or "accepted"] += 1
    return decision.accepted


def accepted(membrane: Membrane, name: str, asked: str, utterance: Utterance) -> bool:
    """Return whether an utterance is let in as somebody."""
    try:
        return membrane.verify(name, utterance, expected=asked).accepted
    except PoorQuality:
        return False


def enrol(membrane: Membrane, person: Person, tally: Tally) -> bool:
    """Enrol one person with the first phrases that can be judged, as at a microphone.

    An enrolment whose phrases do not agree is counted: nobody can ask for another one here.
    """
    phrases: list[Examined] = []
    for utterance in person.enrolment:
        with suppress(PoorQuality):
            phrases.append(membrane.examine(utterance, enrolling=True))
        if len(phrases) == ENROLMENT:
            break
    try:
        membrane.enroll(person.name, phrases)
    except Disagreement:
        tally.first["enrolment refused"] += len(person.logins)
        return False
    return True


def show(kind: str, tally: Tally) -> None:
    """Print what became of the logins."""
    total = sum(tally.first.values())
    refused = total - tally.first["accepted"]
    print(f"\n{kind}: {total} logins of {len(tally.series)} people")
    print(f"  first attempt refused  {interval(refused, total)}   {dict(tally.first)}")
    threes = [
        outcomes[start : start + ATTEMPTS]
        for outcomes in tally.series
        for start in range(0, len(outcomes) - ATTEMPTS + 1, ATTEMPTS)
    ]
    if threes:
        failed = sum(not any(three) for three in threes)
        print(f"  three attempts refused {interval(failed, len(threes))}")
    print(f"  others let in          {interval(tally.let_in, tally.impostors)}")


def main() -> None:
    """Print the rates of both kinds of speech."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logins", type=int, default=60, help="strings a speaker of fsdd")
    parser.add_argument("--part", choices=("report", "choose"), default="report")
    parser.add_argument("--security", nargs="*", choices=SECURITY_LEVELS, default=["balanced"])
    options = parser.parse_args()
    if not SPEECH.is_dir():
        parser.exit(2, f"{SPEECH} is missing\n")
    for kind, people in (
        ("six digits joined from fsdd", list(fsdd(options.part, options.logins))),
        ("digit strings of speechocean762", list(speechocean(options.part))),
    ):
        for security in options.security:
            show(f"{kind}, {security}", try_logins(people, security))


if __name__ == "__main__":
    main()
