"""Normalised similarity: how alike two voices are beyond what all voices share.

Conventions
-----------
A *cohort* is a set of voices of strangers who are never enrolled or tested. What all of them
share (the encoder's mean, the channel) says nothing about who is speaking:

``none``
    The raw cosine.
``centre``
    The cosine after the cohort's mean was taken from both vectors.
``as-norm``
    The centred cosine, in standard deviations above what the two voices have with those of the
    cohort that are most like them. No longer within [-1, 1].
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from membrane.errors import (
    ModelUnavailable,
    OutputUnwritable,
    UsageError,
    in_one_line,
)
from membrane.models import registry as models
from membrane.system.atomic import write_whole
from membrane.voice.encoder import Vector
from membrane.voice.scoring import similarities as raw_similarities

Wide = npt.NDArray[np.float64]

NORMALISATIONS = ("none", "centre", "as-norm")

CLOSEST = 50
"""Number of voices of the cohort that AS-norm uses."""

BLOCK = 1024
"""Rows to multiply at once: a megabyte, so that the second product finds them in the
processor's cache (half the time of reading a gallery twice)."""

LEAST_LENGTH = 1e-3
"""A vector closer to the mean than this has no direction from it, so it matches no voice."""

LEAST_SPREAD = 1e-6
"""Least standard deviation to divide by."""

LONGEST_REASON = 200
"""Most characters of a damaged file that a message repeats."""

DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error, struct.error),
    *(RuntimeError, SyntaxError, TokenError, OverflowError, MemoryError),
)
"""Errors from reading a damaged archive of arrays."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Voices of strangers.

    Parameters
    ----------
    vectors : np.ndarray, shape (n, dimension), float32, rows of unit length
        One voice of each stranger.
    mean : np.ndarray, shape (dimension,), float32
        Mean of the voices. It is shorter than unit length.
    provenance : mapping
        Where they come from.
    """

    vectors: Vector
    mean: Vector
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, vectors: Vector, provenance: Mapping[str, Any] | None = None) -> Cohort:
        """Return the cohort of some voices, each brought to unit length.

        Raises
        ------
        UsageError
            If there are fewer than two voices, or one is not a voice.
        """
        rows = np.asarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or len(rows) < 2:
            raise UsageError("a cohort needs the voices of two strangers or more: give more")
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(unit).all():
            raise UsageError("a voice of the cohort is not a number: leave it out")
        return cls(unit, unit.mean(axis=0, dtype=np.float64).astype(np.float32), provenance or {})

    @cached_property
    def centred(self) -> Vector:
        """The voices without their mean, shape (n, dimension), rows of unit length."""
        return _centred(self.vectors, self.mean)


@cache
def load_cohort(encoder: str) -> Cohort:
    """Return the shipped cohort of an encoder.

    Raises
    ------
    ModelUnavailable
        If the cohort is missing or cannot be read.
    """
    return read_cohort(models.shipped_folder() / f"{encoder}.cohort.npz")


def read_cohort(path: Path) -> Cohort:
    """Return the cohort of a file.

    Raises
    ------
    ModelUnavailable
        If it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Cohort.of(arrays["vectors"], json.loads(str(arrays["provenance"])))
    except (*DAMAGED, UsageError) as error:
        raise ModelUnavailable(
            f"the cohort {path} cannot be read ({in_one_line(error)[:LONGEST_REASON]}): calibrate "
            "again, or reinstall Membrane"
        ) from None


def save_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort, its numbers in half precision: similarities keep three decimal places.

    Raises
    ------
    OutputUnwritable
        If that is not possible.
    """
    provenance = np.array(json.dumps(dict(cohort.provenance)))
    archive = BytesIO()
    np.savez(archive, vectors=cohort.vectors.astype(np.float16), provenance=provenance)
    try:
        write_whole(path, archive.getvalue())
    except OSError as error:
        raise OutputUnwritable(
            f"the cohort {path} cannot be written ({error.strerror}): choose another place"
        ) from None


class Normalisation(Protocol):
    """Vectors to similarities."""

    @property
    def name(self) -> str:
        """One of `NORMALISATIONS`."""

    def similarities(self, gallery: Vector, probe: Vector) -> Vector:
        """Return how alike each voice of a gallery is to a probe.

        Parameters
        ----------
        gallery : np.ndarray, shape (p, dimension), float32, rows of unit length
            One voice in each row.
        probe : np.ndarray, shape (dimension,), float32, unit length
            The voice to compare them with.

        Returns
        -------
        np.ndarray, shape (p,), float32

        Raises
        ------
        EncoderMismatch
            If the vectors have different lengths.
        PoorQuality
            If the probe holds numbers that are not finite.
        StoreDamaged
            If the gallery does.
        """

    def matrix(self, enrolled: Vector, probes: Vector) -> Vector:
        """Return how alike every enrolled voice is to every probe.

        Parameters
        ----------
        enrolled : np.ndarray, shape (m, dimension), float32, rows of unit length
            One voice in each row.
        probes : np.ndarray, shape (n, dimension), float32, rows of unit length
            One voice in each row.

        Returns
        -------
        np.ndarray, shape (m, n), float32

        Raises
        ------
        EncoderMismatch
            If the vectors have different lengths.
        """


def normalisation_named(name: str, encoder: str, *, cohort: Cohort | None = None) -> Normalisation:
    """Return the normalisation of that name.

    Parameters
    ----------
    name : {"none", "centre", "as-norm"}
        Kind of normalisation.
    encoder : str
        Name of the encoder that makes the vectors.
    cohort : Cohort, optional
        By default the shipped one, which is read if the normalisation needs one.

    Raises
    ------
    UsageError
        If no normalisation has that name.
    ModelUnavailable
        If the shipped cohort cannot be read.
    """
    if name not in NORMALISATIONS:
        raise UsageError(
            f"no normalisation is called {name!r}: choose from {', '.join(NORMALISATIONS)}"
        )
    if name == "none":
        return Raw()
    cohort = load_cohort(encoder) if cohort is None else cohort
    return Centred(cohort) if name == "centre" else AdaptiveSymmetric(cohort)


