import shutil
from pathlib import Path

import numpy as np
import pytest
from pocketsphinx import get_model_path

from membrane.errors import EngineUnavailable
from membrane.phrase.recognizers.acoustic_model import STATES, AcousticModel, packaged_model

FILES = ("mdef", "transition_matrices")


@pytest.fixture
def copied(tmp_path):
    for file in FILES:
        shutil.copy(Path(get_model_path("en-us/en-us")) / file, tmp_path)
    return tmp_path


def test_the_packaged_model_has_its_5126_senones():
    assert packaged_model().senone_count == 5126


def test_a_word_is_three_senones_a_phone():
    spoken = packaged_model().spoken(["S", "IH", "K", "S"])
    assert spoken.senones.shape == spoken.stay.shape == spoken.leave.shape == (4 * STATES,)
    assert (spoken.senones < 5126).all()
    assert np.exp(spoken.stay) + np.exp(spoken.leave) == pytest.approx(np.ones(12), abs=1e-5)


def test_a_phone_sounds_different_in_another_place_and_company():
    spoken = packaged_model().spoken
    first, last = np.split(spoken(["S", "IH", "K", "S"]).senones, [STATES, 3 * STATES])[::2]
    assert set(first) != set(last)
    assert set(spoken(["F", "AY", "V"]).senones[3:6]) != set(spoken(["N", "AY", "N"]).senones[3:6])


def test_silence_is_not_part_of_a_word():
    model = packaged_model()
    assert len(model.silence()) == STATES
    assert not set(model.silence()) & set(model.spoken(["N", "AY", "N"]).senones)


def test_an_unknown_phone_is_an_error():
    with pytest.raises(KeyError):
        packaged_model().spoken(["QQ"])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [b"", b"no model", None])
def test_a_missing_or_damaged_model_is_an_engine_error(copied, file, damage):
    path = copied / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(EngineUnavailable, match="reinstall"):
        AcousticModel(copied)


@pytest.mark.parametrize("file", FILES)
def test_a_truncated_model_is_an_engine_error(copied, file):
    whole = (copied / file).read_bytes()
    (copied / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineUnavailable, match="reinstall"):
        AcousticModel(copied)
