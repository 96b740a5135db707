"""Each attack, tried on real speech; `benchmarks.attacks` measures how often each gets in."""

import numpy as np
import pytest

from benchmarks.attacks import espeak
from benchmarks.attacks.logins import enrolment_of, pasted, recorded_logins, said_by
from benchmarks.attacks.mixtures import spliced
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import PoorQuality
from membrane.login.membrane import Membrane
from membrane.settings import Settings

VICTIM, IMPOSTOR = "jackson", "nicolas"
SAID = ("419702", "305816", "927461", "612853", "748039")
OLD, NEW = [range(take, take + 1) for take in range(5, 10)], range(10, 15)
"""Takes of the logins that an attacker recorded, and of what nobody has heard."""


@pytest.fixture(scope="module")
def chance():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def door(tmp_path_factory, shared_speech):
    """A Membrane that knows the victim."""
    database = tmp_path_factory.mktemp("door") / "voiceprints.joblib"
    # Failures are not counted: each attack has its own first try.
    membrane = Membrane(Settings(database, lockout="off"))
    membrane.enroll(VICTIM, [membrane.examine(one, enrolling=True) for one in enrolment_of(VICTIM)])
    return membrane


@pytest.fixture(scope="module")
def recorded(door, chance):
    """Logins of the victim that were let in, and that an attacker recorded."""
    # Each of takes of its own: no digit is heard twice.
    logins = [
        said_by(VICTIM, digits, chance, takes=takes)
        for digits, takes in zip(SAID, OLD, strict=True)
    ]
    return [one for one in logins if not refused(let_in(door, one.utterance, one.digits))]


def let_in(door, utterance, digits):
    """Return the decision about a recording at a prompt; None where it could not be judged."""
    try:
        return door.verify(VICTIM, utterance, expected=digits)
    except PoorQuality:
        return None


def refused(decision):
    return decision is None or not decision.accepted


def test_the_person_is_let_in(recorded):
    assert len(recorded) >= 3


def test_a_recording_of_a_login_is_refused_at_another_prompt(door, chance):
    for one in recorded_logins(VICTIM, 4, 6, chance, takes=NEW):
        other = "".join(str((int(digit) + 3) % 10) for digit in one.digits)
        decision = let_in(door, one.utterance, other)
        assert refused(decision)
        assert decision is None or not decision.words.accepted


def test_a_login_is_refused_the_second_time_as_one_that_was_heard(door, recorded):
    first = recorded[0]
    louder = Utterance(np.clip(first.samples[400:] * 1.5, -1, 1))
    for again in (first.utterance, louder):
        decision = let_in(door, again, first.digits)
        assert refused(decision)
        assert decision.replayed


def test_a_prompt_that_is_cut_out_of_logins_is_refused_as_one_that_was_heard(
    door, recorded, chance
):
    digits = [digit for one in recorded for digit in one.digits]
    for _ in range(3):
        paste = pasted("".join(chance.choice(digits, 6)), recorded, chance)
        decision = let_in(door, paste.utterance, paste.digits)
        assert refused(decision)
        assert decision is None or decision.replayed


def test_somebody_else_who_says_the_right_words_is_refused(door, chance):
    for one in recorded_logins(IMPOSTOR, 4, 6, chance):
        decision = let_in(door, one.utterance, one.digits)
        assert refused(decision)
        assert decision is None or not decision.voice.accepted


@pytest.mark.parametrize("victims", [1, 2])
def test_a_phrase_that_is_mostly_somebody_elses_is_refused(door, chance, victims):
    for digits in ("419702", "305816", "927461"):
        theirs, other = (said_by(one, digits, chance) for one in (VICTIM, IMPOSTOR))
        together = spliced(theirs, other, victims, chance)
        assert refused(let_in(door, together, digits))


def test_a_television_says_nothing_that_was_asked(door, shared_speech):
    from membrane.audio.files import read_utterance

    talker = read_utterance(sorted((shared_speech / "librispeech-single").glob("*.flac"))[0])
    assert refused(let_in(door, Utterance(talker.samples[: 6 * SAMPLE_RATE]), "419702"))


@pytest.mark.skipif(espeak.missing(), reason="espeak-ng is not installed: apt install espeak-ng")
@pytest.mark.parametrize("variant", ["", "m3", "f2", "klatt4"])
def test_a_synthetic_voice_that_says_the_right_words_is_refused(door, variant):
    spoken = espeak.prompt_said(espeak.Voice("en-us", variant), "419702")
    decision = let_in(door, spoken, "419702")
    assert refused(decision)
    assert decision is None or not decision.voice.accepted
