"""The judge: what a similarity is worth, and whether it is enough.

Login, identification and evaluation all decide here, so measured error rates are those of a login.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from membrane.errors import ModelUnavailable, UsageError
from membrane.models import registry as models
from membrane.voice.calibration import Calibration, load_calibration
from membrane.voice.normalisation import (
    Cohort,
    Normalisation,
    load_cohort,
    normalisation_named,
    read_cohort,
)
from membrane.voice.projection import Projection, projected_cohort
from membrane.voice.ratio import Circumstances, Flags, Floats
from membrane.voice.thresholds import threshold_for

RATIO = "log-likelihood ratio"
SIMILARITY = "similarity"

COHORT = "cohort_sha256"
"""Key in a calibration's provenance: the hash of the cohort file it was fitted with."""

STRETCH = "stretch"
"""Name of the threshold that every stretch of a probe must reach."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Decides whether two voices are one person's.

    Parameters
    ----------
    encoder : str
        Name of the encoder that made the vectors.
    level : {"convenient", "balanced", "strict"}
        The security level.
    cosine : float or None
        Accept at this cosine or higher, without normalisation or calibration.
    normalise : {"", "none", "centre", "as-norm"}
        Empty for the kind that the calibration was fitted with.
    calibration_file : Path or None
        The user's own calibrations, used if they exist. Their cohort lies beside this file.
    given : Calibration or None
        Calibration to use instead of a file's.
    cohort : Cohort or None
        Cohort to use instead of a file's.
    projection : Projection or None
        Projection that the vectors went through; None for vectors as the encoder made them.
    """

    encoder: str
    level: str = "balanced"
    cosine: float | None = None
    normalise: str = ""
    calibration_file: Path | None = None
    given: Calibration | None = None
    cohort: Cohort | None = None
    projection: Projection | None = None

    @cached_property
    def calibration(self) -> Calibration:
        """From similarity to log-likelihood ratio."""
        if self.given is not None:
            return self.given
        return load_calibration(self.encoder, self.normalise, path=self.calibration_file)

    @cached_property
    def normalisation(self) -> Normalisation:
        """From vectors to similarity."""
        return normalisation_named(self._normalise, self.encoder, cohort=self._cohort)

    @cached_property
    def ranking(self) -> Normalisation:
        """The normalisation that orders a whole gallery. AS-norm would be too slow."""
        name = "centre" if self._normalise == "as-norm" else self._normalise
        return normalisation_named(name, self.encoder, cohort=self._cohort)

    @property
    def strangers(self) -> Cohort:
        """The voices of strangers that similarities are compared with.

        Raises
        ------
        ModelUnavailable
            If they cannot be read.
        """
        return load_cohort(self.encoder) if self._cohort is None else self._cohort

    @cached_property
    def _cohort(self) -> Cohort | None:
        """The cohort to use instead of the shipped one, if there is one."""
        plain = self._plain_cohort()
        if self.projection is None:
            return plain
        return projected_cohort(plain or load_cohort(self.encoder), self.projection)

    def _plain_cohort(self) -> Cohort | None:
        if self.cohort is not None or self.cosine is not None or self.calibration_file is None:
            return self.cohort
        wanted = self.calibration.provenance.get(COHORT)
        if wanted is None:
            return None
        with suppress(UsageError):  # a custom encoder has no shipped one
            if self.calibration == load_calibration(self.encoder, self.normalise):
                return None
        path = cohort_beside(self.calibration_file, self.encoder)
        with suppress(OSError):
            if models.sha256_of(path) == wanted:
                return read_cohort(path)
        # With another its ratios would be wrong.
        raise ModelUnavailable(
            f"the cohort {path} is missing or not the one of the calibration beside it: "
            "calibrate again, or delete the calibration"
        )

    @property
    def _normalise(self) -> str:
        return "none" if self.cosine is not None else self.calibration.normalisation

    @property
    def unit(self) -> str:
        """What the scores are."""
        return RATIO if self.cosine is None else SIMILARITY

    @property
    def threshold(self) -> float:
        """The score from which a comparison is accepted."""
        if self.cosine is not None:
            return self.cosine
        return self.calibration.threshold(self.level).llr

    @property
    def stretch_threshold(self) -> float:
        """The similarity that every stretch of a probe must reach."""
        least = threshold_for(self.encoder, STRETCH)
        # A lower threshold for the whole also lowers the one for its parts.
        return least if self.cosine is None else min(least, self.cosine)

    def scores(
        self, similarities: Floats, normalised: Floats, circumstances: Circumstances
    ) -> Floats:
        """Return the scores to compare with the threshold.

        Parameters
        ----------
        similarities : np.ndarray, shape (t,)
            Raw cosines.
        normalised : np.ndarray, shape (t,)
            The same after `normalisation`.
        circumstances : Circumstances
            Numbers, or arrays of shape (t,).

        Returns
        -------
        np.ndarray, shape (t,), float64
            Log-likelihood ratios, or the raw cosines if `cosine` is set.
        """
        if self.cosine is not None:
            return similarities
        return self.calibration.llr(normalised, circumstances)

    def accepts(self, scores: Floats, stretches: Floats) -> Flags:
        """Return which comparisons are one person's.

        Parameters
        ----------
        scores : np.ndarray, shape (t,)
            What `scores` returns.
        stretches : np.ndarray, shape (t,)
            Raw cosine of the least similar stretch of each probe.
        """
        return np.asarray((scores >= self.threshold) & (stretches >= self.stretch_threshold))


def cohort_beside(calibration_file: Path, encoder: str) -> Path:
    """Return the path of the cohort of a user's own calibration."""
    return calibration_file.with_name(f"{encoder}.cohort.npz")
