"""Everybody who is enrolled, column by column, as the database file holds them.

A million records as dictionaries take seconds to load; a million rows of a few memory-mapped
columns take a millisecond, and only the rows that are looked at are ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from membrane.errors import StoreError
from membrane.store.names import canonical_name, name_key
from membrane.store.voiceprint import (
    VECTOR_SIZE,
    EnrolledUtterance,
    RecordedQuality,
    Voiceprint,
)
from membrane.system.checks import NewerVersion, require

FORMAT = "membrane voiceprints"
VERSION = 2
OLDEST = 1
"""Version that knows neither fingerprints nor projections: it is read, and written as the later."""

LONGEST_CONTENT = 65_536
"""Bytes of one text at most. The longest that is written is a path in the facts of an utterance;
JSON of megabytes would take seconds and a gigabyte to read."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts, or of other bytes.

    Parameters
    ----------
    characters : np.ndarray, shape (bytes,), uint8
        All of them one after another; texts as UTF-8.
    starts : np.ndarray, shape (rows + 1,), int64
        Where each begins; the last one is where all end.
    """

    characters: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Return the column of these texts."""
        return cls.of_bytes(text.encode() for text in texts)

    @classmethod
    def of_bytes(cls, contents: Iterable[bytes]) -> Texts:
        """Return the column of these bytes."""
        parts = list(contents)
        characters = np.frombuffer(b"".join(parts), np.uint8)
        return cls(characters, starts_of([len(part) for part in parts]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> str:
        """Return one text, or raise `ValueError` if there are none such bytes."""
        return self.content(row).decode()

    def content(self, row: int) -> bytes:
        """Return the bytes of one row, or raise `ValueError` if there are none such."""
        start, end = span(self.starts, row)
        require(end - start <= LONGEST_CONTENT, f"row {row} is too long")
        return self.characters[start:end].tobytes()

    def not_empty(self) -> npt.NDArray[np.int64]:
        """Return the rows whose text is not empty."""
        return np.flatnonzero(self.starts[1:] > self.starts[:-1])

    def without(self, first: int, end: int) -> Texts:
        """Return the column without the rows from `first` to before `end`."""
        cut = slice(self.starts[first], self.starts[end])
        return Texts(np.delete(self.characters, cut), starts_without(self.starts, first, end))

    def followed_by(self, other: Texts) -> Texts:
        """Return both columns as one."""
        return Texts(
            np.concatenate([self.characters, other.characters]),
            np.concatenate([self.starts, other.starts[1:] + self.starts[-1]]),
        )


@dataclass(frozen=True, eq=False)
class Columns:
    """Everybody who is enrolled.

    Parameters
    ----------
    vectors : np.ndarray, shape (people, 256), float32
        The gallery.
    encoders : tuple of str
        Names of the encoders.
    encoder_codes : np.ndarray, shape (people,), uint16
        Index into `encoders`.
    name_hashes : np.ndarray, shape (people,), uint64
        `name_hash` of each name: to find one without reading a million names.
    names, passphrases : Texts, one a person
    facts : Texts, one a person
        Dates and the person's number, as JSON.
    first_utterances : np.ndarray, shape (people + 1,), int64
        Row of each person's first utterance; the last one is the number of utterances.
    utterance_vectors : np.ndarray, shape (utterances, 256), float32
    utterance_facts : Texts, one an utterance
        What else is known of it, as JSON.
    fingerprints : Texts, one an utterance
        Acoustic fingerprints of the recordings, as bytes.
    epoch : str
        Which projection all vectors were turned by; empty for none.
    """

    vectors: npt.NDArray[np.float32]
    encoders: tuple[str, ...]
    encoder_codes: npt.NDArray[np.uint16]
    name_hashes: npt.NDArray[np.uint64]
    names: Texts
    passphrases: Texts
    facts: Texts
    first_utterances: npt.NDArray[np.int64]
    utterance_vectors: npt.NDArray[np.float32]
    utterance_facts: Texts
    fingerprints: Texts
    epoch: str = ""

    @classmethod
    def of(cls, voiceprints: Sequence[Voiceprint], *, epoch: str = "") -> Columns:
        """Return the columns of these people.

        Parameters
        ----------
        voiceprints : sequence of Voiceprint
            All of one epoch.
        epoch : str
            Of a database of nobody.
        """
        encoders = tuple(dict.fromkeys(person.encoder for person in voiceprints))
        utterances = list(chain.from_iterable(person.utterances for person in voiceprints))
        return cls(
            vectors=stacked([person.vector for person in voiceprints]),
            encoders=encoders,
            encoder_codes=np.array([encoders.index(p.encoder) for p in voiceprints], np.uint16),
            name_hashes=np.array([name_hash(person.name) for person in voiceprints], np.uint64),
            names=Texts.of(person.name for person in voiceprints),
            passphrases=Texts.of(person.passphrase for person in voiceprints),
            facts=Texts.of(
                _compact({fact: getattr(person, fact) for fact in FACTS}) for person in voiceprints
            ),
            first_utterances=starts_of([len(person.utterances) for person in voiceprints]),
            utterance_vectors=stacked([utterance.vector for utterance in utterances]),
            utterance_facts=Texts.of(_compact(utterance.facts()) for utterance in utterances),
            fingerprints=Texts.of_bytes(utterance.fingerprint for utterance in utterances),
            epoch=voiceprints[0].epoch if voiceprints else epoch,
        )

    def __len__(self) -> int:
        return len(self.vectors)

    def row_of(self, name: str) -> int | None:
        """Return the row of the person of that name, or None."""
        key = name_key(name)
        for row in np.flatnonzero(self.name_hashes == np.uint64(name_hash(name))).tolist():
            if name_key(self.names[row]) == key:
                return int(row)
        return None

    def voiceprint(self, row: int) -> Voiceprint:
        """Return one person's record, or raise one of `MALFORMED` if it is not sound."""
        first, end = span(self.first_utterances, row)
        facts = json.loads(self.facts[row])
        return Voiceprint(
            name=self.names[row],
            encoder=self.encoder(row),
            vector=self.vectors[row],
            utterances=tuple(self.utterance(number) for number in range(first, end)),
            created_at=_text(facts["created_at"]),
            updated_at=_text(facts["updated_at"]),
            passphrase=self.passphrases[row],
            consent_at=_text(facts["consent_at"]),
            keep_until=_text(facts.get("keep_until", "")),
            id=self.id(row),
            epoch=self.epoch,
        )

    def summary(self, row: int) -> dict[str, Any]:
        """Return what is known of one person without reading what belongs to one utterance."""
        first, end = span(self.first_utterances, row)
        facts = json.loads(self.facts[row])
        return {
            "name": canonical_name(self.names[row]),
            "encoder": self.encoder(row),
            "phrases": end - first,
            "passphrase": bool(self.passphrases[row]),
            "created_at": _text(facts["created_at"]),
            "updated_at": _text(facts["updated_at"]),
            "keep_until": _text(facts.get("keep_until", "")),
        }

    def id(self, row: int) -> str:
        """Return the number of one person in the decision log."""
        number = _text(json.loads(self.facts[row]).get("id", ""))
        # Somebody who was enrolled before people had random ones is known by the name.
        return number or f"{name_hash(self.names[row]):032x}"

    def encoder(self, row: int) -> str:
        """Return the name of the encoder of one voiceprint."""
        return self.encoders[int(self.encoder_codes[row])]

    def utterance(self, row: int) -> EnrolledUtterance:
        """Return one utterance, or raise one of `MALFORMED` if it is not sound."""
        facts = json.loads(self.utterance_facts[row])
        quality = facts["quality"]
        return EnrolledUtterance(
            vector=self.utterance_vectors[row],
            norm=float(facts["norm"]),
            partials=int(facts["partials"]),
            recorded_at=_text(facts["recorded_at"]),
            quality=RecordedQuality(**{name: float(quality[name]) for name in quality}),
            weight=float(facts["weight"]),
            source_rate=int(facts["source_rate"]),
            device=_text(facts["device"]),
            source=_text(facts["source"]),
            fingerprint=self.fingerprints.content(row),
            adapted=bool(facts.get("adapted", False)),
        )

    def without(self, row: int) -> Columns:
        """Return the columns of everybody else."""
        first, end = span(self.first_utterances, row)
        return Columns(
            vectors=np.delete(self.vectors, row, axis=0),
            encoders=self.encoders,
            encoder_codes=np.delete(self.encoder_codes, row),
            name_hashes=np.delete(self.name_hashes, row),
            names=self.names.without(row, row + 1),
            passphrases=self.passphrases.without(row, row + 1),
            facts=self.facts.without(row, row + 1),
            first_utterances=starts_without(self.first_utterances, row, row + 1),
            utterance_vectors=np.delete(self.utterance_vectors, slice(first, end), axis=0),
            utterance_facts=self.utterance_facts.without(first, end),
            fingerprints=self.fingerprints.without(first, end),
            epoch=self.epoch,
        )

    def turned(self, turn: Callable[[Matrix], Matrix], epoch: str) -> Columns:
        """Return the columns with all vectors turned into those of another epoch."""
        return replace(
            self,
            vectors=turn(self.vectors),
            utterance_vectors=turn(self.utterance_vectors),
            epoch=epoch,
        )

    def followed_by(self, other: Columns) -> Columns:
        """Return the columns of the people of both.

        Raises
        ------
        StoreError
            If they are of two epochs.
        """
        if self.epoch != other.epoch:
            # Vectors of two projections are never compared, so they never share a gallery.
            raise StoreError("the voiceprint database was protected anew meanwhile: try again")
        encoders = tuple(dict.fromkeys(self.encoders + other.encoders))
        other_codes = np.array([encoders.index(name) for name in other.encoders], np.uint16)
        return Columns(
            vectors=np.concatenate([self.vectors, other.vectors]),
            encoders=encoders,
            encoder_codes=np.concatenate([self.encoder_codes, other_codes[other.encoder_codes]]),
            name_hashes=np.concatenate([self.name_hashes, other.name_hashes]),
            names=self.names.followed_by(other.names),
            passphrases=self.passphrases.followed_by(other.passphrases),
            facts=self.facts.followed_by(other.facts),
            first_utterances=np.concatenate(
                [self.first_utterances, other.first_utterances[1:] + self.first_utterances[-1]]
            ),
            utterance_vectors=np.concatenate([self.utterance_vectors, other.utterance_vectors]),
            utterance_facts=self.utterance_facts.followed_by(other.utterance_facts),
            fingerprints=self.fingerprints.followed_by(other.fingerprints),
            epoch=self.epoch,
        )

    def as_mapping(self) -> dict[str, object]:
        """Return the columns as plain values and arrays: what the file holds."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "epoch": self.epoch,
            "encoders": list(self.encoders),
            "encoder_codes": self.encoder_codes,
            "name_hashes": self.name_hashes,
            "first_utterances": self.first_utterances,
            **{
                f"{name}_{part}": getattr(getattr(self, name), part)
                for name in TEXT_COLUMNS
                for part in ("starts", "characters")
            },
            "vectors": self.vectors,
            "utterance_vectors": self.utterance_vectors,
        }

    @classmethod
    def from_mapping(cls, mapping: object) -> Columns:
        """Return the columns that a file holds, their types and lengths checked.

        What is in the rows is checked when a row is read: a million rows must not be read to
        look at one.

        Raises
        ------
        Exception
            One of `MALFORMED`, and `NewerVersion` for a later version of the format.
        """
        if not isinstance(mapping, dict) or mapping.get("format") != FORMAT:
            raise ValueError("it is another kind of file")
        require(type(mapping["version"]) is int, "its version is not a number")
        if not OLDEST <= mapping["version"] <= VERSION:
            raise NewerVersion(f"its format has version {mapping['version']}")
        require(isinstance(mapping["encoders"], list), "its encoders are of a wrong type")
        first_utterances = _array(mapping, "first_utterances", np.int64)
        people = len(first_utterances) - 1
        utterances = int(first_utterances[-1])
        if mapping["version"] == OLDEST:
            mapping = {
                **mapping,
                "epoch": "",
                "fingerprints_characters": np.zeros(0, np.uint8),
                "fingerprints_starts": np.zeros_like(
                    _array(mapping, "utterance_facts_starts", np.int64)
                ),
            }
        require(first_utterances[0] == 0, "its utterances belong to nobody")
        return cls(
            vectors=_array(mapping, "vectors", np.float32, (people, VECTOR_SIZE)),
            encoders=tuple(map(_text, mapping["encoders"])),
            encoder_codes=_array(mapping, "encoder_codes", np.uint16, (people,)),
            name_hashes=_array(mapping, "name_hashes", np.uint64, (people,)),
            names=_texts(mapping, "names", people),
            passphrases=_texts(mapping, "passphrases", people),
            facts=_texts(mapping, "facts", people),
            first_utterances=first_utterances,
            utterance_vectors=_array(
                mapping, "utterance_vectors", np.float32, (utterances, VECTOR_SIZE)
            ),
            utterance_facts=_texts(mapping, "utterance_facts", utterances),
            fingerprints=_texts(mapping, "fingerprints", utterances),
            epoch=_text(mapping["epoch"]),
        )


FACTS = ("created_at", "updated_at", "consent_at", "keep_until", "id")
"""What is kept of a person as JSON."""

TEXT_COLUMNS = ("names", "passphrases", "facts", "utterance_facts", "fingerprints")


def name_hash(name: str) -> int:
    """Return 64 bits that are equal for two names that are the same."""
    return int.from_bytes(hashlib.blake2b(name_key(name).encode(), digest_size=8).digest())


def starts_of(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return where each of a row of parts begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def starts_without(starts: npt.NDArray[np.int64], first: int, end: int) -> npt.NDArray[np.int64]:
    """Return where each part begins when those from `first` to before `end` are cut out."""
    return np.concatenate([starts[:first], starts[end:] - (starts[end] - starts[first])])


def span(starts: npt.NDArray[np.int64], row: int) -> tuple[int, int]:
    """Return where one part begins and ends, or raise `ValueError` if that is impossible."""
    start, end = int(starts[row]), int(starts[row + 1])
    require(0 <= start <= end <= starts[-1], f"row {row} is impossible")
    return start, end


def stacked(vectors: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return vectors as the rows of a matrix."""
    return np.array(vectors, np.float32).reshape(-1, VECTOR_SIZE)


def _compact(value: object) -> str:
    # ASCII, because the name of a file may have bytes that are no text.
    return json.dumps(value, separators=(",", ":"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it has something else where text belongs")
    return value


def _array(
    mapping: Mapping[str, Any], name: str, dtype: type, shape: tuple[int, ...] | None = None
) -> npt.NDArray[Any]:
    array = mapping[name]
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise ValueError(f"its {name} are of a wrong type")
    require(array.shape == (shape or (array.size,)), f"its {name} are of a wrong shape")
    return array


def _texts(mapping: Mapping[str, Any], name: str, rows: int) -> Texts:
    starts = _array(mapping, f"{name}_starts", np.int64, (rows + 1,))
    characters = _array(mapping, f"{name}_characters", np.uint8)
    require((starts[0], starts[-1]) == (0, len(characters)), f"its {name} are of a wrong length")
    return Texts(characters, starts)
