"""Evaluation: from trials and conditions to error rates with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from membrane.evaluation.intervals import Estimate
from membrane.evaluation.scores import ScoredTrials
from membrane.voice.encoder import Vector


@dataclass(frozen=True, eq=False)
class Outcome:
    """The error rates of one condition, of all speakers or of one group of them.

    Parameters
    ----------
    condition : str
        Name of the condition.
    kind : str
        Kind of the condition, as in `Condition`.
    snr_db : float or None
    group : str
        Such as ``"gender=f"``; empty for everybody.
    counts : dict of str to int
        ``speakers``, ``probes``, ``genuine``, ``impostor`` (trials), ``refused`` (utterances that
        the quality gate refused), ``unreadable``.
    measures : dict of str to Estimate
        As `metrics.MEASURES` names them.
    scored : ScoredTrials
    """

    condition: str
    kind: str
    snr_db: float | None
    group: str
    counts: Mapping[str, int]
    measures: Mapping[str, Estimate]
    scored: ScoredTrials


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that one evaluation found.

    Parameters
    ----------
    outcomes : tuple of Outcome
        The first is of everybody, in the first condition.
    threshold : float
        The score that accepts, in the unit of the scores.
    unit : str
        What the scores are: ``"log-likelihood ratio"`` or ``"similarity"``.
    speakers : tuple of str
        By their index in `ScoredTrials`.
    vectors : np.ndarray, shape (speakers, 256), float32, unit length
        The mean voice of each speaker; not-a-number where none was heard.
    provenance : dict of str to Any
        What was measured on what: folders, files, hashes, versions, settings, command, date.
    notes : tuple of str
        What was left out and why, and what falsifies the figures.
    """

    outcomes: tuple[Outcome, ...]
    threshold: float
    unit: str
    speakers: tuple[str, ...]
    vectors: Vector
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
