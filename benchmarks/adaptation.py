"""What adaptation does to honest people and to impostors, and what an attacker can make of it.

    python -m benchmarks.adaptation [--encoder NAME] [--part report|choose]

Voices of the held-back speakers: strings of six digits (fsdd), read sentences (speechocean762,
five seconds of LibriSpeech). Three recordings enrol a person, others are logins that may renew the
voiceprint, those that are left are the probes, of everybody against everybody of the same corpus,
at `balanced`. Words are not recognised: they are taken to be right, an attacker's, too. All
recordings of a person were made on one day, so this shows what adaptation costs, not what it is
good for, which is a voice that ages.

The attack: whoever has the recording that is most like a person submits all theirs as that person,
again and again, and every two weeks the best one that may renew the voiceprint does. Beside it
stands what would happen if every accepted login renewed the voiceprint: with the weights of an
adapted utterance, so what an attacker has of being let in by luck; and without any rule.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.honest_users import strings_of
from benchmarks.phrases import SPEAKERS, SPEECH, heldback, interval
from membrane.audio.files import read_utterance
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import PoorQuality
from membrane.login.adapt import (
    AGEING,
    MOST_ADAPTED,
    Login,
    adapted,
    may_adapt,
    without_adaptation,
)
from membrane.login.compare import Compared
from membrane.login.decision import Decision
from membrane.login.examine import Examined, Examiner
from membrane.login.voices import Voices
from membrane.phrase.recognizer import PhraseMatch
from membrane.settings import Settings, load_settings
from membrane.store.voiceprint import Voiceprint
from membrane.voice.scoring import similarity
from membrane.voice.voice import VoiceMatch

ENROLMENT = 3
ROUNDS = 10
"""Times that an attacker comes back, two weeks after the last."""

STRINGS = 20
TAKES = (range(5), range(5, 10), range(10, 15))
"""Takes of digits that enrol, log in and probe."""

SENTENCE_S = 5
RIGHT = PhraseMatch("", "", accepted=True, score=0.0, threshold=0.0)


@dataclass
class Person:
    """Somebody's voiceprint, the logins that may renew it, and the probes."""

    voiceprint: Voiceprint
    logins: list[Examined]
    probes: list[Examined]


@dataclass
class Rates:
    """How many probes were refused and accepted."""

    refused: int = 0
    honest: int = 0
    let_in: int = 0
    impostors: int = 0

    def __str__(self) -> str:
        return (
            f"refused {interval(self.refused, self.honest)} of {self.honest}, others let in "
            f"{interval(self.let_in, self.impostors)} of {self.impostors}"
        )


class Referee(Examiner):
    """Compares, and lets voiceprints be renewed."""

    def match(self, voiceprint: Voiceprint, probe: Examined) -> VoiceMatch:
        """Return how alike a voiceprint and a probe are."""
        return Compared.of(voiceprint).match(probe, self.voice)

    def login(self, voiceprint: Voiceprint, probe: Examined) -> Login:
        """Return what a recording shows, the words taken to be right."""
        match = self.match(voiceprint, probe)
        decision = Decision(
            "verify", match.accepted, "", match, probe.prepared.quality, words=RIGHT,
            encoder=self.voice.name,
        )  # fmt: skip
        anchored = self.match(without_adaptation(voiceprint), probe)
        return Login(decision, anchored, self.voice.judge.calibration.threshold("strict").llr)

    def renewed(self, voiceprint: Voiceprint, probe: Examined) -> Voiceprint | None:
        """Return a voiceprint two weeks later, renewed if the rules let it be."""
        login = self.login(voiceprint, probe)
        if not may_adapt(voiceprint, login, datetime.now(UTC) + AGEING):
            return None
        return adapted(voiceprint, probe.enrolled())

    def mixed_in(self, voiceprint: Voiceprint, probe: Examined) -> Voiceprint | None:
        """Return a voiceprint with the rules' weights, of whoever is accepted by luck."""
        accepted = self.login(voiceprint, probe).anchored.accepted
        return adapted(voiceprint, probe.enrolled()) if accepted else None

    def added(self, voiceprint: Voiceprint, probe: Examined) -> Voiceprint | None:
        """Return a voiceprint as it would be without the rules."""
        accepted = self.match(voiceprint, probe).accepted
        return voiceprint.with_utterance(probe.enrolled()) if accepted else None


