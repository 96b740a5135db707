"""The d-vector: 256 numbers that stay much the same whenever the same person speaks.

The network of the Resemblyzer 0.1.4 package (Wan et al., "Generalized end-to-end loss for speaker
verification", ICASSP 2018) on ONNX Runtime, behind a front end of our own that needs neither torch
nor librosa. `make parity` holds both against the package.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from membrane.audio.utterance import Samples
from membrane.errors import PoorQuality
from membrane.models import registry as models
from membrane.models.inference import OnnxNetwork
from membrane.voice.encoder import Embedding, Vector
from membrane.voice.frontends.mels import STEP, mel_spectrogram
from membrane.voice.frontends.partials import (
    AT_ONCE,
    NO_SPEECH,
    PARTIAL_FRAMES,
    partial_starts,
    spans_of,
    speech_of,
)

DENOISE_BELOW_DB = 25.0
"""Without added noise (30 dB and more) denoising raises the equal error rate, from 4.3 to 5.9 %; in
pink noise at 25 dB it lowers it from 7.8 to 6.3 % (``benchmarks/denoising.py --part choose``)."""


def partials_of(samples: Samples) -> np.ndarray:
    """Return the mel spectrogram of a trimmed utterance, cut into overlapping partials.

    Returns
    -------
    np.ndarray, shape (n, PARTIAL_FRAMES, CHANNELS), float32
    """
    starts = partial_starts(len(samples))
    missing = (starts[-1] + PARTIAL_FRAMES) * STEP - len(samples)
    mels = mel_spectrogram(np.pad(samples, (0, max(0, missing))))
    return np.stack([mels[start : start + PARTIAL_FRAMES] for start in starts])


class DVectorEncoder:
    """Resemblyzer's encoder; its network is loaded when first used."""

    name = "resemblyzer"
    dimension = 256
    hears_recorded = False
    denoise_below_db = DENOISE_BELOW_DB

    @cached_property
    def session(self) -> Any:
        """A `OnnxNetwork`: threads and children of a fork may share it."""
        return OnnxNetwork(lambda: models.path_of(self.name))

    def embed(self, samples: Samples) -> Embedding:
        """Return the voice of an utterance.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
            The utterance.

        Returns
        -------
        Embedding
            Vectors of `dimension` numbers, none negative.

        Raises
        ------
        PoorQuality
            If no speech is left when long silences are cut (where the package returns the vector
            of silence), or the network finds no voice in it (where the package returns NaN).
        ModelUnavailable
            If the network's file is missing or is not the registered one, or ONNX Runtime cannot
            run here.
        """
        speech = speech_of(samples)
        partials = self.run(partials_of(speech))
        mean = partials.mean(axis=0)
        vector = mean / np.linalg.norm(mean)
        if not np.isfinite(vector).all():
            raise PoorQuality(NO_SPEECH)
        return Embedding(vector, partials, spans_of(len(speech)))

    def run(self, mels: np.ndarray) -> Vector:
        """Return the vector of each partial, NaN where the network finds no voice.

        Parameters
        ----------
        mels : np.ndarray, shape (n, PARTIAL_FRAMES, CHANNELS), float32
            What `partials_of` returns.

        Returns
        -------
        np.ndarray, shape (n, 256), float32
        """
        batches = [mels[at : at + AT_ONCE] for at in range(0, len(mels), AT_ONCE)]
        return np.concatenate([self.session.run(None, {"mels": batch})[0] for batch in batches])
