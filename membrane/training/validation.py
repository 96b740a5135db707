"""Validation: how often voices that nothing was learnt from are confused.

Each piece of a speaker is enrolled once, as it was recorded, and compared with every other piece
of the corpus in every condition. A network is worth the geometric mean over corpora and
conditions of its equal error rate (EER) over the teacher's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError
from membrane.evaluation.metrics import det_curve, equal_error_rate
from membrane.training.probes import CLEAN, CorpusProbes, Spectrum
from membrane.voice.dvector import DVectorEncoder
from membrane.voice.partials import PARTIAL_FRAMES

if TYPE_CHECKING:
    from membrane.training.network import Network

Vectors = npt.NDArray[np.float32]
Voices = Callable[[Sequence[Spectrum]], Vectors]
"""From p spectra to their p vectors of unit length, of shape (p, dimension)."""

Errors = dict[tuple[str, str], float]
"""The EER in per cent by corpus and condition."""

UNSURE = 0.3
"""Per cent added to both rates of a ratio: below, a rate is a matter of single trials."""

LEAST_SPEAKERS = 5
"""A corpus of fewer is shown, but judges nothing."""

BATCH = 32
"""Spectra that go through the network at once."""


class Validation:
    """Questions about speakers who are not learnt from.

    Parameters
    ----------
    corpora : sequence of CorpusProbes

    Raises
    ------
    UsageError
        If there are none.
    """

    def __init__(self, corpora: Sequence[CorpusProbes]) -> None:
        if not corpora:
            raise UsageError(
                "too few speakers are left for validation, two with two recordings each: "
                "give more speech, or raise validation_share in the recipe"
            )
        self.corpora = corpora

    @property
    def judging(self) -> list[str]:
        """The corpora that have speakers enough to judge by; all, if none has."""
        able = [
            one.corpus for one in self.corpora if len(np.unique(one.speakers)) >= LEAST_SPEAKERS
        ]
        return able or [one.corpus for one in self.corpora]

    def errors(self, voices: Voices) -> Errors:
        """Return the equal error rates of something that knows voices."""
        return {
            (one.corpus, condition): error
            for one in self.corpora
            for condition, error in _errors(one, voices)
        }

    def mean(self, errors: Errors) -> float:
        """Return the mean EER, in per cent, of the corpora that judge."""
        return float(np.mean([errors[key] for key in self._judged(errors)]))

    def ratio(self, errors: Errors, teachers: Errors) -> float:
        """Return the geometric mean of the rates over the teacher's, each plus `UNSURE`."""
        ratios = [
            math.log((errors[key] + UNSURE) / (teachers[key] + UNSURE))
            for key in self._judged(errors)
        ]
        return math.exp(sum(ratios) / len(ratios))

    def _judged(self, errors: Errors) -> list[tuple[str, str]]:
        judging = self.judging
        return [key for key in errors if key[0] in judging]


def _errors(probes: CorpusProbes, voices: Voices) -> Iterator[tuple[str, float]]:
    enrolled = voices(probes.conditions[CLEAN])
    same = probes.speakers[:, None] == probes.speakers
    others = ~np.eye(len(same), dtype=bool)
    for condition, spectra in probes.conditions.items():
        asked = enrolled if condition == CLEAN else voices(spectra)
        scores = (asked @ enrolled.T).astype(np.float64)
        yield condition, 100 * equal_error_rate(det_curve(scores[others], same[others]))


def teacher_voices(spectra: Sequence[Spectrum]) -> Vectors:
    """Return Resemblyzer's vectors; zeros where it finds no voice.

    Raises
    ------
    ModelUnavailable
        If its network's file is missing or is not the registered one.
    """
    encoder = DVectorEncoder()
    partials = [
        spectrum.mels[start : start + PARTIAL_FRAMES]
        for spectrum in spectra
        for start in spectrum.starts
    ]
    counts = [len(spectrum.starts) for spectrum in spectra]
    vectors = np.nan_to_num(encoder.run(np.stack(partials)))
    sums = np.add.reduceat(vectors, np.cumsum([0, *counts[:-1]]))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(lengths, 1e-6), np.float32)


@dataclass(frozen=True)
class NetworkVoices:
    """The vectors of a network that is being trained.

    Parameters
    ----------
    network : Network
    device : torch.device
    """

    network: Network
    device: Any

    def __call__(self, spectra: Sequence[Spectrum]) -> Vectors:
        """Return the vectors; only what has the same length is computed at once."""
        found: dict[int, np.ndarray] = {}
        for places in _alike(spectra):
            vectors = self._vectors([spectra[place] for place in places])
            found.update(zip(places, vectors, strict=True))
        return np.stack([found[place] for place in range(len(spectra))])

    def _vectors(self, alike: Sequence[Spectrum]) -> np.ndarray:
        import torch

        mels = torch.from_numpy(np.stack([spectrum.mels for spectrum in alike]))
        lengths = torch.tensor([spectrum.length for spectrum in alike])
        self.network.eval()
        with torch.no_grad():
            voiced = self.network(
                mels.to(self.device), lengths.to(self.device), list(alike[0].starts)
            )
        vectors: np.ndarray = voiced.pooled.float().cpu().numpy()
        return vectors


def _alike(spectra: Sequence[Spectrum]) -> Iterator[list[int]]:
    """Yield the places of up to `BATCH` spectra of equal length."""
    by_length: dict[tuple[int, int], list[int]] = {}
    for place, spectrum in enumerate(spectra):
        by_length.setdefault((len(spectrum.mels), spectrum.length), []).append(place)
    for places in by_length.values():
        for at in range(0, len(places), BATCH):
            yield places[at : at + BATCH]


@dataclass
class Best:
    """The best validation so far, and how many have been worse since.

    Parameters
    ----------
    step : int
    ratio : float
        Over the teacher's, as `Validation.ratio`.
    worse_since : int
    asked_at : int
        The step of the last one.
    """

    step: int = 0
    ratio: float = math.inf
    worse_since: int = 0
    asked_at: int = 0

    def improved(self, step: int, ratio: float) -> bool:
        """Take a validation, and return whether it is the best."""
        self.asked_at = step
        if ratio < self.ratio:
            self.step, self.ratio, self.worse_since = step, ratio, 0
            return True
        self.worse_since += 1
        return False


def errors_as_state(errors: Mapping[tuple[str, str], float]) -> list[tuple[str, str, float]]:
    """Return error rates in a form that a checkpoint holds."""
    return [(corpus, condition, error) for (corpus, condition), error in errors.items()]


def errors_from_state(state: Sequence[tuple[str, str, float]]) -> Errors:
    """Return error rates as `errors_as_state` has written them."""
    return {(corpus, condition): error for corpus, condition, error in state}
