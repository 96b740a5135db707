"""From heard recordings to scored trials, by the voice that judges a login."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from membrane.evaluation.metrics import Flags, Floats, Indices, ScoredTrials
from membrane.evaluation.trials import Enrolled, Trials
from membrane.evaluation.voices import Heard, Job
from membrane.login.compare import Compared, net_speech_s
from membrane.store.voiceprint import VECTOR_SIZE, mean_vector
from membrane.voice.calibration import Circumstances
from membrane.voice.encoder import Vector
from membrane.voice.normalisation import Normalisation
from membrane.voice.voice import Alike, Voice

BLOCK = 256
"""Probes that are compared at once, so that a million trials need no matrix of all pairs."""

NO_PAIRS = Alike(*[np.zeros(0)] * 3)

NOBODY = Compared(np.full(VECTOR_SIZE, np.nan, np.float32), 0.0)
"""Whose enrolment could not be judged."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Voiceprints compared with probes, one pair each; nothing is scored or decided yet.

    Parameters
    ----------
    alike : Alike
        Arrays of shape (t,).
    circumstances : Circumstances
        Speech and noise of each pair, arrays of shape (t,).
    same, enrolled, probes, enrolled_speakers, probe_speakers : np.ndarray, shape (t,)
        As in `ScoredTrials`.
    """

    alike: Alike
    circumstances: Circumstances
    same: Flags
    enrolled: Indices
    probes: Indices
    enrolled_speakers: Indices
    probe_speakers: Indices


@dataclass(frozen=True, eq=False)
class Voiceprints:
    """The voiceprints of the enrolled, and a numbering of all speakers.

    Parameters
    ----------
    vectors : np.ndarray, shape (enrolled, 256), float32, unit length
        Not-a-number where nothing of the enrolment could be judged.
    speech_s : np.ndarray, shape (enrolled,), float64, seconds
        Net speech that each voiceprint is made of.
    speakers : tuple of str
    enrolled_speakers : np.ndarray, shape (enrolled,), int32
    probe_speakers : np.ndarray, shape (probes,), int32
        Indices of `speakers`.
    """

    vectors: Vector
    speech_s: Floats
    speakers: tuple[str, ...]
    enrolled_speakers: Indices
    probe_speakers: Indices

    @classmethod
    def of(cls, trials: Trials, heard: Mapping[Job, Heard], *, enrolling: bool) -> Voiceprints:
        """Make the voiceprints out of what was heard, as an enrolment does."""
        made = [_voiceprint(who, heard, enrolling=enrolling) for who in trials.enrolled]
        people = {who.speaker for who in trials.enrolled} | {one.speaker for one in trials.probes}
        speakers = sorted(people)
        number = {speaker: place for place, speaker in enumerate(speakers)}
        return cls(
            vectors=np.stack([who.vector for who in made]),
            speech_s=np.array([who.speech_s for who in made]),
            speakers=tuple(speakers),
            enrolled_speakers=np.array([number[who.speaker] for who in trials.enrolled], np.int32),
            probe_speakers=np.array([number[one.speaker] for one in trials.probes], np.int32),
        )


def _voiceprint(who: Enrolled, heard: Mapping[Job, Heard], *, enrolling: bool) -> Compared:
    if who.stored is not None:
        return who.stored
    found = [heard[Job(one, enrolling=enrolling)].enrolled() for one in who.recordings]
    used = [one for one in found if one is not None]
    return Compared(mean_vector(used), net_speech_s(used)) if used else NOBODY


def mean_voices(speakers: npt.NDArray[Any], heard: Sequence[Heard], count: int) -> Vector:
    """Return the mean voice of each speaker.

    Parameters
    ----------
    speakers : np.ndarray, shape (n,), int
        Who speaks in each recording, from 0 to `count`.
    heard : sequence of Heard
    count : int

    Returns
    -------
    np.ndarray, shape (count, 256), float32, unit length
        Not-a-number where nothing could be judged.
    """
    total = np.zeros((count, VECTOR_SIZE), np.float32)
    for speaker, one in zip(speakers, heard, strict=True):
        if one.embedding is not None:
            total[speaker] += one.embedding.vector
    with np.errstate(invalid="ignore"):
        unit: Vector = total / np.linalg.norm(total, axis=1, keepdims=True)
    return unit


def compare(
    trials: Trials, voiceprints: Voiceprints, probes: Sequence[Heard], normalisation: Normalisation
) -> Comparisons:
    """Compare every pair of which enrolment and probe could be judged, ordered by probe.

    Parameters
    ----------
    trials : Trials
    voiceprints : Voiceprints
    probes : sequence of Heard
        In the order of `trials.probes`.
    normalisation : Normalisation
    """
    there = np.array([one.embedding is not None for one in probes], bool)
    enrolled = np.asarray(np.isfinite(voiceprints.vectors).all(axis=1))
    kept = np.flatnonzero(enrolled[trials.pairs[:, 0]] & there[trials.pairs[:, 1]])
    kept = kept[np.argsort(trials.pairs[kept, 1], kind="stable")]
    row, column = trials.pairs[kept].T
    blocks = [
        _compare_block(row[start:end], column[start:end], voiceprints, probes, normalisation)
        for start, end in pairwise(
            [*np.flatnonzero(np.diff(column, prepend=-1))[::BLOCK], len(row)]
        )
    ]
    measured = [
        (one.quality.speech_s, one.quality.snr_db) if one.quality else (np.nan, np.nan)
        for one in probes
    ]
    speech_s, snr_db = np.reshape(measured, (-1, 2))[column].T
    return Comparisons(
        alike=pooled([NO_PAIRS, *blocks]),
        circumstances=Circumstances(speech_s, snr_db, enrolled_speech_s=voiceprints.speech_s[row]),
        same=trials.same[kept],
        enrolled=row,
        probes=column,
        enrolled_speakers=voiceprints.enrolled_speakers[row],
        probe_speakers=voiceprints.probe_speakers[column],
    )


def _compare_block(
    row: Indices,
    column: Indices,
    voiceprints: Voiceprints,
    probes: Sequence[Heard],
    normalisation: Normalisation,
) -> Alike:
    rows, row_of = np.unique(row, return_inverse=True)
    columns, column_of = np.unique(column, return_inverse=True)
    embeddings: list[Any] = [probes[place].embedding for place in columns]
    alike = Alike.of(voiceprints.vectors[rows], embeddings, normalisation)
    return Alike(*(getattr(alike, each.name)[row_of, column_of] for each in fields(alike)))


def pooled(parts: Sequence[Any]) -> Any:
    """Return arrays, or records of arrays, one after the other as one."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    names = [each.name for each in fields(first)]
    return type(first)(*(pooled([getattr(part, name) for part in parts]) for name in names))


def score(compared: Comparisons, voice: Voice) -> ScoredTrials:
    """Return the scores that a login would have, and what it would decide of the voice."""
    scores, accepted = voice.decide(compared.alike, compared.circumstances)
    return ScoredTrials(
        scores=scores,
        similarities=compared.alike.similarities,
        accepted=accepted,
        same=compared.same,
        enrolled=compared.enrolled,
        probes=compared.probes,
        enrolled_speakers=compared.enrolled_speakers,
        probe_speakers=compared.probe_speakers,
    )
