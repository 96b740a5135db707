import math
import signal
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from membrane.errors import EngineUnavailable, RecordingTooLong, UsageError
from membrane.phrase.matching import normalise
from membrane.phrase.recognizer import load_recognizer
from membrane.phrase.recognizers.pocketsphinx import DIGITS, PocketSphinxRecognizer, pronunciations
from membrane.phrase.words import Words

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"
SPEECH = Path(__file__).resolve().parents[3].parent / "shared" / "speech"
LOGINS = sorted(RECORDINGS.glob("*/login-*.flac"))
PASSPHRASES = sorted(RECORDINGS.glob("*/passphrase1-*.flac"))


@pytest.fixture(scope="module")
def recognizer():
    return load_recognizer("pocketsphinx")


@cache
def _samples(path):
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    return samples


def _said(path):
    return normalise(path.stem.partition("-")[2].replace("-", " "))


def _changed(said, place):
    digits = said.split()
    digits[place] = "two" if digits[place] == "nine" else "nine"
    return " ".join(digits)


@pytest.mark.parametrize("path", LOGINS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_digits_that_were_said_are_accepted(recognizer, path):
    match = recognizer.match(_samples(path), _said(path))
    assert match.accepted
    assert match.problem == ""
    assert match.heard == match.expected == _said(path)


@pytest.mark.parametrize("path", PASSPHRASES, ids=lambda path: path.parent.name)
def test_a_passphrase_that_was_said_is_accepted(recognizer, path):
    assert recognizer.match(_samples(path), _said(path)).accepted


def test_other_digits_are_refused(recognizer):
    for path, other in zip(LOGINS[::2], LOGINS[1::2], strict=True):
        match = recognizer.match(_samples(path), _said(other))
        assert not match.accepted
        assert match.problem == "other words"
        assert match.heard


def test_a_single_wrong_digit_is_refused_most_times(recognizer):
    accepted = [
        recognizer.match(_samples(path), _changed(_said(path), place)).accepted
        for path in LOGINS[::2]
        for place in range(6)
    ]
    assert sum(accepted) <= 0.3 * len(accepted)


def _refused(recognizer, path, *, claims, strict):
    refused = [
        not recognizer.match(_samples(path), " ".join(claim), strict=strict).accepted
        for claim in claims
    ]
    return sum(refused) / len(refused)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("path", LOGINS[::2], ids=lambda path: path.parent.name)
def test_a_digit_that_was_not_said_is_missed_wherever_it_is_asked_for(recognizer, path, strict):
    said = _said(path).split()
    claims = [[*said[:at], digit, *said[at:]] for at in (0, 3, 6) for digit in ("zero", "six")]
    assert _refused(recognizer, path, claims=claims, strict=strict) == 1


@pytest.mark.parametrize("path", LOGINS[::2], ids=lambda path: path.parent.name)
def test_two_digits_that_were_not_said_are_missed(recognizer, path):
    said = _said(path).split()
    claims = [[*said, "three", "six"], [*said[:3], "three", "six", *said[3:]]]
    assert _refused(recognizer, path, claims=claims, strict=False) == 1


def test_a_part_of_the_digits_that_were_said_is_refused_most_times(recognizer):
    refused = [
        _refused(
            recognizer,
            path,
            claims=[*([*said[:at], *said[at + 1 :]] for at in range(6)), said[:4], said[2:]],
            strict=False,
        )
        for path in LOGINS[::2]
        for said in [_said(path).split()]
    ]
    assert np.mean(refused) >= 0.9


@pytest.mark.parametrize("path", PASSPHRASES, ids=lambda path: path.parent.name)
def test_a_word_that_was_not_said_is_missed_in_a_passphrase(recognizer, path):
    said = _said(path).split()
    claims = [[*said, "please"], ["hello", *said], [*said[:3], "umbrella", *said[3:]]]
    assert _refused(recognizer, path, claims=claims, strict=False) == 1


def test_the_same_digits_in_another_order_are_refused(recognizer):
    for path in LOGINS[::2]:
        digits = _said(path).split()
        assert not recognizer.match(_samples(path), " ".join(digits[::-1])).accepted


def test_strict_accepts_less_than_balanced(recognizer):
    samples, said = _samples(LOGINS[0]), _said(LOGINS[0])
    strict = recognizer.match(samples, said, strict=True)
    balanced = recognizer.match(samples, said)
    assert strict.score == balanced.score
    assert strict.threshold > balanced.threshold


def test_figures_are_taken_digit_by_digit(recognizer):
    path = RECORDINGS / "ada" / "login-4-7-1-9-0-2.flac"
    assert recognizer.match(_samples(path), "471902").accepted
    assert recognizer.match(_samples(path), "4 7 1 9 0 2").accepted


def test_words_are_right_in_digital_silence_too(recognizer):
    path = LOGINS[0]
    samples = _samples(path).copy()
    samples[np.abs(samples) < 3e-3] = 0
    assert recognizer.match(samples, _said(path)).accepted


def _silence():
    return np.zeros(64_000, np.float32)


def _noise():
    return np.random.default_rng(3).normal(scale=0.1, size=64_000).astype(np.float32)


def _tone():
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000)).astype(np.float32)


