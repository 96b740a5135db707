"""Membrane's own d-vector: 256 numbers that stay much the same in noise.

It is Resemblyzer's network, trained further by `membrane.training` behind a front that takes noise
out of the mel spectrogram. It also weighs the partials. It hears sound as it is, because denoising
does not help it (``benchmarks/denoising.py --encoder membrane --only voice``).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from membrane.audio.utterance import Samples
from membrane.errors import PoorQuality
from membrane.models import registry as models
from membrane.models.inference import OnnxNetwork
from membrane.voice.encoder import Embedding, Vector
from membrane.voice.frontends.mels import mel_spectrogram
from membrane.voice.frontends.partials import (
    AT_ONCE,
    NO_SPEECH,
    PARTIAL_FRAMES,
    partial_starts,
    spans_of,
    speech_of,
)

PARTIALS_PER_SECOND = 1.0
"""Fewer than Resemblyzer's 1.3, to pay for the front: five seconds are four partials, not five."""


def blocks_of(samples: Samples) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of the network for a trimmed utterance: at most `AT_ONCE` partials each.

    Each block judges the noise anew, so a long utterance takes no more memory than a short one, and
    no more time per second.

    Yields
    ------
    dict
        ``mels``, shape (frames, 40), float32: silent where a partial reaches beyond the end;
        ``length``, shape (1,), int64: frames that are sound; ``places``, shape (n,
        PARTIAL_FRAMES), int64: the frames of each partial.
    """
    mels = mel_spectrogram(samples)
    starts = np.array(partial_starts(len(samples), PARTIALS_PER_SECOND))
    ends = starts + PARTIAL_FRAMES
    ends[-1] = max(ends[-1], len(mels))
    for block in np.array_split(np.arange(len(starts)), -(-len(starts) // AT_ONCE)):
        first, end = starts[block[0]], ends[block[-1]]
        heard = mels[first:end]
        yield {
            "mels": np.pad(heard, ((0, end - first - len(heard)), (0, 0))),
            "length": np.array([len(heard)]),
            "places": (starts[block] - first)[:, np.newaxis] + np.arange(PARTIAL_FRAMES),
        }


class RobustEncoder:
    """Membrane's encoder; its network is loaded when first used.

    Parameters
    ----------
    model : Path, optional
        The file of another network of the same kind; by default the shipped one.
    """

    name = "membrane"
    dimension = 256
    hears_recorded = False
    denoise_below_db = -inf

    def __init__(self, model: Path | None = None) -> None:
        self._model = model

    @cached_property
    def session(self) -> Any:
        """A `OnnxNetwork`: threads and children of a fork may share it."""
        return OnnxNetwork(lambda: self._model or models.path_of(self.name))

    def embed(self, samples: Samples) -> Embedding:
        """Return the voice of an utterance.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
            The utterance.

        Returns
        -------
        Embedding
            Vectors of `dimension` numbers.

        Raises
        ------
        PoorQuality
            If no speech is left when long silences are cut, or the network finds no voice in it.
        ModelUnavailable
            If the network's file is missing or is not the registered one, or ONNX Runtime cannot
            run here.
        """
        return self.embed_speech(speech_of(samples))

    def embed_speech(self, speech: Samples) -> Embedding:
        """Return the voice of an utterance that `speech_of` has trimmed, as `embed` does."""
        partials, weights = self.run(speech)
        share = np.exp(weights - weights.max())
        mean = (share / share.sum()) @ partials
        length = np.linalg.norm(mean)
        if not (np.isfinite(length) and length > 0):
            raise PoorQuality(NO_SPEECH)
        return Embedding(mean / length, partials, spans_of(len(speech), PARTIALS_PER_SECOND))

    def run(self, speech: Samples) -> tuple[Vector, Vector]:
        """Return the vector of each partial of a trimmed utterance, and how much each counts.

        Parameters
        ----------
        speech : np.ndarray, shape (n,), float32, 16 kHz
            The utterance, as `speech_of` trims it.

        Returns
        -------
        vectors : np.ndarray, shape (n, 256), float32
            Of unit length; zero where the network finds no voice.
        weights : np.ndarray, shape (n,), float32
            The shares of the partials are the softmax of these.
        """
        parts = [self.session.run(["partials", "weights"], one) for one in blocks_of(speech)]
        return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])
