from pathlib import Path

import numpy as np
import pytest

from membrane.audio.quality import Quality
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.scoring import Voiceprints
from membrane.evaluation.trials import enrol_and_probe
from membrane.evaluation.voices import Heard, Job
from membrane.login.examine import Examined
from membrane.store.voiceprint import mean_vector
from membrane.voice.encoder import Embedding
from tests.evaluation.synthetic_speakers import unit


def weighed_voice(seed, partials):
    """Return a voice of which some partials count more than others."""
    chance = np.random.default_rng(seed)
    heard = np.stack([unit(chance.random(256)) for _ in range(partials)])
    return Embedding(unit(chance.random(partials) @ heard), heard)


def test_a_voiceprint_is_made_as_an_enrolment_makes_it(examiner, utterance_of):
    recordings = [
        Recording((Path(f"{who}{number}.wav"),), who)
        for who in ("ada", "boris")
        for number in "123"
    ]
    trials = enrol_and_probe(recordings, enroll=[2])
    quality = Quality(3.0, 30.0, -20.0, 0.0)
    voices = {one: weighed_voice(number, 2 + number) for number, one in enumerate(recordings)}
    heard = {Job(one, enrolling=True): Heard(voices[one], quality) for one in recordings}
    made = Voiceprints.of(trials, heard, enrolling=True)
    prepared = examiner.examine(utterance_of("ada", "enrol")).prepared
    for person, vector in zip(trials.enrolled, made.vectors, strict=True):
        phrases = [
            Examined(utterance_of("ada", "enrol"), prepared, None, voices[one], "any", {})
            for one in person.recordings
        ]
        stored = mean_vector([phrase.enrolled() for phrase in phrases])
        np.testing.assert_allclose(vector, stored, atol=1e-6)
        plain = unit(np.concatenate([voices[one].partials for one in person.recordings]).sum(0))
        assert vector @ plain < 0.9999
    assert made.speech_s == pytest.approx([6.0, 6.0])