Renewal = Callable[[Voiceprint, Examined], Voiceprint | None]


def digits(part: str) -> Iterator[tuple[list[Utterance], ...]]:
    """Yield what speakers of the digit dataset say to enrol, to log in and as probes."""
    for speaker in SPEAKERS[part]:
        counts = (ENROLMENT, STRINGS, STRINGS)
        yield tuple(
            [said for _, said in strings_of(speaker, count, takes)]
            for count, takes in zip(counts, TAKES, strict=True)
        )


def sentences(corpus: str, part: str) -> Iterator[tuple[list[Utterance], ...]]:
    """Yield the same of speakers who read; what is not for the enrolment is halved."""
    for folder in sorted((SPEECH / corpus).iterdir()):
        if not folder.is_dir() or (folder.name in heldback(corpus)) != (part == "report"):
            continue
        heard = [first_seconds(path) for path in sorted(folder.glob("*.flac"))]
        half = (len(heard) + ENROLMENT) // 2
        yield heard[:ENROLMENT], heard[ENROLMENT:half], heard[half:]


def first_seconds(path: Path) -> Utterance:
    """Return the beginning of a recording, as long as a login."""
    utterance = read_utterance(path)
    return utterance.changed(samples=utterance.samples[: SENTENCE_S * SAMPLE_RATE])


def judged(referee: Referee, said: Iterable[Utterance], *, enrolling: bool) -> Iterator[Examined]:
    """Yield what can be judged."""
    for utterance in said:
        try:
            yield referee.examine(utterance, enrolling=enrolling)
        except PoorQuality:
            continue


def enrolled(referee: Referee, corpus: Iterable[tuple[list[Utterance], ...]]) -> list[Person]:
    """Return the people of a corpus of whom enough can be judged."""
    people = []
    for number, (first, second, third) in enumerate(corpus):
        phrases = list(judged(referee, first, enrolling=True))
        logins = list(judged(referee, second, enrolling=False))
        probes = list(judged(referee, third, enrolling=False))
        if len(phrases) == ENROLMENT and logins and probes:
            utterances = [phrase.enrolled() for phrase in phrases]
            voiceprint = Voiceprint.of(f"person {number}", referee.voice.name, utterances)
            people.append(Person(voiceprint, logins, probes))
    return people


def renewed_by(voiceprint: Voiceprint, logins: Iterable[Examined], renew: Renewal) -> Voiceprint:
    """Return a voiceprint after logins, each two weeks after the one before."""
    for login in logins:
        voiceprint = renew(voiceprint, login) or voiceprint
    return voiceprint


def rates(referee: Referee, people: list[Person], voiceprints: list[Voiceprint]) -> Rates:
    """Hold everybody's probes against everybody's voiceprint."""
    found = Rates()
    for owner, voiceprint in zip(people, voiceprints, strict=True):
        for speaker in people:
            accepted = [referee.match(voiceprint, probe).accepted for probe in speaker.probes]
            if speaker is owner:
                found.honest += len(accepted)
                found.refused += len(accepted) - sum(accepted)
            else:
                found.impostors += len(accepted)
                found.let_in += sum(accepted)
    return found


def strongest_against(referee: Referee, victim: Person, people: list[Person]) -> list[Examined]:
    """Return the recordings of whoever has the one most like somebody, the best first."""

    def worth(probe: Examined) -> float:
        return referee.match(victim.voiceprint, probe).score or 0.0

    others = [[*one.logins, *one.probes] for one in people if one is not victim]
    attacker = max(others, key=lambda recordings: max(map(worth, recordings)))
    return sorted(attacker, key=worth, reverse=True)


