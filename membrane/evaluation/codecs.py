"""Codecs: speech as it sounds after a telephone line, a mobile phone, or a small file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import UsageError

FILTER_ORDER = 4
"""Of the band's Butterworth filter: 24 dB an octave on each side."""


@dataclass(frozen=True)
class Codec:
    """How speech is coded: by libsndfile, which has the coder and the decoder of each.

    Parameters
    ----------
    container, coding : str
        The format and the subtype, as libsndfile calls them.
    rate : int, Hz
        What the coder is given.
    band : (float, float) or None, Hz
        What passes before.
    options : dict of str to Any
        What else `soundfile.write` is told.
    """

    container: str
    coding: str
    rate: int
    band: tuple[float, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


CODECS = {
    "telephone": Codec("WAV", "ULAW", 8_000, band=(300.0, 3_400.0)),
    "gsm": Codec("WAV", "GSM610", 8_000),
    "mp3": Codec(
        *("MP3", "MPEG_LAYER_III", SAMPLE_RATE),
        options={"bitrate_mode": "CONSTANT", "compression_level": 0.8},
    ),
    "opus": Codec("OGG", "OPUS", SAMPLE_RATE, options={"compression_level": 0.96}),
}
"""``telephone`` is the band of a telephone channel (300 to 3400 Hz, ITU-T G.712) and the mu-law of
ITU-T G.711, 64 kbit/s; ``gsm`` GSM 06.10 full rate, 13 kbit/s; ``mp3`` has 40 kbit/s, and ``opus``
about 16 kbit/s, as libsndfile counts from 256 kbit/s at level 0 to 6 kbit/s at level 1."""


def check_codec(name: str) -> str:
    """Return the name of a codec that works here.

    Raises
    ------
    UsageError
        If there is none of that name, or the libsndfile of this computer lacks it.
    """
    if name not in CODECS or not _works(name):
        raise UsageError(
            f"the codec {name!r} does not exist here: choose from "
            f"{', '.join(each for each in CODECS if _works(each))}"
        )
    return name


def coded(samples: Samples, name: str) -> Samples:
    """Return a signal after coding and decoding.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
    name : str
        One of `CODECS`.

    Returns
    -------
    np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
    """
    import soundfile
    import soxr

    codec = CODECS[name]
    narrow = soxr.resample(samples, SAMPLE_RATE, codec.rate, quality="HQ")
    if codec.band:
        from scipy.signal import butter, sosfilt

        band = butter(FILTER_ORDER, codec.band, "bandpass", fs=codec.rate, output="sos")
        narrow = np.asarray(sosfilt(band, narrow), np.float32)
    with BytesIO() as file:
        soundfile.write(
            *(file, narrow, codec.rate, codec.coding), format=codec.container, **codec.options
        )
        file.seek(0)
        heard = soundfile.read(file, dtype="float32")[0]
    wide = soxr.resample(heard, codec.rate, SAMPLE_RATE, quality="HQ")[: len(samples)]
    # Coders work in blocks, and resampling may end a sample early.
    whole = np.pad(wide, (0, len(samples) - len(wide)))
    return np.asarray(np.clip(whole, -1, 1), np.float32)


@cache
def _works(name: str) -> bool:
    """Return whether the libsndfile that is installed has a codec: builds differ."""
    import soundfile

    try:
        coded(np.zeros(SAMPLE_RATE, np.float32), name)
    except (soundfile.SoundFileError, TypeError, ValueError):
        return False
    return True
