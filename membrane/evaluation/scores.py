"""The scored trials of one condition: what every metric and plot is made of."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Trials that were scored; those of refused or unreadable recordings are not among them.

    Parameters
    ----------
    scores : np.ndarray, shape (t,), float64
        Log-likelihood ratios (natural log), or whatever the system under test gives; larger is
        more alike.
    similarities : np.ndarray, shape (t,), float64
        Raw cosines.
    accepted : np.ndarray, shape (t,), bool
        What `verify` would decide of the voice, at the threshold in use.
    same : np.ndarray, shape (t,), bool
        Whether both are the same person.
    enrolled, probes : np.ndarray, shape (t,), int32
        Index of the enrolled person, and of the probe.
    enrolled_speakers, probe_speakers : np.ndarray, shape (t,), int32
        Index of their speakers, in one numbering.
    """

    scores: Floats
    similarities: Floats
    accepted: Flags
    same: Flags
    enrolled: Indices
    probes: Indices
    enrolled_speakers: Indices
    probe_speakers: Indices

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, chosen: Flags) -> ScoredTrials:
        """Return some of the trials.

        Parameters
        ----------
        chosen : np.ndarray, shape (t,), bool
        """
        return ScoredTrials(*(getattr(self, field.name)[chosen] for field in fields(self)))
