"""The cells of the table: the error rates of one system on one corpus in one condition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.accuracy.ours import Ours
from benchmarks.accuracy.systems import Floats, System, Task
from membrane.evaluation.intervals import Estimate, estimates
from membrane.evaluation.metrics import ScoredTrials, det_curve, equal_error_rate
from membrane.evaluation.trials import Trials

PROJECT = Path(__file__).resolve().parents[2]

SOUND = (
    "membrane/audio/*.py",
    "membrane/evaluation/conditions.py",
    "benchmarks/accuracy/systems.py",
)
"""The files that decide what every system hears."""

MEASURES = {"eer": "EER", "min_dcf_01": "minDCF"}
"""Key in `membrane.evaluation.metrics`, and title."""


@dataclass(frozen=True)
class Cell:
    """How often one system is wrong.

    Parameters
    ----------
    system : str
    measures : dict of str to Estimate
        By the keys of `MEASURES`.
    eer_of_speakers : float
        Mean over the enrolled of the equal error rate at which each has a threshold of their own.
    unscored : int
        Probes in which the system found nothing to judge, taken for the least alike.
    ours : bool
        Whether it is Membrane.
    """

    system: str
    measures: dict[str, Estimate]
    eer_of_speakers: float
    unscored: int
    ours: bool = False


@dataclass(frozen=True)
class Row:
    """Every system in one condition.

    Parameters
    ----------
    corpus, condition : str
    probes : int
    refused : int
        Probes that Membrane's quality gate would refuse to judge.
    cells : tuple of Cell
    """

    corpus: str
    condition: str
    probes: int
    refused: int
    cells: tuple[Cell, ...]


def row_of(
    task: Task, ours: Sequence[Ours], others: Sequence[System], folder: Path, resamples: int
) -> Row:
    """Return the error rates of every system on the probes of one task."""
    cells = []
    for system in (*ours, *others):
        kept = folder / f"{key_of(task, system)}.npy"
        scores = kept_or_computed(kept, partial(system.scores, task))
        cells.append(cell_of(task, system, scores, resamples))
    probes = len(task.corpus.trials.probes)
    return Row(task.corpus.name, task.condition.name, probes, ours[0].refused(task), tuple(cells))


def cell_of(task: Task, system: System, scores: Floats, resamples: int) -> Cell:
    """Return the error rates of the scores of one system, shape (enrolled, probes)."""
    missing = np.isnan(scores)
    scored = scored_trials(task, scores)
    found = estimates(scored, resamples=resamples)
    return Cell(
        system=system.name,
        measures={key: found[key] for key in MEASURES},
        eer_of_speakers=mean_of_speakers(scored),
        unscored=int(missing.all(axis=0).sum()),
        ours=isinstance(system, Ours),
    )


def scored_trials(task: Task, scores: Floats) -> ScoredTrials:
    """Return the scores of the trials; nothing is accepted, because no threshold is compared.

    What a system could not judge (not-a-number) is the least alike.
    """
    trials = task.corpus.trials
    number = {speaker: place for place, speaker in enumerate(speakers_of(trials))}
    enrolled, probes = trials.pairs.T
    filled = np.where(np.isnan(scores), np.nanmin(scores) - 1.0, scores)
    values = filled[enrolled, probes]
    return ScoredTrials(
        scores=values,
        similarities=values,
        accepted=np.zeros(len(values), bool),
        same=trials.same,
        enrolled=enrolled,
        probes=probes,
        enrolled_speakers=np.array([number[one.speaker] for one in trials.enrolled])[enrolled],
        probe_speakers=np.array([number[one.speaker] for one in trials.probes])[probes],
    )


def speakers_of(trials: Trials) -> list[str]:
    """Return everybody who speaks in some trials, enrolled or not."""
    enrolled = {who.speaker for who in trials.enrolled}
    return sorted(enrolled | {probe.speaker for probe in trials.probes})


def mean_of_speakers(scored: ScoredTrials) -> float:
    """Return the mean of the equal error rates of the enrolled, each with their own threshold."""
    own = [scored.where(scored.enrolled == one) for one in np.unique(scored.enrolled)]
    return float(np.mean([equal_error_rate(det_curve(one.scores, one.same)) for one in own]))


def kept_or_computed(path: Path, compute: Callable[[], Floats]) -> Floats:
    """Return the scores of an earlier run, or compute and keep them."""
    if path.exists():
        kept: Floats = np.load(path)
        return kept
    scores = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new.npy")
    np.save(unfinished, scores)
    unfinished.replace(path)
    return scores


def key_of(task: Task, system: System) -> str:
    """Return a hash of all that decides the scores: sounds, condition and source."""
    trials = task.corpus.trials
    parts = [
        system.name,
        source_hash((*SOUND, *system.sources)),
        [[one.content_hash() for one in who.recordings] for who in trials.enrolled],
        [
            [one.content_hash(), task.condition.content_hash(avoid=one.files)]
            for one in trials.probes
        ],
        [one.content_hash() for one in task.corpus.background],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def source_hash(patterns: Sequence[str]) -> str:
    """Return a hash of the files of the project that fit any of the patterns."""
    files = sorted({path for pattern in patterns for path in PROJECT.glob(pattern)})
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
