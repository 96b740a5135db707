import numpy as np
import pytest

from membrane.login.decoy import SPEECH_S, decoy
from membrane.voice.judge import Judge

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def strangers():
    return Judge("resemblyzer").strangers


def test_the_voice_of_nobody_is_as_far_from_strangers_as_they_are_from_each_other(strangers):
    decoys = np.array(
        [decoy(f"nobody {number}", strangers, secret=SECRET).vector for number in range(60)]
    )
    between = strangers.vectors @ strangers.vectors.T
    between = between[~np.eye(len(between), dtype=bool)]
    to_decoys = (decoys @ strangers.vectors.T).ravel()
    assert np.median(to_decoys) == pytest.approx(np.median(between), abs=0.05)
    assert to_decoys.std() == pytest.approx(between.std(), abs=0.05)


def test_a_name_has_always_the_same_decoy_and_each_its_own(strangers):
    zoe, again, yvonne = (
        decoy(name, strangers, secret=SECRET) for name in ("Zoe", "zoe", "yvonne")
    )
    assert (zoe.vector == again.vector).all()
    assert zoe.speech_s == again.speech_s
    assert (zoe.vector != yvonne.vector).any()
    assert SPEECH_S[0] <= zoe.speech_s <= SPEECH_S[1]
    assert np.linalg.norm(zoe.vector) == pytest.approx(1)


def test_whoever_does_not_know_the_secret_cannot_foretell_a_decoy(strangers):
    zoe, elsewhere = (decoy("zoe", strangers, secret=secret) for secret in (SECRET, bytes(32)))
    assert abs(zoe.vector @ elsewhere.vector) < 0.99
