from math import inf

import numpy as np
import pytest

from membrane.audio.activity import CHUNK, probabilities, speech_mask, spread
from membrane.audio.denoise import room_of
from membrane.audio.preparation import DENOISE_BELOW_DB, MARGIN_S, prepare
from membrane.audio.utterance import SAMPLE_RATE, Utterance


@pytest.fixture(scope="module")
def clean(utterance_of):
    return utterance_of("edgar", "login")


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


@pytest.fixture
def noisy(clean, noise_of):
    """Return a recording at a signal-to-noise ratio."""
    voiced = spread(speech_mask(probabilities(clean.samples)), len(clean.samples))
    level = decibels(clean.samples[voiced])
    return lambda snr_db: Utterance(
        clean.samples + noise_of("pink", len(clean.samples), level - snr_db)
    )


def is_cut_from(part, whole):
    windows = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    return bool((windows == part).all(axis=1).any())


def is_denoised(prepared):
    return prepared.words_denoised or prepared.voice_denoised


def test_what_is_left_begins_before_the_first_word_and_ends_after_the_last(clean):
    voiced = np.flatnonzero(speech_mask(probabilities(clean.samples)))
    margin = int(MARGIN_S * SAMPLE_RATE)
    start, stop = voiced[0] * CHUNK - margin, (voiced[-1] + 1) * CHUNK + margin
    prepared = prepare(clean)
    np.testing.assert_array_equal(prepared.samples, clean.samples[start:stop])


def test_pauses_between_words_are_kept(clean):
    middle = len(clean.samples) // 2
    pause = np.zeros(SAMPLE_RATE, dtype=np.float32)
    longer = np.concatenate([clean.samples[:middle], pause, clean.samples[middle:]])
    lengths = [len(prepare(Utterance(samples)).samples) for samples in (clean.samples, longer)]
    assert lengths[1] - lengths[0] == pytest.approx(SAMPLE_RATE, abs=8 * CHUNK)


def test_a_recording_without_room_around_the_words_is_not_made_longer(clean):
    bare = prepare(clean).samples[int(MARGIN_S * SAMPLE_RATE) : -int(MARGIN_S * SAMPLE_RATE)]
    assert len(prepare(Utterance(bare)).samples) <= len(bare)


def test_auto_leaves_a_clean_recording_as_it_is(clean):
    prepared = prepare(clean, denoising="auto")
    assert prepared.quality.snr_db >= DENOISE_BELOW_DB
    assert not is_denoised(prepared)
    assert is_cut_from(prepared.samples, clean.samples)


def test_auto_takes_noise_out_below_the_limit_only(noisy):
    assert is_denoised(prepare(noisy(DENOISE_BELOW_DB - 5)))
    assert not is_denoised(prepare(noisy(DENOISE_BELOW_DB + 5)))


def test_denoised_pauses_are_quieter(noisy):
    kept = prepare(noisy(10), denoising="never")
    cleaned = prepare(noisy(10), denoising="auto")
    assert (is_denoised(kept), is_denoised(cleaned)) == (False, True)
    assert kept.quality == cleaned.quality
    before_the_words = slice(0, int(0.8 * MARGIN_S * SAMPLE_RATE))
    fall = decibels(kept.samples[before_the_words]) - decibels(cleaned.samples[before_the_words])
    assert fall > 10


def test_always_denoises_a_clean_recording_too(clean):
    prepared = prepare(clean, denoising="always")
    assert is_denoised(prepared)
    assert not is_cut_from(prepared.samples, clean.samples)


def test_never_denoises_nothing(noisy):
    utterance = noisy(5)
    prepared = prepare(utterance, denoising="never")
    assert not is_denoised(prepared)
    assert is_cut_from(prepared.samples, utterance.samples)


@pytest.mark.parametrize("denoising", ["auto", "always"])
def test_without_a_noise_profile_nothing_is_taken_out(utterance_of, noise_of, denoising):
    words = prepare(utterance_of("ada", "passphrase1")).samples
    words = words[int(MARGIN_S * SAMPLE_RATE) : -int(MARGIN_S * SAMPLE_RATE)]
    noise = noise_of("pink", len(words), decibels(words) - 10)
    spoken = Utterance(words + noise)
    probability = probabilities(spoken.samples)
    assert not len(room_of(spoken.samples, probability, speech_mask(probability)))
    prepared = prepare(spoken, denoising=denoising)
    assert prepared.quality.snr_db < DENOISE_BELOW_DB
    assert not is_denoised(prepared)
    assert is_cut_from(prepared.samples, spoken.samples)


