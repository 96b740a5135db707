from math import inf
from pathlib import Path

import numpy as np
import pytest

from membrane.audio.files import read_utterance
from membrane.errors import ModelUnavailable, PoorQuality
from membrane.models import registry as models
from membrane.voice.encoders.membrane import PARTIALS_PER_SECOND, RobustEncoder, blocks_of
from membrane.voice.frontends.mels import mel_spectrogram
from membrane.voice.frontends.partials import AT_ONCE, PARTIAL_FRAMES, partial_starts, speech_of

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"
SECOND = 16_000


@pytest.fixture(scope="module")
def encoder(model):
    return RobustEncoder(model)


def noise(seconds):
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * SECOND)).astype(np.float32)


class Told:
    """A session that remembers what it was asked; only the first partials weigh anything."""

    def __init__(self, *weights):
        self.asked = []
        self.weights = weights

    def run(self, names, inputs):
        self.asked.append(inputs)
        count = len(inputs["places"])
        weights = np.pad(self.weights, (0, count), constant_values=-inf)[:count]
        return [np.eye(256, dtype=np.float32)[:count], weights.astype(np.float32)]


def told(*weights):
    encoder = RobustEncoder()
    encoder.session = Told(*weights)
    return encoder


def test_it_is_given_sound_as_it_is_however_noisy(encoder):
    assert (encoder.name, encoder.dimension, encoder.denoise_below_db) == ("membrane", 256, -inf)


def test_vectors_have_unit_length_and_there_is_one_for_each_partial(encoder, someone):
    embedding = encoder.embed(someone)
    count = len(partial_starts(len(speech_of(someone)), PARTIALS_PER_SECOND))
    assert embedding.vector.shape == (256,)
    assert embedding.partials.shape == (count, 256)
    assert embedding.vector.dtype == embedding.partials.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding.vector), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding.partials, axis=1), 1, atol=1e-5)


def test_the_whole_is_the_mean_of_its_parts_by_the_softmax_of_their_weights():
    vector = told(500.0, 500.0 + np.log(3)).embed_speech(noise(5)).vector
    np.testing.assert_allclose(vector[:4], np.array([1, 3, 0, 0]) / np.sqrt(10), atol=1e-4)


def test_people_are_told_apart(encoder):
    first, again, other = (
        encoder.embed(read_utterance(sorted((RECORDINGS / person).glob("*.flac"))[take]).samples)
        for person, take in (("ada", 0), ("ada", 3), ("boris", 0))
    )
    assert first.vector @ again.vector > 0.1 + first.vector @ other.vector


@pytest.mark.parametrize("seconds", [0.2, 1.6, 3.0, 5.3, 27.0, 60.0])
def test_the_network_is_given_every_frame_of_every_partial_once_it_is_cut(seconds):
    speech = noise(seconds)
    mels, heard = mel_spectrogram(speech), []
    for block in blocks_of(speech):
        length, places = int(block["length"][0]), block["places"]
        assert len(places) <= AT_ONCE
        assert places.shape[1] == PARTIAL_FRAMES
        assert 0 <= places.min() <= places.max() < len(block["mels"])
        assert not block["mels"][length:].any()
        heard += [block["mels"][frames] for frames in places]
    starts = partial_starts(len(speech), PARTIALS_PER_SECOND)
    padded = np.pad(mels, ((0, PARTIAL_FRAMES), (0, 0)))
    expected = [padded[start : start + PARTIAL_FRAMES] for start in starts]
    np.testing.assert_array_equal(heard, expected)


def test_an_utterance_that_goes_through_at_once_is_heard_to_its_last_frame():
    (block,) = blocks_of(noise(5.3))
    assert block["length"][0] == len(mel_spectrogram(noise(5.3)))


def test_a_long_utterance_is_heard_in_blocks_of_like_size():
    encoder = told(0.0)
    encoder.embed_speech(noise(70))
    sizes = [len(block["places"]) for block in encoder.session.asked]
    assert len(sizes) > 1
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("value", [0.0, np.nan], ids=["nothing", "not numbers"])
def test_a_voice_that_the_network_finds_nothing_in_is_refused(value, someone, monkeypatch):
    nothing = np.full((3, 256), value, np.float32), np.zeros(3, np.float32)
    monkeypatch.setattr(RobustEncoder, "run", lambda self, speech: nothing)
    with pytest.raises(PoorQuality):
        RobustEncoder().embed(someone)


def test_the_shipped_network_is_not_loaded_before_it_is_needed(monkeypatch, tmp_path, someone):
    monkeypatch.setattr(models, "path_of", lambda name: tmp_path / f"{name}.onnx")
    encoder = RobustEncoder()
    with pytest.raises(ModelUnavailable, match=r"membrane\.onnx"):
        encoder.embed(someone)


def test_the_shipped_network_is_the_registered_one(monkeypatch, model, someone, encoder):
    monkeypatch.setattr(models, "path_of", {"membrane": model}.__getitem__)
    vector = RobustEncoder().embed(someone).vector
    np.testing.assert_array_equal(vector, encoder.embed(someone).vector)
