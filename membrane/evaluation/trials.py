"""Trials: who is compared with which probe, and whether they are the same person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from membrane.evaluation.recordings import Recording
from membrane.voice.encoder import Vector


@dataclass(frozen=True, eq=False)
class Enrolled:
    """Somebody whom probes are compared with.

    Parameters
    ----------
    name : str
    speaker : str
    recordings : tuple of Recording
        What their voiceprint is made of; empty where it is a stored one.
    vector : np.ndarray, shape (256,), float32, unit length, or None
        A stored voiceprint.
    speech_s : float, seconds
        Net speech of a stored voiceprint.
    """

    name: str
    speaker: str
    recordings: tuple[Recording, ...] = ()
    vector: Vector | None = None
    speech_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Trials:
    """Labelled comparisons.

    Parameters
    ----------
    enrolled : tuple of Enrolled
    probes : tuple of Recording
    pairs : np.ndarray, shape (t, 2), int32
        Index of the enrolled person and of the probe.
    same : np.ndarray, shape (t,), bool
        Whether they are the same person.
    notes : tuple of str
        What was left out and why, a sentence each.
    """

    enrolled: tuple[Enrolled, ...]
    probes: tuple[Recording, ...]
    pairs: npt.NDArray[np.int32]
    same: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()