def attacked(voiceprint: Voiceprint, recordings: list[Examined], renew: Renewal) -> Voiceprint:
    """Return a voiceprint after an attacker came back again and again."""
    for _ in range(ROUNDS):
        found = (renew(voiceprint, recording) for recording in recordings)
        voiceprint = next((one for one in found if one is not None), voiceprint)
    return voiceprint


def show_honest(referee: Referee, people: list[Person]) -> None:
    """Print what logins of their owners make of the voiceprints."""
    before = [person.voiceprint for person in people]
    after = [renewed_by(one.voiceprint, one.logins, referee.renewed) for one in people]
    may = [referee.renewed(one.voiceprint, login) for one in people for login in one.logins]
    allowed = sum(one is not None for one in may)
    kept = [sum(one.adapted for one in voiceprint.utterances) for voiceprint in after]
    full = sum(count == MOST_ADAPTED for count in kept)
    print(f"  honest logins that may renew  {interval(allowed, len(may))} of {len(may)}")
    print(
        f"  renewed voiceprints           {sum(map(bool, kept))} of {len(people)}, {full} in full"
    )
    print(f"  as enrolled                   {rates(referee, people, before)}")
    print(f"  renewed                       {rates(referee, people, after)}")


def show_attack(referee: Referee, people: list[Person]) -> None:
    """Print what the strongest impostor of each person makes of their voiceprint."""
    attackers = [strongest_against(referee, victim, people) for victim in people]
    foreign = [
        referee.renewed(victim.voiceprint, recording)
        for victim in people
        for other in people
        if other is not victim
        for recording in [*other.logins, *other.probes]
    ]
    allowed = sum(one is not None for one in foreign)
    print(f"  others' that may renew        {interval(allowed, len(foreign))} of {len(foreign)}")
    for what, renew in (
        ("with the rules", referee.renewed),
        ("with the weights only", referee.mixed_in),
        ("without the rules", referee.added),
    ):
        after = [
            attacked(victim.voiceprint, recordings, renew)
            for victim, recordings in zip(people, attackers, strict=True)
        ]
        print(f"  attacked {what:22}{_harm(referee, people, attackers, after)}")
        print(f"    everybody's probes then     {rates(referee, people, after)}")


def _harm(
    referee: Referee, people: list[Person], attackers: list[list[Examined]], after: list[Voiceprint]
) -> str:
    moved = [
        np.degrees(np.arccos(min(1.0, similarity(one.voiceprint.vector, new.vector))))
        for one, new in zip(people, after, strict=True)
    ]

    def let_in(voiceprints: Iterable[Voiceprint]) -> int:
        pairs = zip(voiceprints, attackers, strict=True)
        return sum(referee.match(one, each).accepted for one, found in pairs for each in found)

    total = sum(map(len, attackers))
    return (
        f"{sum(new is not one.voiceprint for one, new in zip(people, after, strict=True))} of "
        f"{len(people)} voiceprints moved, by {max(moved):.1f} degrees at most; attackers let in "
        f"{let_in(one.voiceprint for one in people)}, then {let_in(after)} of {total}"
    )


def main() -> None:
    """Print the rates of each corpus."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--encoder", default=Settings.encoder)
    parser.add_argument("--part", choices=("report", "choose"), default="report")
    parser.add_argument("--speakers", type=int, help="of each corpus at most")
    options = parser.parse_args()
    if not SPEECH.is_dir():
        parser.exit(2, f"{SPEECH} is missing\n")
    settings = load_settings(encoder=options.encoder, security="balanced")
    referee = Referee(Voices(settings).own, settings.denoise)
    print(f"{options.encoder}, balanced: per cent (exact 95 % interval)")
    for name, corpus in (
        ("six digits joined from fsdd", digits(options.part)),
        ("LibriSpeech, 5 s", sentences("librispeech", options.part)),
        ("speechocean762", sentences("speechocean762", options.part)),
    ):
        people = enrolled(referee, islice(corpus, options.speakers))
        print(f"\n{name}: {len(people)} people")
        if len(people) > 1:
            show_honest(referee, people)
            show_attack(referee, people)


if __name__ == "__main__":
    main()
