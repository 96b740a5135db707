from dataclasses import replace
from math import inf

import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import PoorQuality
from membrane.login.examine import Examiner
from membrane.login.membrane import Membrane
from membrane.login.voices import Voices
from membrane.phrase.words import Words
from membrane.settings import Settings
from membrane.voice.encoder import ENCODERS, load_encoder
from membrane.voice.encoders.resemblyzer import DVectorEncoder
from membrane.voice.scoring import similarity


def examiner_of(encoder="resemblyzer", **options):
    """Return an examiner by an encoder; the usual one is given denoised sound."""
    return Examiner(voice_of(encoder), words=Words("pocketsphinx"), **options)


def voice_of(encoder="resemblyzer"):
    return Voices(Settings(encoder=encoder)).own


@pytest.fixture(scope="module")
def noisy(utterance_of):
    samples = utterance_of("ada", "login").samples
    noise = np.random.default_rng(1).normal(0, 0.008, len(samples)).astype(np.float32)
    return Utterance(samples + noise, source="noisy.wav")


def test_an_utterance_is_examined_for_sound_words_and_voice(
    examiner, utterance_of, recording, words_of
):
    words = words_of(recording("clara", "login"))
    examined = examiner.examine(utterance_of("clara", "login"), expected=words)
    assert examined.words.accepted
    assert examined.words.expected == "two one nine three eight five"
    assert np.linalg.norm(examined.embedding.vector) == pytest.approx(1)
    assert set(examined.timings) == {"sound", "words", "voice"}
    assert min(examined.timings.values()) >= 0


def test_words_are_not_checked_where_none_are_expected(utterance_of):
    examiner = Examiner(voice_of(), words=Words("no recognizer is loaded"))
    assert examiner.examine(utterance_of("clara", "login")).words is None


class Unused:
    """An encoder that must not be given anything."""

    name = "unused"
    dimension = 256
    denoise_below_db = 20.0

    def embed(self, _samples):
        pytest.fail("a voice was looked for")


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, dtype=np.float32),
        np.zeros(3 * SAMPLE_RATE, dtype=np.float32),
        np.full(3 * SAMPLE_RATE, 0.5, dtype=np.float32),
    ],
    ids=["nothing", "silence", "offset"],
)
def test_what_is_not_speech_never_reaches_words_or_voice(samples):
    unused = Examiner(replace(voice_of(), encoder=Unused()), words=Words("none is loaded"))
    utterance = Utterance(samples, source="a.wav")
    with pytest.raises(PoorQuality, match=r"a\.wav: I heard no speech"):
        unused.examine(utterance, expected="one two three")
    with pytest.raises(PoorQuality, match=r"a\.wav: I heard no speech"):
        Membrane(Settings(recognizer="none is loaded")).transcribe(utterance)


def test_too_little_speech_is_told_in_seconds(examiner, utterance_of):
    short = Utterance(utterance_of("boris", "login").samples[:24_000])
    with pytest.raises(PoorQuality, match=r"I heard \d\.\d s of speech; 1\.5 s are needed"):
        examiner.examine(short)


def test_without_the_gate_whatever_holds_a_voice_is_examined(examiner, utterance_of):
    short = Utterance(utterance_of("boris", "login").samples[:24_000])
    examined = examiner.examine(short, gate=False)
    assert 0 < examined.prepared.quality.speech_s < 1.5
    assert np.linalg.norm(examined.embedding.vector) == pytest.approx(1)


@pytest.mark.parametrize("seconds", [0, 3])
def test_without_the_gate_silence_is_refused_all_the_same(examiner, seconds):
    silence = Utterance(np.zeros(seconds * SAMPLE_RATE, dtype=np.float32))
    with pytest.raises(PoorQuality, match="I heard no speech"):
        examiner.examine(silence, gate=False)


@pytest.mark.parametrize(("denoise", "denoised"), [("auto", True), ("never", False)])
def test_noise_is_taken_out_as_the_settings_say(noisy, denoise, denoised):
    assert examiner_of(denoising=denoise).examine(noisy).prepared.words_denoised is denoised


def test_an_enrolment_is_like_probes_of_both_kinds(noisy):
    voices = {
        denoise: examiner_of(denoising=denoise).examine(noisy).embedding
        for denoise in ("always", "never")
    }
    both = examiner_of().examine(noisy, enrolling=True).embedding
    assert len(both.partials) == sum(len(voice.partials) for voice in voices.values())
    assert np.linalg.norm(both.vector) == pytest.approx(1)
    between = similarity(voices["always"].vector, voices["never"].vector)
    for voice in voices.values():
        assert similarity(both.vector, voice.vector) > between


def test_an_enrolment_that_may_not_be_denoised_is_not(noisy):
    examiner = examiner_of(denoising="never")
    enrolled, heard = (examiner.examine(noisy, enrolling=each) for each in (True, False))
    np.testing.assert_array_equal(enrolled.embedding.vector, heard.embedding.vector)


class RawEncoder(DVectorEncoder):
    """The d-vector, as if it had learnt to hear through noise."""

    name = "raw"
    denoise_below_db = -inf
    session = property(lambda _: DVectorEncoder().session)


@pytest.fixture
def raw_encoder(monkeypatch):
    monkeypatch.setitem(ENCODERS, "raw", (__name__, "RawEncoder"))
    yield "raw"
    load_encoder.cache_clear()


def same_voice(one, other):
    return np.array_equal(one.vector, other.vector) and np.array_equal(one.partials, other.partials)


@pytest.mark.parametrize("enrolling", [False, True])
def test_an_encoder_that_wants_the_raw_sound_is_given_it(raw_encoder, noisy, enrolling):
    examined = examiner_of(raw_encoder).examine(noisy, enrolling=enrolling)
    as_heard = examiner_of(denoising="never").examine(noisy, enrolling=enrolling)
    assert same_voice(examined.embedding, as_heard.embedding)
    assert examined.denoised_for == ()


def test_words_are_denoised_all_the_same_for_such_an_encoder(raw_encoder, noisy):
    examined = examiner_of(raw_encoder).examine(noisy, expected="one two three")
    assert examined.denoised_for == ("words",)
    assert examiner_of().examine(noisy, expected="one").denoised_for == ("words", "voice")


@pytest.mark.parametrize("enrolling", [False, True])
def test_another_encoder_hears_an_utterance_as_if_it_were_the_chosen_one(
    raw_encoder, noisy, enrolling
):
    by_other = examiner_of(raw_encoder).examine(noisy, enrolling=enrolling).by(voice_of())
    chosen = examiner_of().examine(noisy, enrolling=enrolling)
    assert same_voice(by_other.embedding, chosen.embedding)
    assert by_other.encoder == chosen.encoder == "resemblyzer"
    assert by_other.denoised_for == chosen.denoised_for == ("voice",)


def test_another_encoder_takes_time_of_its_own(raw_encoder, noisy):
    examined = examiner_of(raw_encoder).examine(noisy)
    timed = examined.timings["voice"]
    assert examined.by(voice_of()).timings["voice"] > timed
    assert examined.timings["voice"] == timed


def test_the_voice_by_the_chosen_encoder_is_not_computed_again(noisy):
    examined = examiner_of().examine(noisy)
    assert examined.by(voice_of()) is examined