@dataclass(frozen=True)
class Raw:
    """The cosine as it is."""

    name = "none"

    def similarities(self, gallery: Vector, probe: Vector) -> Vector:
        """As in `Normalisation`; a memory-mapped gallery is read once and never copied."""
        return raw_similarities(gallery, probe)

    def matrix(self, enrolled: Vector, probes: Vector) -> Vector:
        """As in `Normalisation`."""
        return np.stack([self.similarities(enrolled, probe) for probe in probes], axis=1)


@dataclass(frozen=True, eq=False)
class Centred:
    """The cosine after the mean of strangers was taken from both vectors."""

    cohort: Cohort
    name = "centre"

    def similarities(self, gallery: Vector, probe: Vector) -> Vector:
        """As in `Normalisation`; a memory-mapped gallery is read once and never copied.

        With ``m`` the mean and unit vectors ``a`` and ``b``, ``(a - m)·(b - m)`` is
        ``a·b - a·m - b·m + m·m``, and ``|a - m|²`` is ``1 - 2 a·m + m·m``: two products with
        each row are all that is needed.
        """
        for one in (probe, self.cohort.mean):  # the gallery itself comes last, only if needed
            raw_similarities(gallery[:0], one)
        alike = np.empty(len(gallery), probe.dtype)
        for start in range(0, len(gallery), BLOCK):
            block = slice(start, start + BLOCK)
            alike[block] = self._block(np.asarray(gallery[block]), probe)
        if not np.isfinite(alike).all():
            for one in (probe, self.cohort.mean):
                raw_similarities(gallery, one)  # names the row
        return alike

    def _block(self, rows: Vector, probe: Vector) -> Wide:
        """Return the centred cosines of some rows; not-a-number for a damaged one."""
        mean = self.cohort.mean.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            to_probe = (rows @ probe).astype(np.float64)
            to_mean = (rows @ self.cohort.mean).astype(np.float64)
            dots = to_probe - to_mean - probe @ mean + mean @ mean
        squared = 1 - 2 * to_mean + mean @ mean
        probe_squared = 1 - 2 * (probe @ mean) + mean @ mean
        lengths = np.sqrt(np.maximum(squared, 0) * max(probe_squared, 0))
        sound = np.isfinite(dots)
        directed = sound & (probe_squared > LEAST_LENGTH**2) & (squared > LEAST_LENGTH**2)
        alike = np.where(sound, 0.0, np.nan)
        return np.asarray(np.divide(dots, lengths, out=alike, where=directed)).clip(-1, 1)

    def matrix(self, enrolled: Vector, probes: Vector) -> Vector:
        """As in `Normalisation`."""
        return np.stack([self.similarities(enrolled, probe) for probe in probes], axis=1)


@dataclass(frozen=True, eq=False)
class AdaptiveSymmetric(Centred):
    """Adaptive symmetric score normalisation (AS-norm) of the centred cosine.

    With the mean ``μ`` and standard deviation ``σ`` of a voice's similarities to the `CLOSEST`
    voices of the cohort, a similarity ``s`` of enrolled ``e`` and probe ``p`` becomes
    ``((s - μe) / σe + (s - μp) / σp) / 2``.

    References
    ----------
    Karam, Campbell and Dehak, "Towards reduced false-alarms using cohorts", ICASSP 2011; Matějka
    et al., "Analysis of score normalization in multilingual speaker recognition", Interspeech
    2017 (AS-norm1).

    Parameters
    ----------
    cohort : Cohort
        Where it has fewer voices than `CLOSEST`, all of them are used.
    """

    name = "as-norm"

    def similarities(self, gallery: Vector, probe: Vector) -> Vector:
        """As in `Normalisation`.

        Every row is compared with the whole cohort, so this is for one voiceprint or some
        hundreds, as in verifying and in evaluation; a gallery of a million would take minutes.
        """
        return self.matrix(gallery, probe[np.newaxis])[:, 0]

    def matrix(self, enrolled: Vector, probes: Vector) -> Vector:
        """As in `Normalisation`."""
        alike = Centred(self.cohort).matrix(enrolled, probes)
        mean_e, spread_e = self._closest(enrolled)
        mean_p, spread_p = self._closest(probes)
        by_enrolled = (alike - mean_e[:, np.newaxis]) / spread_e[:, np.newaxis]
        by_probe = (alike - mean_p) / spread_p
        normalised: Vector = ((by_enrolled + by_probe) / 2).astype(probes.dtype)
        return normalised

    def _closest(self, voices: Vector) -> tuple[Wide, Wide]:
        """Return mean and standard deviation of each voice's closest similarities."""
        alike = _centred(voices, self.cohort.mean) @ self.cohort.centred.T
        count = min(CLOSEST, alike.shape[1])
        closest = np.partition(alike, -count, axis=1)[:, -count:].astype(np.float64)
        return closest.mean(axis=1), np.maximum(closest.std(axis=1), LEAST_SPREAD)


def _centred(vectors: Vector, mean: Vector) -> Vector:
    """Return vectors without the mean, of unit length; zeros where no direction is left."""
    moved = vectors - mean
    lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
    unit: Vector = np.divide(moved, lengths, out=np.zeros_like(moved), where=lengths > LEAST_LENGTH)
    return unit
