"""The record of an enrolled person: their voiceprint and the utterances that it is made of."""

from __future__ import annotations

import math
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError
from membrane.store.names import canonical_name
from membrane.system.checks import require

Vector = npt.NDArray[np.float32]

VECTOR_SIZE = 256
"""Numbers in a d-vector."""

MOST_COUNTED = 1_000_000
"""Partials or weight of one utterance at most: five minutes hold some hundred partials, and a
larger number, which only a damaged file has, would leave no sum that is finite."""

LENGTH_TOLERANCE = 1e-3
"""How far from 1 the length of a stored vector may be."""


@dataclass(frozen=True)
class RecordedQuality:
    """How well an utterance was recorded, as the quality gate saw it.

    Parameters
    ----------
    speech_s : float, seconds
        Net speech.
    snr_db : float, dB
        Speech over room.
    level_dbfs : float, dB relative to full scale
    clipped : float in [0, 1]
        Share of the speech samples at full scale.

    Raises
    ------
    ValueError
        If a number is not finite: JSON could not say it.
    """

    speech_s: float
    snr_db: float
    level_dbfs: float
    clipped: float

    def __post_init__(self) -> None:
        require(all(map(math.isfinite, astuple(self))), f"a quality that is not finite: {self}")


@dataclass(frozen=True, eq=False)
class EnrolledUtterance:
    """One utterance of an enrolled person.

    Parameters
    ----------
    vector : np.ndarray, shape (256,), float32, of length 1
        The voice of the utterance.
    norm : float in (0, 1]
        Length of the mean of the utterance's partial d-vectors: how alike they are.
    partials : int
        How many partials it is the mean of.
    recorded_at : str
        ISO 8601, UTC.
    quality : RecordedQuality
    weight : float
        How much it counts, beside its partials; 0 leaves it out of the voiceprint.
    source_rate : int, Hz
        The rate it was captured or stored at.
    device : str
        Name of the microphone; empty for a file.
    source : str
        File name, or "microphone".
    fingerprint : bytes
        Acoustic fingerprint of the recording, to know it again; empty where there is none.
    adapted : bool
        Whether a login added it (`membrane.login.adapt`).

    Raises
    ------
    ValueError
        If a number is not what is said above.
    """

    vector: Vector
    norm: float
    partials: int
    recorded_at: str
    quality: RecordedQuality
    weight: float = 1.0
    source_rate: int = 16_000
    device: str = ""
    source: str = ""
    fingerprint: bytes = b""
    adapted: bool = False

    def __post_init__(self) -> None:
        check_vector(self.vector)
        is_mean = 0 < self.norm <= 1 + LENGTH_TOLERANCE
        require(is_mean, f"the mean of partials of length 1 has the length {self.norm}")
        require(1 <= self.partials <= MOST_COUNTED, f"an utterance of {self.partials} partials")
        require(0 <= self.weight <= MOST_COUNTED, f"an utterance of weight {self.weight}")

    @property
    def partial_sum(self) -> npt.NDArray[np.float64]:
        """Return what the partials add to a voiceprint, shape (256,): as long as their sum."""
        return self.vector.astype(np.float64) * (self.norm * self.partials)

    def facts(self) -> dict[str, object]:
        """Return all but the vector, as JSON values."""
        return {
            "recorded_at": self.recorded_at,
            "source": self.source,
            "source_rate": self.source_rate,
            "device": self.device,
            "partials": self.partials,
            "weight": self.weight,
            "norm": self.norm,
            "adapted": self.adapted,
            "quality": asdict(self.quality),
        }

    def as_json(self) -> dict[str, object]:
        """Return all that is stored of the utterance, as JSON values."""
        return {
            **self.facts(),
            "vector": self.vector.tolist(),
            "fingerprint": b64encode(self.fingerprint).decode(),
        }


