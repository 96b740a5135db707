"""The projection: a secret rotation of voices. Voices of two epochs never match.

A stolen voice cannot be changed like a password. The space in which voiceprints are kept and
compared can: it is a random rotation, drawn from the key of the database and the number of an
*epoch*. The rotation keeps every angle, so decisions stay the same. A vector of another key or
epoch points anywhere (renewability and unlinkability of ISO/IEC 24745). All people of an epoch
share one rotation, so identification is still one product with the gallery.

A rotation is not a one-way function. The key undoes it, and anyone who knows the raw and the
turned voices of 256 people can solve for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from membrane.voice.encoder import Embedding, Encoder, Vector
from membrane.voice.normalisation import Cohort

DIMENSION = 256
"""Length of the d-vectors of every encoder."""

LABEL = b"membrane projection 1"
"""Prefix of the key, so that other values drawn from the key differ."""

UNIFORM_BITS = 53
"""Bits of a double."""

BLOCK = 8192
"""Rows to turn at once: 16 MB in double precision instead of a second gallery."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """A rotation, or reflection, of the space of voices.

    Parameters
    ----------
    matrix : np.ndarray, shape (256, 256), float64, orthonormal
        The rotation or reflection.
    epoch : str
        Its name.
    """

    matrix: Matrix
    epoch: str

    @classmethod
    def of(cls, key: bytes, epoch: str) -> Projection:
        """Return the projection of a key and an epoch, the same on every machine.

        Normal numbers, by Box and Muller (1958) from the bytes of SHAKE-256 (FIPS 202), because
        those of numpy's generators may change with its version (NEP 19); then the Q of their QR
        decomposition with a positive diagonal of R, which makes every rotation equally likely
        (Mezzadri, "How to generate random matrices from the classical compact groups", Notices of
        the AMS 54, 2007, section 5). Machines differ by some 1e-15.

        Parameters
        ----------
        key : bytes
            `Seal.mac_key("projection")`.
        epoch : str
            Name of the projection.
        """
        return cls(_orthonormal(_normals(key, epoch)), epoch)

    def turn(self, vectors: Vector) -> Vector:
        """Return voices in this space.

        Parameters
        ----------
        vectors : np.ndarray, shape (256,) or (n, 256), float32
            Voices as the encoder makes them.

        Returns
        -------
        np.ndarray of the same shape, float32, lengths kept within 1e-6
        """
        return _multiplied(vectors, self.matrix.T)

    def back(self, vectors: Vector) -> Vector:
        """Return voices of this space as the encoder made them; shapes as in `turn`."""
        return _multiplied(vectors, self.matrix)

    def to(self, other: Projection) -> Projection:
        """Return the projection from this space to another one, in a single step."""
        return Projection(other.matrix @ self.matrix.T, other.epoch)


class Projected:
    """An encoder whose voices and partials are turned."""

    def __init__(self, encoder: Encoder, projection: Projection) -> None:
        self.encoder = encoder
        self.projection = projection
        # As in `Encoder`, copied from the wrapped encoder.
        self.name, self.dimension = encoder.name, encoder.dimension
        self.denoise_below_db = encoder.denoise_below_db
        self.hears_recorded = encoder.hears_recorded

    def embed(self, sound: Any) -> Embedding:
        """As in `Encoder`."""
        heard = self.encoder.embed(sound)
        turned = self.projection.turn
        return replace(heard, vector=turned(heard.vector), partials=turned(heard.partials))


def projected_cohort(cohort: Cohort, projection: Projection) -> Cohort:
    """Return a cohort in the space of a projection."""
    return Cohort(projection.turn(cohort.vectors), projection.turn(cohort.mean), cohort.provenance)


def _normals(key: bytes, epoch: str) -> Matrix:
    """Return independent standard normal numbers, shape (256, 256)."""
    count = DIMENSION * DIMENSION
    stream = hashlib.shake_256(LABEL + hashlib.sha256(key).digest() + epoch.encode())
    bits = np.frombuffer(stream.digest(8 * count), "<u8") >> np.uint64(64 - UNIFORM_BITS)
    # Never 0: it has no logarithm.
    uniform = (bits.astype(np.float64) + 0.5) / 2.0**UNIFORM_BITS
    radius, angle = np.sqrt(-2 * np.log(uniform[::2])), 2 * np.pi * uniform[1::2]
    normals = [radius * np.cos(angle), radius * np.sin(angle)]
    return np.reshape(normals, (DIMENSION, DIMENSION))


def _orthonormal(columns: Matrix) -> Matrix:
    """Return the columns made orthonormal by Gram-Schmidt, each of them twice.

    Twice is enough (Giraud, Langou and Rozložník, "The loss of orthogonality in the Gram-Schmidt
    orthogonalization process", Computers and Mathematics with Applications 50, 2005). LAPACK does
    it in half the time, but its threads wait for each other hundreds of times. On a busy machine
    that took up to four seconds.
    """
    found = np.zeros_like(columns.T)
    for place, column in enumerate(columns.T):
        before, left = found[:place], column
        for _ in range(2):
            left = left - np.einsum("i,ij->j", np.einsum("ij,j->i", before, left), before)
        found[place] = left / np.sqrt(left @ left)
    return found.T


def _multiplied(vectors: Vector, matrix: Matrix) -> Vector:
    rows = np.atleast_2d(vectors)
    turned = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        turned[block] = rows[block].astype(np.float64) @ matrix
    return turned.reshape(vectors.shape)
