from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from membrane.audio.files import read_utterance
from membrane.errors import ModelUnavailable, PoorQuality
from membrane.models import registry as models
from membrane.voice.encoders.resemblyzer import DVectorEncoder, partials_of
from membrane.voice.frontends.partials import AT_ONCE

TESTS = Path(__file__).resolve().parents[2]
RECORDINGS = TESTS / "recordings"


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("reference_vectors.npz")) as vectors:
        return dict(vectors)


@pytest.fixture(scope="module")
def encoder():
    return DVectorEncoder()


def test_every_recording_has_a_reference_vector(reference):
    names = {str(path.relative_to(RECORDINGS)) for path in RECORDINGS.rglob("*.flac")}
    assert names == {key for key in reference if "@" not in key}
    assert len(names) == 35


def test_every_recording_gives_the_vector_that_the_package_made(reference, encoder):
    for name, expected in reference.items():
        if "@" not in name:
            vector = encoder.embed(read_utterance(RECORDINGS / name).samples).vector
            assert vector @ expected >= 0.9999, name


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_another_rate_gives_nearly_the_vector_that_the_package_made(
    rate, reference, encoder, tmp_path
):
    (name,) = [key for key in reference if key.endswith(f"@{rate}")]
    samples, own_rate = soundfile.read(RECORDINGS / name.split("@")[0], dtype="float32")
    path = tmp_path / "resampled.wav"
    soundfile.write(path, soxr.resample(samples, own_rate, rate), rate, subtype="FLOAT")
    vector = encoder.embed(read_utterance(path).samples).vector
    assert vector @ reference[name] >= 0.999


def test_vectors_have_unit_length_and_the_whole_is_the_mean_of_its_parts(encoder, someone):
    embedding = encoder.embed(someone)
    assert embedding.vector.shape == (encoder.dimension,)
    assert embedding.vector.dtype == embedding.partials.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding.partials, axis=1), 1, atol=1e-5)
    mean = embedding.partials.mean(axis=0)
    np.testing.assert_allclose(embedding.vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_synthetic_people_are_told_apart(reference):
    people = sorted({name.split("/")[0] for name in reference})
    enrolled = {
        person: sum(reference[name] for name in reference if f"{person}/enrol" in name)
        for person in people
    }
    logins = [name for name in reference if "/login" in name]
    assert len(logins) == 2 * len(people) == 10
    for name in logins:
        alike = {
            person: vector @ reference[name] / np.linalg.norm(vector)
            for person, vector in enrolled.items()
        }
        assert alike.pop(name.split("/")[0]) > 0.95, name
        assert max(alike.values()) < 0.7, name


def test_a_long_utterance_gives_the_same_partials_in_batches_as_alone(encoder, someone):
    mels = partials_of(np.tile(someone, 1 + AT_ONCE // 4))
    assert len(mels) > AT_ONCE
    together = encoder.run(mels)
    np.testing.assert_allclose(
        encoder.run(mels[AT_ONCE : AT_ONCE + 1])[0], together[AT_ONCE], atol=1e-5
    )


def test_a_voice_that_the_network_finds_nothing_in_is_refused(encoder, someone, monkeypatch):
    nothing = np.full((3, 256), np.nan, np.float32)
    monkeypatch.setattr(DVectorEncoder, "run", lambda self, mels: nothing)
    with pytest.raises(PoorQuality):
        encoder.embed(someone)


def test_the_network_is_not_loaded_before_it_is_needed(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path)
    encoder = DVectorEncoder()
    assert (encoder.name, encoder.dimension) == ("resemblyzer", 256)
    with pytest.raises(ModelUnavailable):
        encoder.embed(read_utterance(min(RECORDINGS.rglob("*.flac"))).samples)


def test_a_changed_network_is_refused(monkeypatch, tmp_path, someone):
    models.registry()
    shipped = models.path_of("resemblyzer").read_bytes()
    (tmp_path / "resemblyzer.onnx").write_bytes(shipped[:-1] + bytes([shipped[-1] ^ 1]))
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path)
    with pytest.raises(ModelUnavailable, match="sha256"):
        DVectorEncoder().embed(someone)
