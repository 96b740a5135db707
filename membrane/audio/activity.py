"""Voice activity: where in a signal somebody speaks.

The detector is Silero VAD's network run on ONNX Runtime. It ends recordings and refuses silence
and noise; the WebRTC detector in `membrane.voice.frontends.trimming` belongs to encoders alone.
"""

import numpy as np
import numpy.typing as npt

from membrane.audio.level import at_level
from membrane.audio.utterance import SAMPLE_RATE, Samples, no_samples
from membrane.models.inference import OnnxNetwork
from membrane.models.registry import path_of

CHUNK = 512
"""Samples per decision, 32 ms: what the 16 kHz network was trained on."""

CONTEXT = 64
"""Samples before a chunk that the network must see too, or it finds no speech at all."""

SPEECH_PROBABILITY = 0.5
"""A chunk at or above it is speech: the default of Silero VAD's own code."""

SILENCE_PROBABILITY = 0.35
"""Speech lasts until the probability falls below it: Silero's default hysteresis of 0.15."""

SHORTEST_SPEECH = 3
"""Chunks (96 ms): a shorter burst is a click or a breath and no syllable."""

LEVEL_DBFS = -20.0
"""Root mean square at which the network is given a whole signal. It hears less in quiet ones: of
some recordings 15 dB quieter it found no word, so that nothing was left to judge."""

Probabilities = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


_network = OnnxNetwork(lambda: path_of("silero-vad"))


def preload() -> None:
    """Load the network now, while nobody waits for it."""
    _network.load()


class SpeechActivity:
    """Speech probabilities of a signal that arrives in pieces; one object per recording."""

    def __init__(self) -> None:
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._context = np.zeros(CONTEXT, dtype=np.float32)
        self._rest = no_samples()

    def probabilities(self, samples: Samples) -> Probabilities:
        """Feed more of the signal.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz

        Returns
        -------
        np.ndarray, shape (chunks,), float32 in [0, 1]
            One probability for each whole chunk of 512 samples completed so far; what is left
            over waits for the next call.

        Raises
        ------
        ModelUnavailable
            If the network is missing or damaged.
        """
        signal = np.concatenate([self._rest, samples]).astype(np.float32, copy=False)
        chunks = len(signal) // CHUNK
        self._rest = signal[chunks * CHUNK :]
        return np.array(
            [self._next(signal[i * CHUNK : (i + 1) * CHUNK]) for i in range(chunks)],
            dtype=np.float32,
        )

    def _next(self, chunk: Samples) -> float:
        inputs = {
            "input": np.concatenate([self._context, chunk])[np.newaxis],
            "state": self._state,
            "sr": np.array(SAMPLE_RATE, dtype=np.int64),
        }
        probability, self._state = _network.run(None, inputs)
        self._context = chunk[-CONTEXT:]
        return float(probability[0, 0])


def probabilities(samples: Samples) -> Probabilities:
    """Return the speech probability of every chunk of a whole signal.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz

    Returns
    -------
    np.ndarray, shape (ceil(n / 512),), float32 in [0, 1]
        The last chunk is filled up with zeros.
    """
    levelled = at_level(samples, LEVEL_DBFS)
    return SpeechActivity().probabilities(np.pad(levelled, (0, -len(samples) % CHUNK)))


def speech_mask(probability: Probabilities) -> Mask:
    """Decide which chunks are speech.

    Speech starts at `SPEECH_PROBABILITY`, lasts until the probability falls below
    `SILENCE_PROBABILITY`, and is at least `SHORTEST_SPEECH` chunks long.

    Parameters
    ----------
    probability : np.ndarray, shape (chunks,), float32

    Returns
    -------
    np.ndarray, shape (chunks,), bool
    """
    mask = np.zeros(len(probability), dtype=bool)
    speaking = False
    for i, value in enumerate(probability):
        speaking = value >= (SILENCE_PROBABILITY if speaking else SPEECH_PROBABILITY)
        mask[i] = speaking
    for start, stop in runs(mask):
        if stop - start < SHORTEST_SPEECH:
            mask[start:stop] = False
    return mask


def runs(mask: Mask) -> list[tuple[int, int]]:
    """Return the (start, stop) of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def spread(mask: Mask, length: int) -> Mask:
    """Return a mask over samples for a mask over chunks.

    Parameters
    ----------
    mask : np.ndarray, shape (chunks,), bool
    length : int
        Number of samples.
    """
    return np.repeat(mask, CHUNK)[:length]
