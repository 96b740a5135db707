"""Preparation: from a raw utterance to what the encoder and the recognizer are given."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import isinf
from typing import Literal, Self

import numpy as np

from membrane.audio import activity, denoise
from membrane.audio.level import at_level
from membrane.audio.quality import Quality, measure
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance

Denoising = Literal["auto", "always", "never"]

DENOISE_BELOW_DB = 25.0
"""`auto` takes noise out of recordings below this signal-to-noise ratio before the recognizer hears
them: of right phrases in pink noise at 10 dB it then refuses 7 instead of 40 % (of 30), in recorded
noise 13 instead of 27 %, in babble as many (``benchmarks/denoising.py --part choose --only words
--strings 10``). Each encoder names its own ratio (``denoise_below_db``)."""

VOICE_LEVEL_DBFS = -20.0
"""Root mean square at which the encoder is given every utterance. Its network hears how loud a
voice is: the same utterance at full scale was only 0.86 similar to itself, so that somebody who
leant forward was somebody else. At -30 dBFS, to which Resemblyzer raises quiet recordings only,
more honest people were refused."""

MARGIN_S = 0.25
"""Seconds kept before the first and after the last word: soft beginnings and endings."""


@dataclass(frozen=True, eq=False)
class Sound:
    """What was said, with the noise and without it, from before the first word to after the last.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        The whole recording.
    room : np.ndarray, shape (m,), float32, 16 kHz
        The noise profile; empty where there is none.
    spoken : slice
        Of the recording.
    """

    samples: Samples
    room: Samples
    spoken: slice

    @property
    def heard(self) -> Samples:
        """The speech as it was heard."""
        return self.samples[self.spoken]

    @cached_property
    def denoised(self) -> Samples:
        """The speech with the room's noise taken out, which is done once and only if asked for."""
        return denoise.reduce_noise(self.samples, self.room)[self.spoken]


@dataclass(frozen=True, eq=False)
class Prepared:
    """An utterance that is ready to be judged.

    Parameters
    ----------
    sound : Sound
    quality : Quality
        Of the raw recording.
    denoising : {"auto", "always", "never"}
    voice_below_db : float, dB
        Below which ratio ``auto`` denoises for the encoder.
    """

    sound: Sound
    quality: Quality
    denoising: Denoising
    voice_below_db: float

    @property
    def samples(self) -> Samples:
        """What the words are taken from, float32 in [-1, 1] at 16 kHz."""
        return self.sound.denoised if self.words_denoised else self.sound.heard

    @property
    def voice(self) -> Samples:
        """What the voice is taken from, float32 in [-1, 1] at 16 kHz."""
        return self.sound.denoised if self.voice_denoised else self.sound.heard

    @property
    def words_denoised(self) -> bool:
        """Whether noise is taken out before the recognizer hears it."""
        return self._wanted_below(DENOISE_BELOW_DB)

    @property
    def voice_denoised(self) -> bool:
        """Whether noise is taken out before the encoder hears it."""
        return self._wanted_below(self.voice_below_db)

    def kinds_of_voice(self) -> list[Samples]:
        """Return what a voiceprint is made of: `voice`, and the other kind that may be compared.

        That is the denoised sound where this one is as it was heard, and the other way round. There
        is none where the choice is not ``auto``, where there is no noise profile, and for an
        encoder that is given no denoised sound.
        """
        if self.denoising != "auto" or not len(self.sound.room) or isinf(self.voice_below_db):
            return [self.voice]
        return [self.voice, self.sound.heard if self.voice_denoised else self.sound.denoised]

    def for_encoder(self, below_db: float) -> Self:
        """Return the same for an encoder that is given denoised sound below another ratio."""
        return replace(self, voice_below_db=below_db)

    def _wanted_below(self, limit_db: float) -> bool:
        noisy = self.quality.speech_s > 0 and self.quality.snr_db < limit_db
        wanted = self.denoising == "always" or (self.denoising == "auto" and noisy)
        return wanted and len(self.sound.room) > 0


def prepare(
    utterance: Utterance,
    *,
    denoising: Denoising = "auto",
    voice_below_db: float = DENOISE_BELOW_DB,
) -> Prepared:
    """Find the speech, measure its quality, and take out the noise where that helps.

    The noise profile is the room recorded before the person spoke; a file's is taken from its
    own non-speech parts. Without a noise profile nothing is taken out.

    Parameters
    ----------
    utterance : Utterance
    denoising : {"auto", "always", "never"}
        ``auto`` denoises for the recognizer below `DENOISE_BELOW_DB`, for the encoder below
        `voice_below_db`; the others mean both.
    voice_below_db : float, dB
        The ``denoise_below_db`` of the encoder.

    Raises
    ------
    ModelUnavailable
        If the voice activity detector is missing.
    """
    samples = utterance.samples
    probability = activity.probabilities(samples)
    mask = activity.speech_mask(probability)
    ambient = utterance.ambient
    room = ambient if len(ambient) else denoise.room_of(samples, probability, mask)
    return Prepared(
        Sound(samples, room, _spoken(mask)),
        measure(samples, mask, room),
        denoising,
        voice_below_db,
    )


def at_voice_level(samples: Samples) -> Samples:
    """Return the samples at `VOICE_LEVEL_DBFS`, for the encoder; peaks may go beyond full scale."""
    return at_level(samples, VOICE_LEVEL_DBFS)


def _spoken(mask: activity.Mask) -> slice:
    voiced = np.flatnonzero(mask)
    if not len(voiced):
        return slice(0)
    margin = int(MARGIN_S * SAMPLE_RATE)
    start = max(0, int(voiced[0]) * activity.CHUNK - margin)
    return slice(start, (int(voiced[-1]) + 1) * activity.CHUNK + margin)
