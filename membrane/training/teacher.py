"""The teacher: Resemblyzer's vectors of clean speech. The network learns to find them in noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from membrane.evaluation.keeping import Kept, Progress, results_of, source_hash
from membrane.evaluation.voices import cache_folder
from membrane.models.registry import find, path_of
from membrane.training.augmentation import at_speed
from membrane.training.material import HalfSamples, Speaker
from membrane.voice.encoder import Vector
from membrane.voice.encoders.resemblyzer import DVectorEncoder, partials_of
from membrane.voice.frontends.trimming import raise_volume

_encoder = cache(DVectorEncoder)
"""Returns the teacher of this process."""

LEAST_LENGTH = 1e-6
"""What the length of a vector is at least taken for, so that no voice is zero, not not-a-number."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What the teacher hears in the material.

    Parameters
    ----------
    utterances : tuple of np.ndarray, shape (u, 256), float32, unit length
        A matrix for each speaker, as `Batch.speakers` counts them, with a row for each utterance;
        zero where the teacher finds no voice.
    speakers : np.ndarray, shape (s, 256), float32, unit length
        The mean of each.
    """

    utterances: tuple[Vector, ...]
    speakers: Vector

    def projected(self, matrix: np.ndarray, offset: np.ndarray) -> Targets:
        """Return the targets for a network that projects its vectors.

        Parameters
        ----------
        matrix : np.ndarray, shape (256, 256)
            The projection.
        offset : np.ndarray, shape (256,)
            What is added after it.
        """

        def moved(vectors: Vector) -> Vector:
            found = np.linalg.norm(vectors, axis=1, keepdims=True) > 0
            there = (vectors @ matrix.T + offset) * found
            length = np.linalg.norm(there, axis=1, keepdims=True)
            return np.asarray(there / np.where(found, length, 1), np.float32)

        return Targets(tuple(map(moved, self.utterances)), moved(self.speakers))


def targets_of(
    voices: Sequence[Speaker],
    *,
    speeds: Sequence[float] = (1.0,),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Targets:
    """Return the teacher's vectors of all utterances, computed in parallel and cached.

    Parameters
    ----------
    speeds : sequence of float
        Speeds to play them at. Each speed makes new speakers, numbered after the previous ones.
    workers : int, optional
        Processes; by default one for each core.
    progress : callable, optional
        Told how many speakers are ready, and of how many.

    Raises
    ------
    EngineUnavailable
        If a worker died.
    ModelUnavailable
        If the teacher's weights are missing or not the registered ones.
    """
    path_of(DVectorEncoder.name)  # report a missing file here, not in every worker
    versions = [(voice, speed) for speed in speeds for voice in voices]
    utterances = results_of(
        _taught,
        [([one.speech for one in voice.utterances], speed) for voice, speed in versions],
        [_key(*version) for version in versions],
        kept=Kept(
            cache_folder().with_name("targets"),
            "the teacher's vectors",
            ".targets",
            pack=np.ndarray.tobytes,
            unpack=lambda content: np.frombuffer(content, np.float32).reshape(
                -1, DVectorEncoder.dimension
            ),
        ),
        progress=progress,
        workers=workers,
    )
    speakers = np.stack([_unit(matrix.sum(axis=0)) for matrix in utterances])
    return Targets(tuple(utterances), speakers)


def _key(voice: Speaker, speed: float) -> str:
    """Return a hash of all that decides the vectors of a speaker's utterances."""
    way = f"{source_hash(__name__)} {find(DVectorEncoder.name).sha256} {speed}"
    sounds = (hashlib.sha256(one.speech.tobytes()).digest() for one in voice.utterances)
    return hashlib.sha256(b"".join([way.encode(), *sounds])).hexdigest()


def _taught(key: str, utterances: Sequence[HalfSamples], speed: float) -> tuple[str, Vector]:
    """Return the vectors of the trimmed utterances of a speaker."""
    vectors = []
    for speech in utterances:
        whole = speech.astype(np.float32)
        heard = whole if speed == 1.0 else at_speed(whole, speed)
        partials = _encoder().run(partials_of(raise_volume(heard)))
        vectors.append(_unit(np.nan_to_num(partials).mean(axis=0)))
    return key, np.stack(vectors)


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), LEAST_LENGTH))
