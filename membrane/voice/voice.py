"""A voice engine: one encoder, and what its vectors are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from membrane.voice.encoder import Embedding, Encoder, Vector
from membrane.voice.judge import RATIO, Judge
from membrane.voice.normalisation import Normalisation
from membrane.voice.ratio import Circumstances, Flags, Floats
from membrane.voice.scoring import Metric, similarities, top

INCOMPARABLE = np.float32(-2)
"""Similarity of voiceprints to ignore: below every cosine."""


@dataclass(frozen=True, eq=False)
class Alike:
    """How alike every voiceprint is to every probe.

    Parameters
    ----------
    similarities : np.ndarray, shape (voiceprints, probes), float64
        Cosines of the whole.
    normalised : np.ndarray, shape (voiceprints, probes), float64
        The same after normalisation.
    stretches : np.ndarray, shape (voiceprints, probes), float64
        Cosine of the least similar stretch of each probe.
    """

    similarities: Floats
    normalised: Floats
    stretches: Floats

    @classmethod
    def of(
        cls, voiceprints: Vector, probes: Sequence[Embedding], normalisation: Normalisation
    ) -> Alike:
        """Compare voiceprints with probes: one of each at a login, many in an evaluation.

        Parameters
        ----------
        voiceprints : np.ndarray, shape (n, dimension), float32, rows of unit length
            One voiceprint in each row.
        """
        alike = [similarities(voiceprints, one.vector) for one in probes]
        stretches = [(one.partials @ voiceprints.T).min(axis=0) for one in probes]
        normalised = normalisation.matrix(voiceprints, np.stack([one.vector for one in probes]))
        return cls(
            np.stack(alike, axis=1).astype(np.float64),
            normalised.astype(np.float64),
            np.stack(stretches, axis=1).astype(np.float64),
        )


@dataclass(frozen=True)
class VoiceMatch:
    """How alike the probe and a voiceprint are.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
        Numbers in which `value` and `threshold` are given.
    similarity : float
        The cosine of the two vectors.
    value : float
        The same as a number of the metric: the cosine or the distance.
    threshold : float or None
        Accept at this cosine or higher (euclidean: this distance or lower). None if the score
        decides.
    accepted : bool
        Whether the whole and every stretch are similar enough.
    stretch : float
        The cosine of the least similar stretch of the probe. Every part must be the person's.
    stretch_threshold : float
        Accept if `stretch` is this or higher.
    score : float or None
        Calibrated log-likelihood ratio (natural logarithm): how much likelier the similarity is
        between two recordings of one person than of two. None if a threshold on the cosine
        decides.
    score_threshold : float or None
        Accept at this score or higher.
    """

    metric: str
    similarity: float
    value: float
    threshold: float | None
    accepted: bool
    stretch: float
    stretch_threshold: float
    score: float | None = None
    score_threshold: float | None = None

    @property
    def mixed(self) -> bool:
        """Whether the whole is similar enough but one stretch is another voice."""
        return self._whole and self.stretch < self.stretch_threshold

    @property
    def worth(self) -> float:
        """The score, or the similarity if a threshold on the cosine decides."""
        return self.similarity if self.score is None else self.score

    @property
    def _whole(self) -> bool:
        if self.score is not None and self.score_threshold is not None:
            return self.score >= self.score_threshold
        if self.threshold is None:
            return False
        if self.metric == "cosine":
            return self.value >= self.threshold
        return self.value <= self.threshold


@dataclass(frozen=True, eq=False)
class Voice:
    """One encoder with its calibration.

    Parameters
    ----------
    judge : Judge
        Judge of the same encoder.
    metric : Metric
        The numbers that similarities are shown in.
    """

    encoder: Encoder
    judge: Judge
    metric: Metric

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.name

    def embed(self, sounds: Sequence[Any]) -> Embedding:
        """Return the voice of an utterance. Two versions of its sound count half each.

        Each version is what the encoder hears: the sound as it was recorded, or speech at the level
        of `membrane.audio.preparation.at_voice_level`. A denoised probe differs from a voiceprint
        of sounds without denoising: in pink noise at 20 dB the equal error rate is 6.8 %. With both
        in the voiceprint it is 6.3 % (``benchmarks/denoising.py --part choose``).

        Raises
        ------
        PoorQuality
            If the encoder finds no voice in it.
        Unavailable
            If the encoder cannot run here.
        """
        found = [self.encoder.embed(sound) for sound in sounds]
        if len(found) == 1:
            return found[0]
        partials = np.concatenate([one.partials for one in found])
        mean = partials.mean(axis=0)
        spans_s = np.concatenate([one.spans_s for one in found])
        return Embedding(mean / np.linalg.norm(mean), partials, spans_s)

    def score(
        self, voiceprint: Vector, probe: Vector, circumstances: Circumstances
    ) -> tuple[float, float]:
        """Return how alike a voiceprint and a probe are, and what that is worth."""
        whole = Embedding(probe, probe[np.newaxis])
        alike = Alike.of(voiceprint[np.newaxis], [whole], self.judge.normalisation)
        scores, _ = self.decide(alike, circumstances)
        return alike.similarities.item(), scores.item()

    def decide(self, alike: Alike, circumstances: Circumstances) -> tuple[Floats, Flags]:
        """Return the scores of comparisons, and which of them are one person.

        Parameters
        ----------
        alike : Alike
            Of any shape.
        circumstances : Circumstances
            Numbers, or arrays of that shape.
        """
        scores = self.judge.scores(alike.similarities, alike.normalised, circumstances)
        return scores, self.judge.accepts(scores, alike.stretches)

    def match(
        self, voiceprint: Vector, probe: Embedding, circumstances: Circumstances
    ) -> VoiceMatch:
        """Compare a voiceprint with a whole probe, and with every stretch of it.

        Otherwise an attacker could say the words and then play any recording of the person.
        """
        alike = Alike.of(voiceprint[np.newaxis], [probe], self.judge.normalisation)
        similarity = alike.similarities.item()
        scores, accepted = self.decide(alike, circumstances)
        calibrated = self.judge.unit == RATIO
        threshold = self.judge.threshold
        return VoiceMatch(
            metric=self.metric.name,
            similarity=similarity,
            value=self.metric.from_similarity(similarity),
            threshold=None if calibrated else self.metric.from_similarity(threshold),
            score=scores.item() if calibrated else None,
            score_threshold=threshold if calibrated else None,
            stretch=alike.stretches.item(),
            stretch_threshold=self.judge.stretch_threshold,
            accepted=accepted.item(),
        )

    def closest(self, gallery: Vector, among: Flags, probe: Vector, count: int) -> list[int]:
        """Return the rows of the most similar people, the most similar first.

        Parameters
        ----------
        gallery : np.ndarray, shape (p, dimension), float32
            One voiceprint in each row.
        among : np.ndarray, shape (p,), bool
            Rows whose voiceprints come from this encoder.
        probe : np.ndarray, shape (dimension,), float32
            The voice to compare them with.
        count : int
            Number of rows to return.
        """
        alike = np.where(among, self.judge.ranking.similarities(gallery, probe), INCOMPARABLE)
        return [int(row) for row in top(alike, count) if among[row]]
