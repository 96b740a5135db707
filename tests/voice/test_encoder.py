import pytest

from membrane.errors import UsageError
from membrane.settings import Settings
from membrane.voice.encoder import ENCODERS, load_encoder


def test_the_encoder_in_use_is_one_of_those_that_exist():
    assert Settings.encoder in ENCODERS


@pytest.mark.parametrize("name", ENCODERS)
def test_every_listed_encoder_goes_by_its_name(name):
    assert load_encoder(name).name == name


def test_an_unknown_encoder_is_a_usage_error_that_names_the_known_ones():
    with pytest.raises(UsageError, match="resemblyzer"):
        load_encoder("ecapa")


def test_the_d_vector_is_given_denoised_sound_below_25_db():
    assert load_encoder("resemblyzer").denoise_below_db == 25.0
