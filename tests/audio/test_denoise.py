import numpy as np
import pytest

from membrane.audio import denoise
from membrane.audio.activity import CHUNK, probabilities, speech_mask, spread
from membrane.audio.denoise import MARGIN, SHORTEST_PROFILE_S, reduce_noise, room_of
from membrane.audio.utterance import SAMPLE_RATE, no_samples


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)


def room_in(samples):
    probability = probabilities(samples)
    return room_of(samples, probability, speech_mask(probability))


@pytest.fixture(scope="module")
def speech_first(utterance_of, noise_of):
    """Return a clean recording that begins with its first word, and the same in noise at 10 dB."""
    voice = utterance_of("clara", "login").samples
    voice = voice[int(0.5 * SAMPLE_RATE) :]
    voiced = spread(speech_mask(probabilities(voice)), len(voice))
    return voice, voice + noise_of("pink", len(voice), decibels(voice[voiced]) - 10)


def error_db(samples, clean):
    """Return the distance to the clean speech, dB relative to it."""
    return decibels(samples - clean) - decibels(clean)


def test_the_room_of_a_file_is_where_nobody_speaks(speech_first):
    clean, noisy = speech_first
    assert decibels(room_in(noisy)) == pytest.approx(decibels(noisy - clean), abs=1)


def test_a_file_that_begins_with_speech_comes_out_cleaner_than_by_its_first_quarter(speech_first):
    clean, noisy = speech_first
    ours = reduce_noise(noisy, room_in(noisy))
    original = reduce_noise(noisy, noisy[: len(noisy) // 4])
    assert error_db(ours, clean) < error_db(original, clean) - 2
    assert spectral_distance(ours, clean) < spectral_distance(original, clean) - 1
    assert spectral_distance(ours, clean) < spectral_distance(noisy, clean) / 2


def spectral_distance(one, other):
    """Return the log-spectral distance, dB, down to 70 dB below full scale."""
    return float(np.sqrt(np.mean((spectrum(one) - spectrum(other)) ** 2)))


def spectrum(samples):
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::160] * np.hanning(512)
    return 10 * np.log10(np.abs(np.fft.rfft(frames)) ** 2 + 1e-7)


def test_noise_falls_much_further_than_speech(utterance_of, noise_of):
    voice = utterance_of("ada", "login").samples
    voiced = spread(speech_mask(probabilities(voice)), len(voice))
    before_the_words = slice(0, int(0.4 * SAMPLE_RATE))
    room_dbfs = decibels(voice[voiced]) - 10
    noisy = voice + noise_of("pink", len(voice), room_dbfs)
    reduced = reduce_noise(noisy, noise_of("pink", 2 * SAMPLE_RATE, room_dbfs))
    fall_of_noise = decibels(noisy[before_the_words]) - decibels(reduced[before_the_words])
    fall_of_speech = decibels(noisy[voiced]) - decibels(reduced[voiced])
    assert fall_of_noise > fall_of_speech + 8
    assert reduced.shape == noisy.shape
    assert reduced.dtype == np.float32


def quiet_with(samples, spoken):
    """Return the room of a signal whose chunks in `spoken` the detector takes for speech."""
    chunks = -(-len(samples) // CHUNK)
    mask = np.zeros(chunks, dtype=bool)
    mask[spoken] = True
    return room_of(samples, mask.astype(np.float32), mask)


def test_what_lies_next_to_speech_is_not_the_room():
    samples = np.repeat(np.arange(40, dtype=np.float32), CHUNK) / 1000 + 1
    room = quiet_with(samples, slice(10, 20))
    kept = set(np.unique(np.round((room - 1) * 1000)).astype(int))
    assert kept == set(range(10 - MARGIN)) | set(range(20 + MARGIN, 40))


def test_a_chunk_that_may_be_speech_is_not_the_room():
    samples = np.ones(20 * CHUNK, dtype=np.float32)
    probability = np.zeros(20, dtype=np.float32)
    probability[4] = denoise.SILENCE
    room = room_of(samples, probability, np.zeros(20, dtype=bool))
    assert len(room) == 19 * CHUNK


def test_a_loud_chunk_is_not_the_room_though_the_detector_heard_no_speech(noise_of):
    samples = noise_of("white", 40 * CHUNK, -60)
    samples[5 * CHUNK : 7 * CHUNK] *= 10
    room = quiet_with(samples, slice(20, 25))
    assert decibels(room) == pytest.approx(-60, abs=0.5)


def test_an_unfinished_last_chunk_is_left_out():
    samples = np.ones(20 * CHUNK + 10, dtype=np.float32)
    assert len(quiet_with(samples, [])) == 20 * CHUNK


def test_too_little_room_is_none():
    least = int(np.ceil(SHORTEST_PROFILE_S * SAMPLE_RATE / CHUNK))
    samples = np.ones((20 + MARGIN + least) * CHUNK, dtype=np.float32)
    assert len(quiet_with(samples, slice(0, 20))) == least * CHUNK
    assert len(quiet_with(samples, slice(0, 21))) == 0


def test_nothing_has_an_empty_room():
    assert len(room_in(no_samples())) == 0
    assert len(room_in(np.zeros(100, dtype=np.float32))) == 0


def test_the_shortest_profile_is_long_enough_for_the_denoiser(noise_of):
    profile = noise_of("white", int(SHORTEST_PROFILE_S * SAMPLE_RATE), -50)
    noisy = noise_of("white", 2 * SAMPLE_RATE, -50)
    assert decibels(reduce_noise(noisy, profile)) < -55


def test_a_silent_profile_leaves_speech_alone(utterance_of):
    voice = utterance_of("boris", "login").samples
    reduced = reduce_noise(voice, np.zeros(SAMPLE_RATE, dtype=np.float32))
    assert np.isfinite(reduced).all()
    assert error_db(reduced, voice) < -15
