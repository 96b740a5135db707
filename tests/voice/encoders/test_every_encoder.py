import numpy as np
import pytest

from membrane.errors import PoorQuality
from membrane.voice.encoders.membrane import RobustEncoder
from membrane.voice.encoders.resemblyzer import DVectorEncoder


@pytest.fixture(scope="module", params=["membrane", "resemblyzer"])
def encoder(request):
    if request.param == "resemblyzer":
        return DVectorEncoder()
    return RobustEncoder(request.getfixturevalue("model"))


def test_volume_hardly_matters(encoder, someone):
    loud = encoder.embed(someone).vector
    assert encoder.embed(someone * np.float32(0.3)).vector @ loud > 0.999


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0),
        np.zeros(100),
        np.zeros(48000),
        np.full(48000, 0.5),
        0.001 * np.sin(np.arange(48000) * 0.02),
        np.array([np.nan] * 48000),
        np.array([np.inf] * 48000),
    ],
    ids=["nothing", "too little", "silence", "a constant", "a hum", "not numbers", "infinity"],
)
def test_what_holds_no_speech_is_refused(encoder, samples):
    with pytest.raises(PoorQuality):
        encoder.embed(samples.astype(np.float32))
