from dataclasses import replace
from math import inf

import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import PoorQuality, UsageError
from membrane.evidence import Examiner
from membrane.settings import Settings, calibration_file
from membrane.voice.dvector import DVectorEncoder
from membrane.voice.encoder import ENCODERS
from membrane.voice.levels import Threshold
from membrane.voice.scoring import similarity


@pytest.fixture(scope="module")
def examiner():
    return Examiner(Settings())


def resemblyzers(**settings):
    """Return an examiner whose encoder is given denoised sound."""
    return Examiner(Settings(encoder="resemblyzer", **settings))


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
    examiner = Examiner(Settings(recognizer="no recognizer is loaded"))
    assert examiner.examine(utterance_of("clara", "login")).words is None


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, dtype=np.float32),
        np.zeros(3 * SAMPLE_RATE, dtype=np.float32),
        np.full(3 * SAMPLE_RATE, 0.5, dtype=np.float32),
    ],
    ids=["nothing", "silence", "offset"],
)
def test_what_is_not_speech_never_reaches_words_or_voice(examiner, samples):
    unused = Examiner(Settings(encoder="none is loaded", recognizer="none is loaded"))
    utterance = Utterance(samples, source="a.wav")
    with pytest.raises(PoorQuality, match=r"a\.wav: I heard no speech"):
        unused.examine(utterance, expected="one two three")
    with pytest.raises(PoorQuality, match=r"a\.wav: I heard no speech"):
        examiner.transcribe(utterance)


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
    assert Examiner(Settings(denoise=denoise)).examine(noisy).prepared.denoised is denoised


def test_an_enrolment_is_like_probes_of_both_kinds(noisy):
    voices = {
        denoise: resemblyzers(denoise=denoise).examine(noisy).embedding
        for denoise in ("always", "never")
    }
    both = resemblyzers().examine(noisy, enrolling=True).embedding
    assert len(both.partials) == sum(len(voice.partials) for voice in voices.values())
    assert np.linalg.norm(both.vector) == pytest.approx(1)
    between = similarity(voices["always"].vector, voices["never"].vector)
    for voice in voices.values():
        assert similarity(both.vector, voice.vector) > between


def test_an_enrolment_that_may_not_be_denoised_is_not(noisy):
    examiner = resemblyzers(denoise="never")
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
    return "raw"


def same_voice(one, other):
    return np.array_equal(one.vector, other.vector) and np.array_equal(one.partials, other.partials)


@pytest.mark.parametrize("enrolling", [False, True])
def test_an_encoder_that_wants_the_raw_sound_is_given_it(raw_encoder, noisy, enrolling):
    examined = Examiner(Settings(encoder=raw_encoder)).examine(noisy, enrolling=enrolling)
    as_heard = resemblyzers(denoise="never").examine(noisy, enrolling=enrolling)
    assert same_voice(examined.embedding, as_heard.embedding)
    assert examined.denoised_for == ()


def test_words_are_denoised_all_the_same_for_such_an_encoder(raw_encoder, noisy):
    examined = Examiner(Settings(encoder=raw_encoder)).examine(noisy, expected="one two three")
    assert examined.denoised_for == ("words",)
    assert resemblyzers().examine(noisy, expected="one").denoised_for == ("words", "voice")


@pytest.mark.parametrize("enrolling", [False, True])
def test_another_encoder_hears_an_utterance_as_if_it_were_the_chosen_one(
    raw_encoder, noisy, enrolling
):
    chosen = Examiner(Settings(encoder=raw_encoder))
    by_other = chosen.voice_of(chosen.examine(noisy, enrolling=enrolling), "resemblyzer")
    assert same_voice(by_other, resemblyzers().examine(noisy, enrolling=enrolling).embedding)


def test_the_voice_by_the_chosen_encoder_is_not_computed_again(examiner, noisy):
    examined = examiner.examine(noisy)
    assert examiner.voice_of(examined, examiner.encoder.name) is examined.embedding


def test_another_encoder_is_loaded_once(raw_encoder, noisy, monkeypatch):
    examiner = Examiner(Settings())
    examined = examiner.examine(noisy)
    first = examiner.voice_of(examined, raw_encoder)
    monkeypatch.setitem(ENCODERS, "raw", ("no.such.module", "RawEncoder"))
    assert same_voice(examiner.voice_of(examined, raw_encoder), first)


def test_the_voice_by_an_unknown_encoder_is_a_usage_error(examiner, noisy):
    with pytest.raises(UsageError, match="no encoder is called 'ecapa'"):
        examiner.voice_of(examiner.examine(noisy), "ecapa")


def test_a_transcript_has_the_words_that_were_said(examiner, utterance_of):
    heard = examiner.transcribe(utterance_of("clara", "passphrase1")).split()
    said = ["the", "river", "runs", "quietly", "past", "old", "mill"]
    assert len(set(heard) & set(said)) >= 3


def test_a_passphrase_is_stored_in_plain_words(examiner):
    assert examiner.check_passphrase("Open the Door!") == "open the door"


@pytest.mark.parametrize("phrase", ["", "open", "open door", " - ! ", "open " * 21])
def test_a_passphrase_of_too_few_or_too_many_words_is_refused(examiner, phrase):
    with pytest.raises(UsageError, match="3 to 20 words"):
        examiner.check_passphrase(phrase)


def test_a_word_that_cannot_be_heard_is_refused_by_name(examiner):
    with pytest.raises(UsageError, match="does not know xyzzy, plugh: choose other words"):
        examiner.check_passphrase("open xyzzy the plugh door")


def test_a_safer_level_needs_a_higher_score():
    levels = ("convenient", "balanced", "strict")
    needed = [Examiner(Settings(security=level)).judge.threshold for level in levels]
    assert needed == sorted(set(needed))


def test_a_threshold_of_ones_own_is_in_the_metrics_numbers():
    assert Examiner(Settings(threshold=0.7)).judge.threshold == 0.7
    distance = Examiner(Settings(threshold=1.0, metric="euclidean"))
    assert distance.judge.threshold == pytest.approx(0.5)
    assert Examiner(Settings(threshold=0.0)).judge.threshold == 0


def test_a_calibration_of_ones_own_decides(membrane_home):
    shipped = Examiner(Settings()).judge
    threshold = Threshold(12.5, 0.001, "counted", 1, 1)
    own = replace(shipped.calibration, thresholds={"balanced": threshold})
    own.save(calibration_file())
    assert Examiner(Settings()).judge.threshold == 12.5


def test_engines_can_be_loaded_beforehand():
    examiner = Examiner(Settings())
    examiner.preload()
    assert {"encoder", "recognizer"} <= set(vars(examiner))


def test_settings_come_from_the_environment_unless_given(monkeypatch):
    monkeypatch.setenv("MEMBRANE_SECURITY", "strict")
    assert Examiner().settings.strict
    assert not Examiner(Settings()).settings.strict