@dataclass(frozen=True, eq=False)
class Voiceprint:
    """What is stored of an enrolled person.

    Made by `Voiceprint.of`, which computes the vector.

    Parameters
    ----------
    name : str
        Canonical (`membrane.store.names`).
    encoder : str
        Name of the encoder: vectors of different encoders are never compared.
    vector : np.ndarray, shape (256,), float32, of length 1
        The weighted mean of the partials of all utterances, normalised.
    utterances : tuple of EnrolledUtterance
    created_at, updated_at : str
        ISO 8601, UTC.
    passphrase : str
        The person's own phrase; empty where each login asks for a fresh one.
    consent_at : str
        When the person agreed to be enrolled, ISO 8601, UTC; empty where nobody asked.
    keep_until : str
        ISO date after which the record should be gone; empty for no such date.
    id : str
        Random, 32 hexadecimal digits: who is meant in the decision log, where no name stands, so
        that nothing there is the person's any more once they are deleted.
    epoch : str
        Which projection the vectors were turned by; empty for none. Vectors of two epochs are
        never compared.

    Raises
    ------
    ValueError
        If the vector is not finite or not of length 1, or there is no utterance.
    InvalidName
        If the name is not canonical.
    """

    name: str
    encoder: str
    vector: Vector
    utterances: tuple[EnrolledUtterance, ...]
    created_at: str
    updated_at: str
    passphrase: str = ""
    consent_at: str = ""
    keep_until: str = ""
    id: str = ""
    epoch: str = ""

    def __post_init__(self) -> None:
        check_vector(self.vector)
        require(self.utterances, "a voiceprint of no utterances")
        is_canonical = canonical_name(self.name) == self.name
        require(is_canonical, f"the name {self.name!r} is not in its canonical form")

    @classmethod
    def of(cls, name: str, encoder: str, utterances: Sequence[EnrolledUtterance]) -> Voiceprint:
        """Return the voiceprint of a person who is enrolled now.

        Raises
        ------
        InvalidName
            If nobody may have this name.
        UsageError
            If no utterance counts.
        """
        now = utc_now()
        return cls(
            name=canonical_name(name),
            encoder=encoder,
            vector=mean_vector(utterances),
            utterances=tuple(utterances),
            created_at=now,
            updated_at=now,
            id=secrets.token_hex(16),
        )

    def with_utterance(self, utterance: EnrolledUtterance) -> Voiceprint:
        """Return the voiceprint with one more utterance."""
        return self._made_of((*self.utterances, utterance))

    def reencoded(self, encoder: str, utterances: Sequence[EnrolledUtterance]) -> Voiceprint:
        """Return the person's voiceprint by another encoder.

        Raises
        ------
        UsageError
            If no utterance counts.
        """
        return replace(self, encoder=encoder)._made_of(tuple(utterances))

    def as_json(self) -> dict[str, object]:
        """Return all that is stored of the person, as JSON values."""
        return {
            "name": self.name,
            "encoder": self.encoder,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "consent_at": self.consent_at,
            "keep_until": self.keep_until,
            "id": self.id,
            "epoch": self.epoch,
            "passphrase": self.passphrase,
            "vector": self.vector.tolist(),
            "utterances": [utterance.as_json() for utterance in self.utterances],
        }

    def _made_of(self, utterances: tuple[EnrolledUtterance, ...]) -> Voiceprint:
        return replace(
            self, vector=mean_vector(utterances), utterances=utterances, updated_at=utc_now()
        )


def mean_vector(utterances: Sequence[EnrolledUtterance]) -> Vector:
    """Return the normalised weighted mean of all partials, shape (256,), float32.

    With weights of 1 it is what Resemblyzer makes of the partials of all utterances together.

    Raises
    ------
    UsageError
        If no utterance counts.
    """
    total = sum((one.weight * one.partial_sum for one in utterances), np.zeros(VECTOR_SIZE))
    length = float(np.linalg.norm(total))
    if length == 0:
        raise UsageError("no utterance would be left that counts: delete the person instead")
    return (total / length).astype(np.float32)


def check_vector(vector: Vector) -> None:
    """Raise `ValueError` unless `vector` is 256 finite float32 numbers and of length 1."""
    is_vector = vector.shape == (VECTOR_SIZE,) and vector.dtype == np.float32
    require(is_vector, f"a vector of shape {vector.shape} and type {vector.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(vector))
    require(abs(length - 1) <= LENGTH_TOLERANCE, f"a vector of length {length}")


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
