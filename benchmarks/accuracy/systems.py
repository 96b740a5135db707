"""What every verifier under test has in common, and the corpora that they are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from membrane.audio.utterance import Samples
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.trials import Trials

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Speakers to tell apart.

    Parameters
    ----------
    name : str
        As in ``--corpus``.
    title : str
        What it is, for the table.
    trials : Trials
        Every enrolled speaker and every probe of them.
    background : tuple of Recording
        Other speakers, none of them held back.
    conditions : tuple of Condition
    """

    name: str
    title: str
    trials: Trials
    background: tuple[Recording, ...]
    conditions: tuple[Condition, ...]

    @cached_property
    def enrolments(self) -> list[list[Samples]]:
        """What each speaker enrols with."""
        return [[one.read().samples for one in who.recordings] for who in self.trials.enrolled]

    @cached_property
    def background_sounds(self) -> list[Samples]:
        """The recordings of the other speakers."""
        return [one.read().samples for one in self.background]


@dataclass(frozen=True, eq=False)
class Task:
    """The probes of one corpus in one condition.

    Parameters
    ----------
    corpus : Corpus
    condition : Condition
    """

    corpus: Corpus
    condition: Condition

    @cached_property
    def probes(self) -> list[Samples]:
        """What is heard of each probe: bit by bit what `membrane.evaluation.voices.hear` hears."""
        return [self._heard(probe) for probe in self.corpus.trials.probes]

    def _heard(self, probe: Recording) -> Samples:
        seed = seed_of(probe)
        return self.condition.apply(probe.read(), seed=seed, avoid=probe.files).samples


class System(Protocol):
    """A verifier under test."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def problem(self) -> str:
        """Why it cannot run here; empty if it can."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Patterns, below the project's folder, of the files that decide its scores."""

    def scores(self, task: Task) -> Floats:
        """Score every enrolled speaker against every probe.

        Returns
        -------
        np.ndarray, shape (enrolled, probes), float64
            Larger is more alike; not-a-number where the system finds nothing to judge.
        """


def cosines(voiceprints: Sequence[npt.NDArray[np.floating]], probes: Floats) -> Floats:
    """Return the cosine of every voiceprint and every probe, shape (voiceprints, probes)."""
    left = np.stack([one / np.linalg.norm(one) for one in voiceprints])
    right = probes / np.linalg.norm(probes, axis=1, keepdims=True)
    alike: Floats = left.astype(np.float64) @ right.T.astype(np.float64)
    return alike


def seed_of(probe: Recording) -> int:
    """Return the seed of what is done to a probe, the one that `membrane evaluate` takes."""
    return int(probe.content_hash()[:16], 16)