@pytest.mark.parametrize("sound", [_silence, _noise, _tone])
@pytest.mark.parametrize("prompt", ["4 7 1 9 0 2", "3 3 8 1", "umbrella dolphin pancake teapot"])
def test_what_is_not_speech_is_refused(recognizer, sound, prompt):
    assert not recognizer.match(sound(), prompt).accepted


@pytest.mark.parametrize("length", [0, 1, 100, 1600, 8000])
def test_too_little_sound_is_refused_as_not_speech(recognizer, length):
    match = recognizer.match(np.zeros(length, np.float32), "4 7 1 9 0 2")
    assert not match.accepted
    assert match.problem == "not speech"
    assert math.isinf(match.score) or match.score < 0


def test_a_phrase_is_not_looked_for_in_a_long_recording(recognizer):
    with pytest.raises(RecordingTooLong, match="61 s"):
        recognizer.match(np.zeros(61 * 16_000, np.float32), "1 2 3")


def test_an_unknown_word_is_named(recognizer):
    assert recognizer.unknown_words("my blorfle is Xyzzyq") == ["blorfle", "xyzzyq"]
    with pytest.raises(UsageError, match="blorfle"):
        recognizer.match(_silence(), "my blorfle")


@pytest.mark.parametrize("phrase", ["", "  ", "?!"])
def test_a_phrase_without_words_is_refused(recognizer, phrase):
    with pytest.raises(UsageError, match="no word"):
        recognizer.match(_silence(), phrase)


def test_the_score_does_not_depend_on_what_was_heard_before(recognizer):
    path = LOGINS[1]
    first = PocketSphinxRecognizer().match(_samples(path), _said(path))
    recognizer.match(_noise(), "1 2 3")
    recognizer.match(_samples(LOGINS[0]), _said(LOGINS[0]))
    assert recognizer.match(_samples(path), _said(path)) == first


def test_another_phrase_for_the_same_sound_is_judged_without_listening_again():
    recognizer, samples = PocketSphinxRecognizer(), _samples(LOGINS[0])
    start = time.process_time()
    recognizer.match(samples, _said(LOGINS[0]))
    listened = time.process_time() - start
    start = time.process_time()
    recognizer.match(samples, _said(LOGINS[1]))
    assert time.process_time() - start < listened / 2


def test_whose_passphrase_was_said_is_found():
    words = Words("pocketsphinx")
    enrolled = [_said(path) for path in PASSPHRASES]
    for number, path in enumerate(PASSPHRASES):
        found = words.whose(_samples(path), enrolled)
        assert [index for index, _ in found] == [number]


def test_nobody_is_found_when_no_passphrase_was_said():
    words = Words("pocketsphinx")
    enrolled = [_said(path) for path in PASSPHRASES]
    assert words.whose(_samples(LOGINS[0]), enrolled) == []


def test_free_dictation_hears_most_of_the_digits(recognizer):
    path = RECORDINGS / "edgar" / "login-2-9-7-5-3-8.flac"
    heard = recognizer.transcribe(_samples(path)).split()
    assert len(set(heard) & set(_said(path).split())) >= 3


def test_the_interrupt_handler_stays_as_it_was():
    before = signal.getsignal(signal.SIGINT)
    PocketSphinxRecognizer().match(_samples(LOGINS[0]), _said(LOGINS[0]))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def temporary_files(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_nothing_is_left_behind_after_listening(temporary_files):
    PocketSphinxRecognizer().match(_samples(LOGINS[0]), _said(LOGINS[0]))
    assert list(temporary_files.iterdir()) == []


def test_scores_that_cannot_be_written_are_an_engine_error_and_the_next_sound_is_heard(
    temporary_files, monkeypatch
):
    recognizer = PocketSphinxRecognizer()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary_files / "gone"))
    with pytest.raises(EngineUnavailable, match="disk"):
        recognizer.match(_samples(LOGINS[0]), _said(LOGINS[0]))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary_files))
    assert recognizer.match(_samples(LOGINS[0]), _said(LOGINS[0])).accepted


@pytest.mark.parametrize("frames", [1, 300])
def test_scores_of_another_length_are_never_used(monkeypatch, frames):
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path)[: 400 + frames * 10_254])
    with pytest.raises(EngineUnavailable):
        PocketSphinxRecognizer().match(_samples(LOGINS[0]), _said(LOGINS[0]))


def test_the_dictionary_gives_every_pronunciation():
    assert list(pronunciations("read")) == ["R EH D", "R IY D"]
    assert list(pronunciations("blorfle")) == []


@pytest.mark.skipif(not SPEECH.is_dir(), reason="real speech is not here")
def test_most_real_digit_strings_are_accepted_and_few_with_other_digits(recognizer):
    listed = (SPEECH / "speechocean762" / "transcripts.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t")[:2] for line in listed.splitlines()]
    digits = [(name, text.lower()) for name, text in lines if set(text.split()) <= _DIGITS]
    strings = [(name, text) for name, text in digits if len(text.split()) == 4][:12]
    right = wrong = 0
    for number, (name, text) in enumerate(strings):
        path = SPEECH / "speechocean762" / f"spk{int(name[:5]):04d}" / f"{name}.flac"
        right += recognizer.match(_samples(path), text).accepted
        wrong += recognizer.match(_samples(path), strings[number - 1][1]).accepted
    assert right >= 10
    assert wrong <= 1


_DIGITS = {word.upper() for word in DIGITS}
