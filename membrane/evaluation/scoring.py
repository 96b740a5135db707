"""From heard recordings to scored trials: voiceprints, comparisons, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.metrics import Flags, Floats, Indices, ScoredTrials
from membrane.evaluation.trials import Enrolled, Trials
from membrane.evaluation.voices import Heard, Job
from membrane.store.voiceprint import VECTOR_SIZE
from membrane.voice.calibration import Circumstances
from membrane.voice.encoder import Embedding, Vector
from membrane.voice.judge import Judge
from membrane.voice.normalisation import Normalisation

BLOCK = 256
"""Probes that are compared at once, so that a million trials need no matrix of all pairs."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Voiceprints compared with probes, one pair each; nothing is scored or decided yet.

    Parameters
    ----------
    similarities : np.ndarray, shape (t,), float64
        Raw cosines.
    normalised : np.ndarray, shape (t,), float64
        The similarities after normalisation.
    stretches : np.ndarray, shape (t,), float64
        Raw cosine of the least similar stretch of the probe.
    circumstances : Circumstances
        Speech and noise of each pair, arrays of shape (t,).
    same, enrolled, probes, enrolled_speakers, probe_speakers : np.ndarray, shape (t,)
        As in `ScoredTrials`.
    """

    similarities: Floats
    normalised: Floats
    stretches: Floats
    circumstances: Circumstances
    same: Flags
    enrolled: Indices
    probes: Indices
    enrolled_speakers: Indices
    probe_speakers: Indices


@dataclass(frozen=True, eq=False)
class Voices:
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
    def of(cls, trials: Trials, heard: Mapping[Job, Heard], *, enrolling: bool) -> Voices:
        """Make the voiceprints out of what was heard."""
        made = [_voiceprint(who, heard, enrolling=enrolling) for who in trials.enrolled]
        speakers = sorted(
            {who.speaker for who in trials.enrolled} | {one.speaker for one in trials.probes}
        )
        number = {speaker: place for place, speaker in enumerate(speakers)}
        return cls(
            vectors=np.stack([vector for vector, _ in made]),
            speech_s=np.array([speech_s for _, speech_s in made]),
            speakers=tuple(speakers),
            enrolled_speakers=np.array([number[who.speaker] for who in trials.enrolled], np.int32),
            probe_speakers=np.array([number[one.speaker] for one in trials.probes], np.int32),
        )

    def mean_of_speakers(self, probes: Sequence[Heard]) -> Vector:
        """Return the mean voice of each speaker, shape (speakers, 256), of their probes."""
        return _means(self.probe_speakers, probes, len(self.speakers))


def voices_of_speakers(recordings: Sequence[Recording], heard: Sequence[Heard]) -> Vector:
    """Return the mean voice of each speaker of whom something could be judged.

    Parameters
    ----------
    recordings : sequence of Recording
    heard : sequence of Heard
        Of each.

    Returns
    -------
    np.ndarray, shape (speakers, 256), float32, unit length
    """
    _, numbers = np.unique([one.speaker for one in recordings], return_inverse=True)
    means = _means(numbers, heard, int(numbers.max(initial=-1)) + 1)
    voiced: Vector = means[np.isfinite(means).all(axis=1)]
    return voiced


def _means(speakers: npt.NDArray[Any], heard: Sequence[Heard], count: int) -> Vector:
    """Return the mean voice of each speaker; not-a-number where there is none."""
    total = np.zeros((count, VECTOR_SIZE), np.float32)
    for speaker, one in zip(speakers, heard, strict=True):
        if one.embedding is not None:
            total[speaker] += one.embedding.vector
    return _unit(total)


def compare(
    trials: Trials, voices: Voices, probes: Sequence[Heard], normalisation: Normalisation
) -> Comparisons:
    """Compare every pair of which enrolment and probe could be judged.

    Parameters
    ----------
    trials : Trials
    voices : Voices
    probes : sequence of Heard
        In the order of `trials.probes`.
    normalisation : Normalisation
    """
    pairs, same = _comparable(trials, voices, probes)
    blocks = [
        _compare_block(pairs[block], voices, probes, normalisation)
        for block in _blocks(pairs[:, 1])
    ]
    columns = [np.concatenate(column) for column in zip(*blocks, strict=True)]
    similarities, normalised, stretches = columns or [np.zeros(0)] * 3
    qualities = [one.quality for one in probes]
    speech_s = np.array([quality.speech_s if quality else np.nan for quality in qualities])
    snr_db = np.array([quality.snr_db if quality else np.nan for quality in qualities])
    return Comparisons(
        similarities=similarities,
        normalised=normalised,
        stretches=stretches,
        circumstances=Circumstances(
            speech_s=speech_s[pairs[:, 1]],
            snr_db=snr_db[pairs[:, 1]],
            enrolled_speech_s=voices.speech_s[pairs[:, 0]],
        ),
        same=same,
        enrolled=pairs[:, 0],
        probes=pairs[:, 1],
        enrolled_speakers=voices.enrolled_speakers[pairs[:, 0]],
        probe_speakers=voices.probe_speakers[pairs[:, 1]],
    )


def score(compared: Comparisons, judge: Judge) -> ScoredTrials:
    """Return the scores that a login would have, and what it would decide of the voice."""
    scores = judge.scores(compared.similarities, compared.normalised, compared.circumstances)
    return ScoredTrials(
        scores=scores,
        similarities=compared.similarities,
        accepted=judge.accepts(scores, compared.stretches),
        same=compared.same,
        enrolled=compared.enrolled,
        probes=compared.probes,
        enrolled_speakers=compared.enrolled_speakers,
        probe_speakers=compared.probe_speakers,
    )


def _voiceprint(
    who: Enrolled, heard: Mapping[Job, Heard], *, enrolling: bool
) -> tuple[Vector, float]:
    if who.vector is not None:
        return who.vector, who.speech_s
    found = [heard[Job(one, enrolling=enrolling)] for one in who.recordings]
    used = [one for one in found if one.embedding is not None]
    if not used:
        return np.full(VECTOR_SIZE, np.nan, np.float32), 0.0
    total = sum(_weighed(one.embedding) for one in used if one.embedding)
    speech_s = sum(one.quality.speech_s for one in used if one.quality)
    return _unit(np.asarray(total)), speech_s


def _weighed(embedding: Embedding) -> Vector:
    """Return a voice as an enrolment counts it, `EnrolledUtterance.partial_sum`."""
    length: np.float32 = np.linalg.norm(embedding.partials.sum(axis=0))
    return embedding.vector * length


def _comparable(trials: Trials, voices: Voices, probes: Sequence[Heard]) -> tuple[Indices, Flags]:
    """Return the pairs of which both sides have a voice, ordered by probe."""
    there = np.array([one.embedding is not None for one in probes], bool)
    enrolled = np.asarray(np.isfinite(voices.vectors).all(axis=1))
    kept = np.flatnonzero(enrolled[trials.pairs[:, 0]] & there[trials.pairs[:, 1]])
    kept = kept[np.argsort(trials.pairs[kept, 1], kind="stable")]
    return trials.pairs[kept], trials.same[kept]


def _blocks(probes: Indices) -> list[slice]:
    """Return slices of the trials that hold `BLOCK` probes each, with all trials of each."""
    starts = np.flatnonzero(np.diff(probes, prepend=-1))[::BLOCK]
    return [slice(start, end) for start, end in pairwise([*starts, len(probes)])]


def _compare_block(
    pairs: Indices, voices: Voices, probes: Sequence[Heard], normalisation: Normalisation
) -> tuple[Floats, Floats, Floats]:
    rows, row = np.unique(pairs[:, 0], return_inverse=True)
    columns, column = np.unique(pairs[:, 1], return_inverse=True)
    embeddings = [embedding for one in columns if (embedding := probes[one].embedding) is not None]
    vectors = voices.vectors[rows]
    heard = np.stack([one.vector for one in embeddings])
    # How alike the least similar stretch of each probe is to each voiceprint.
    stretches = np.stack([(vectors @ one.partials.T).min(axis=1) for one in embeddings], axis=1)
    return (
        (vectors @ heard.T)[row, column].astype(np.float64),
        normalisation.matrix(vectors, heard)[row, column].astype(np.float64),
        stretches[row, column].astype(np.float64),
    )


def _unit(vectors: Vector) -> Vector:
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Vector = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
