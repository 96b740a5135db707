import numpy as np
import pytest

from membrane.errors import ModelUnavailable
from membrane.evaluation import keeping
from membrane.training import teacher
from membrane.training.augmentation import at_speed
from membrane.training.material import Speaker, Spoken
from membrane.training.teacher import Targets, targets_of
from membrane.voice.encoders.resemblyzer import DVectorEncoder, partials_of
from membrane.voice.frontends.partials import speech_of


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """What the teacher is asked; it works in this process."""
    calls = []

    def called(function, wanted, **_):
        for arguments in wanted:
            calls.append(arguments)
            yield function(*arguments)

    monkeypatch.setattr(keeping, "as_they_finish", called)
    return calls


@pytest.fixture(scope="module")
def voices():
    """Two people with two and one utterances, as they are in the material."""
    from membrane.audio.files import read_utterance
    from tests.conftest import RECORDINGS

    def voice(person, count):
        paths = sorted((RECORDINGS / person).glob("*.flac"))[:count]
        sounds = [speech_of(read_utterance(path).samples).astype(np.float16) for path in paths]
        return Speaker(f"here/{person}", "here", tuple(Spoken(sound, sound) for sound in sounds))

    return [voice("ada", 2), voice("boris", 1)]


def vector(speech):
    mean = DVectorEncoder().run(partials_of(speech.astype(np.float32))).mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_a_target_is_the_teachers_vector_of_the_trimmed_utterance(voices):
    targets = targets_of(voices)
    assert [len(matrix) for matrix in targets.utterances] == [2, 1]
    for voice, matrix in zip(voices, targets.utterances, strict=True):
        for spoken, row in zip(voice.utterances, matrix, strict=True):
            np.testing.assert_allclose(row, vector(spoken.speech), atol=1e-5)


def test_a_speaker_is_the_mean_of_the_utterances(voices):
    targets = targets_of(voices)
    for matrix, speaker in zip(targets.utterances, targets.speakers, strict=True):
        mean = matrix.mean(axis=0)
        np.testing.assert_allclose(speaker, mean / np.linalg.norm(mean), atol=1e-6)


def test_at_another_speed_somebody_is_somebody_else(voices):
    targets = targets_of(voices, speeds=(1.0, 1.1))
    assert len(targets.speakers) == 4
    spoken = voices[1].utterances[0].speech
    faster = at_speed(spoken.astype(np.float32), 1.1)
    np.testing.assert_allclose(targets.utterances[1][0], vector(spoken), atol=1e-5)
    np.testing.assert_allclose(targets.utterances[3][0], vector(faster), atol=1e-3)


def test_what_was_computed_before_is_kept_by_its_content(voices, asked):
    before = targets_of(voices)
    assert len(asked) == 2
    again = targets_of(voices[::-1])
    assert len(asked) == 2
    np.testing.assert_array_equal(again.utterances[1], before.utterances[0])
    targets_of(voices, speeds=(1.1,))
    assert len(asked) == 4


def test_it_tells_how_far_it_is(voices):
    told = []
    targets_of(voices, progress=lambda *count: told.append(count))
    assert told == [(1, 2), (2, 2)]


def test_an_utterance_without_a_voice_says_nothing_about_its_speaker(voices, monkeypatch):
    run = DVectorEncoder.run
    dead = len(partials_of(voices[0].utterances[1].speech.astype(np.float32)))
    monkeypatch.setattr(
        DVectorEncoder,
        "run",
        lambda self, mels: run(self, mels) * (np.nan if len(mels) == dead else 1),
    )
    targets = targets_of(voices[:1])
    assert not targets.utterances[0][1].any()
    np.testing.assert_allclose(targets.speakers[0], targets.utterances[0][0], atol=1e-6)


def test_missing_weights_are_told_of_before_any_work(voices, monkeypatch, asked):
    def missing(name):
        raise ModelUnavailable(f"no model is called {name}")

    monkeypatch.setattr(teacher, "path_of", missing)
    with pytest.raises(ModelUnavailable):
        targets_of(voices)
    assert not asked


def test_projected_targets_are_where_a_projecting_network_puts_the_same_voices():
    chance = np.random.default_rng(0)
    vectors = chance.standard_normal((3, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[1] = 0  # the teacher found no voice in it
    matrix, offset = chance.standard_normal((256, 256)), chance.standard_normal(256)
    moved = Targets((vectors,), vectors[:1]).projected(matrix, offset)
    expected = matrix @ vectors[0] + offset
    expected /= np.linalg.norm(expected)
    assert np.allclose(moved.utterances[0][0], expected, atol=1e-5)
    assert np.allclose(moved.speakers[0], expected, atol=1e-5)
    assert not moved.utterances[0][1].any()
