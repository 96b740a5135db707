import subprocess
import sys

import numpy as np
import pytest

from membrane.audio import activity
from membrane.audio.activity import (
    CHUNK,
    CONTEXT,
    LEVEL_DBFS,
    SHORTEST_SPEECH,
    SpeechActivity,
    probabilities,
    runs,
    speech_mask,
    spread,
)
from membrane.audio.files import read_utterance
from membrane.audio.level import at_level
from membrane.audio.utterance import SAMPLE_RATE, no_samples


@pytest.fixture(scope="module")
def voice(utterance_of):
    return utterance_of("clara", "enrol").samples


def share_of_speech(samples):
    return float(speech_mask(probabilities(samples)).mean())


def loud(samples):
    """Return which chunks are 20 dB above the quiet room of a synthetic recording."""
    chunks = samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)
    powers = np.mean(chunks**2, axis=1)
    return powers > 100 * np.median(powers[:10])


def test_speech_is_found_where_it_is(voice):
    mask = speech_mask(probabilities(voice))[: len(voice) // CHUNK]
    assert mask[loud(voice)].mean() > 0.9
    half_a_second = int(0.5 * SAMPLE_RATE / CHUNK)
    assert not mask[: half_a_second - 2].any()
    assert not mask[-half_a_second // 2 :].any()


def test_every_voice_is_heard(recordings):
    for path in recordings.glob("*/login-*.flac"):
        assert share_of_speech(read_utterance(path).samples) > 0.3, path


def test_the_network_sees_what_came_before_each_chunk_and_its_own_memory(voice, monkeypatch):
    class Network:
        def __init__(self):
            self.seen = []

        def run(self, _, inputs):
            self.seen.append(inputs)
            return np.array([[0.5]]), np.full((2, 1, 128), len(self.seen), dtype=np.float32)

    network = Network()
    monkeypatch.setattr(activity, "_network", network)
    start = at_level(voice[: 3 * CHUNK], LEVEL_DBFS)
    probabilities(start)
    before = np.concatenate([np.zeros(CONTEXT, dtype=np.float32), at_level(start, LEVEL_DBFS)])
    for i, inputs in enumerate(network.seen):
        window = before[i * CHUNK : (i + 1) * CHUNK + CONTEXT]
        np.testing.assert_array_equal(inputs["input"], window[np.newaxis])
        assert (inputs["state"] == i).all()
        assert inputs["sr"] == SAMPLE_RATE
    assert len(network.seen) == 3


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-2, 0.3])
def test_neither_silence_nor_hiss_is_speech(level):
    hiss = np.random.default_rng(1).normal(0, level, 3 * SAMPLE_RATE).astype(np.float32)
    assert share_of_speech(hiss) == 0


@pytest.mark.parametrize("frequency", [50, 440, 3000])
def test_a_tone_is_not_speech(tone, frequency):
    assert share_of_speech(tone(frequency=frequency, seconds=3)) == 0


def test_room_tone_is_not_speech(shared_speech):
    for path in sorted(shared_speech.glob("noise/roomtone_*.flac"))[:8]:
        assert share_of_speech(read_utterance(path).samples) == 0, path


@pytest.mark.parametrize("piece", [1000, CHUNK, 160, 5001])
def test_a_signal_in_pieces_gives_the_same_as_the_whole(voice, piece):
    live, at_once = SpeechActivity(), SpeechActivity()
    parts = [live.probabilities(voice[i : i + piece]) for i in range(0, len(voice), piece)]
    np.testing.assert_array_equal(np.concatenate(parts), at_once.probabilities(voice))


@pytest.mark.parametrize("decibels", [-40, -20, 15])
def test_a_quiet_voice_is_heard_like_a_loud_one(voice, decibels):
    other = voice * np.float32(10 ** (decibels / 20))
    np.testing.assert_allclose(probabilities(other), probabilities(voice), atol=1e-3)


def test_one_recording_leaves_nothing_behind_for_the_next(voice):
    np.testing.assert_array_equal(probabilities(voice), probabilities(voice))


@pytest.mark.parametrize(
    ("samples", "chunks"), [(0, 0), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (10 * CHUNK, 10)]
)
def test_every_started_chunk_has_a_probability(samples, chunks):
    probability = probabilities(np.zeros(samples, dtype=np.float32))
    assert probability.shape == (chunks,)
    assert probability.dtype == np.float32


def mask_of(*probability):
    return speech_mask(np.array(probability, dtype=np.float32)).tolist()


def test_speech_lasts_until_the_lower_limit():
    assert mask_of(0.4, 0.6, 0.4, 0.4, 0.36, 0.34, 0.4) == [False] + [True] * 4 + [False] * 2


def test_a_burst_shorter_than_a_syllable_is_not_speech():
    click = [0.9] * (SHORTEST_SPEECH - 1)
    assert not any(mask_of(0.1, *click, 0.1))
    assert sum(mask_of(0.1, *click, 0.9, 0.1)) == SHORTEST_SPEECH
    assert not any(mask_of(*click))


def test_a_mask_of_nothing_is_empty():
    assert mask_of() == []
    assert spread(speech_mask(probabilities(no_samples())), 0).tolist() == []


def test_runs_are_where_the_mask_is_true():
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.array([False, False])) == []
    assert runs(np.array([], dtype=bool)) == []


def test_a_mask_of_chunks_is_spread_over_their_samples():
    mask = spread(np.array([False, True]), CHUNK + 3)
    assert np.flatnonzero(mask).tolist() == [CHUNK, CHUNK + 1, CHUNK + 2]
    assert len(mask) == CHUNK + 3


def test_importing_it_does_not_load_the_network():
    code = "import sys, membrane.audio.activity; print('onnxruntime' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
