from pathlib import Path

import numpy as np
import pytest

from benchmarks import protection
from benchmarks.accuracy.systems import Corpus
from benchmarks.protection import Spoken, judge_in, judged, turned, voiceprints_as_probes
from membrane.audio.quality import Quality
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.scoring import Voiceprints
from membrane.evaluation.trials import Enrolled, Trials
from membrane.evaluation.voices import Heard
from membrane.settings import Settings
from membrane.voice.encoder import Embedding

PEOPLE = 6


@pytest.fixture(scope="module")
def said():
    """Six people, each heard once more in the very voice of their voiceprint; one has none."""
    vectors = np.random.default_rng(0).normal(size=(PEOPLE, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5] = np.nan
    recordings = [Recording((Path(f"{one}.flac"),), str(one)) for one in range(PEOPLE)]
    numbers = np.arange(PEOPLE, dtype=np.int32)
    pairs = np.stack(np.meshgrid(numbers, numbers), axis=-1).reshape(-1, 2)
    trials = Trials(
        enrolled=tuple(Enrolled(one.speaker, one.speaker, (one,)) for one in recordings),
        probes=tuple(recordings),
        pairs=pairs,
        same=pairs[:, 0] == pairs[:, 1],
    )
    voices = Voiceprints(vectors, np.full(PEOPLE, 8.0), tuple("012345"), numbers, numbers)
    quality = Quality(speech_s=3.0, snr_db=30.0, level_dbfs=-25.0, clipped=0.0)
    heard = [Heard(Embedding(one, one[np.newaxis]), quality) for one in vectors]
    return Spoken(Corpus("six", "Six", trials, (), ()), voices, heard)


def test_everybody_is_accepted_in_a_space_that_both_sides_are_turned_into(said):
    own = voiceprints_as_probes(said)
    assert len(own.probes) == PEOPLE - 1
    space = protection.projection()
    for probes in (None, space):
        compared, scored = judged(turned(own, probes, probes), judge_in(probes, Settings.encoder))
        assert scored.accepted.tolist() == [True] * (PEOPLE - 1)
        np.testing.assert_allclose(compared.alike.similarities, 1, atol=1e-6)


def test_nobody_is_accepted_where_the_two_sides_are_turned_apart(said):
    alike, accepted = protection._under_two_keys(voiceprints_as_probes(said), Settings.encoder)
    assert not accepted.any()
    assert np.abs(alike).max() < 0.4


def test_only_claims_to_be_oneself_are_left_of_the_trials(said):
    own = protection.of_their_own(said).corpus.trials
    assert own.same.all()
    assert len(own.pairs) == PEOPLE


def test_pairs_of_keys_are_counted_and_not_their_people():
    assert protection._rate([0] * 200) == "0 of 200 (0 to 1.8 %)"
    assert protection._rate([3, 0]).startswith("1 of 2 ")


def test_a_gallery_has_as_many_people_as_were_asked_for():
    assert len(protection.gallery_of(10_000, Settings.encoder)) == 10_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
def test_an_encrypted_gallery_is_measured_as_one(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMBRANE_KEY", "ab" * 32)
    path = tmp_path / "voiceprints.joblib"
    seal = protection._seal()
    protection._written(path, protection.gallery_of(1000, Settings.encoder), seal)
    found = protection.measure(path, Settings.encoder)
    assert set(found) == {"open", "first", "search", "peak"}
    assert b"Person" not in path.read_bytes()
