import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE
from membrane.voice.frontends.mels import (
    CHANNELS,
    STEP,
    WINDOW,
    filterbank,
    mel_spectrogram,
    mel_to_hz,
)


def tone(frequency_hz, seconds=1.0, amplitude=0.5):
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


@pytest.mark.parametrize(
    ("mels", "hz"), [(0.0, 0.0), (3.0, 200.0), (15.0, 1000.0), (42.0, 6400.0), (69.0, 40960.0)]
)
def test_the_mel_scale_is_slaneys(mels, hz):
    assert mel_to_hz(np.array(mels)) == pytest.approx(hz)


def test_every_channel_weighs_one_hertz_of_bandwidth():
    bin_width_hz = SAMPLE_RATE / WINDOW
    areas = filterbank().sum(axis=0) * bin_width_hz
    np.testing.assert_allclose(areas[10:], 1.0, atol=0.12)


@pytest.mark.parametrize("frequency_hz", [300.0, 1000.0, 2500.0, 6000.0])
def test_a_tone_is_loudest_in_the_channel_around_it(frequency_hz):
    centres = mel_to_hz(np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), CHANNELS + 2))[1:-1]
    channel = mel_spectrogram(tone(frequency_hz)).mean(axis=0).argmax()
    assert channel == np.abs(centres - frequency_hz).argmin()


def test_twice_the_amplitude_is_four_times_the_power():
    quiet, loud = (
        mel_spectrogram(tone(800, amplitude=0.1)),
        mel_spectrogram(tone(800, amplitude=0.2)),
    )
    np.testing.assert_allclose(loud, 4 * quiet, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 16000])
def test_there_is_a_frame_for_every_step_and_one_more(length):
    mels = mel_spectrogram(np.zeros(length, np.float32))
    assert mels.shape == (1 + length // STEP, CHANNELS)
    assert mels.dtype == np.float32