def test_the_room_recorded_before_is_preferred_to_the_recordings_own(clean, noise_of):
    ambient = noise_of("white", 2 * SAMPLE_RATE, -45)
    told = prepare(Utterance(clean.samples, ambient=ambient))
    assert told.quality.snr_db == pytest.approx(told.quality.level_dbfs + 45, abs=1)
    assert is_denoised(told)
    assert not is_denoised(prepare(clean))


@pytest.mark.parametrize("denoising", ["auto", "always", "never"])
@pytest.mark.parametrize("seconds", [0, 0.01, 3])
def test_silence_leaves_nothing_and_fails_nowhere(denoising, seconds):
    silence = np.zeros(int(seconds * SAMPLE_RATE), dtype=np.float32)
    prepared = prepare(Utterance(silence), denoising=denoising)
    assert len(prepared.samples) == 0
    assert prepared.quality.speech_s == 0


def test_quality_is_that_of_the_raw_recording(noisy):
    utterance = noisy(10)
    assert prepare(utterance, denoising="always").quality.snr_db == pytest.approx(10, abs=2)


@pytest.fixture
def times_denoised(monkeypatch):
    """The recordings that noise was taken out of."""
    seen = []
    monkeypatch.setattr(
        "membrane.audio.denoise.reduce_noise",
        lambda samples, room: (seen.append(samples), samples / 2)[1],
    )
    return seen


@pytest.mark.parametrize(
    ("snr_db", "voice_below_db", "words", "voice"),
    [
        (DENOISE_BELOW_DB - 5, DENOISE_BELOW_DB, True, True),
        (DENOISE_BELOW_DB - 5, -inf, True, False),
        (DENOISE_BELOW_DB + 5, -inf, False, False),
        (DENOISE_BELOW_DB + 5, inf, False, True),
    ],
)
def test_words_and_voice_are_denoised_each_below_a_ratio_of_their_own(
    noisy, times_denoised, snr_db, voice_below_db, words, voice
):
    prepared = prepare(noisy(snr_db), voice_below_db=voice_below_db)
    assert (prepared.words_denoised, prepared.voice_denoised) == (words, voice)
    heard = prepared.sound.heard
    np.testing.assert_array_equal(prepared.samples, heard / 2 if words else heard)
    np.testing.assert_array_equal(prepared.voice, heard / 2 if voice else heard)


@pytest.mark.parametrize(("denoising", "denoised"), [("always", True), ("never", False)])
@pytest.mark.parametrize("voice_below_db", [-inf, inf])
def test_always_and_never_are_for_words_and_voice_alike(clean, denoising, denoised, voice_below_db):
    prepared = prepare(clean, denoising=denoising, voice_below_db=voice_below_db)
    assert (prepared.words_denoised, prepared.voice_denoised) == (denoised, denoised)


def test_noise_is_taken_out_once_and_not_before_it_is_asked_for(noisy, times_denoised):
    prepared = prepare(noisy(10))
    raw = prepared.for_encoder(-inf)
    assert len(raw.voice)
    assert not times_denoised
    assert prepared.samples is prepared.voice is raw.samples
    assert len(times_denoised) == 1


@pytest.mark.parametrize("snr_db", [10, DENOISE_BELOW_DB + 5])
def test_a_voiceprint_is_made_of_both_kinds_of_sound(noisy, times_denoised, snr_db):
    prepared = prepare(noisy(snr_db))
    kinds = prepared.kinds_of_voice()
    np.testing.assert_array_equal(kinds[0], prepared.voice)
    levels = {decibels(kind) for kind in kinds}
    expected = {decibels(prepared.sound.heard), decibels(prepared.sound.denoised)}
    assert levels == expected


@pytest.mark.parametrize(
    ("denoising", "voice_below_db"),
    [("never", DENOISE_BELOW_DB), ("always", DENOISE_BELOW_DB), ("auto", -inf)],
)
def test_a_voiceprint_is_made_of_one_kind_where_there_is_no_other(noisy, denoising, voice_below_db):
    prepared = prepare(noisy(10), denoising=denoising, voice_below_db=voice_below_db)
    (only,) = prepared.kinds_of_voice()
    np.testing.assert_array_equal(only, prepared.voice)
