"""The gallery: everybody who is enrolled at one moment, for comparing and for looking up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from membrane.store.columns import Columns
from membrane.store.database_file import damage_explained
from membrane.store.names import canonical_name
from membrane.store.voiceprint import Voiceprint

Rows = npt.NDArray[np.bool_]


class Gallery:
    """Everybody who was enrolled when it was opened; later writes do not change it.

    Opening reads no rows, so a row is checked when it is looked at: `StoreDamaged` may come from
    every method. Take no decision on a row of `matrix` without `voiceprint(row)`, which refuses
    a vector that is not finite or not of length 1.

    Parameters
    ----------
    columns : Columns
    path : Path
        The file they come from, for messages.
    """

    def __init__(self, columns: Columns, path: Path) -> None:
        self._columns = columns
        self._path = path

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """The voiceprints' vectors, shape (people, 256), read-only, memory-mapped."""
        return self._columns.vectors

    @property
    def epoch(self) -> str:
        """Which projection all vectors were turned by; empty for none."""
        return self._columns.epoch

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the encoders that the voiceprints come from."""
        return self._columns.encoders

    def made_by(self, encoder: str) -> Rows:
        """Return which voiceprints come from that encoder, shape (people,), bool."""
        if encoder not in self.encoders:
            return np.zeros(len(self), np.bool_)
        return np.asarray(self._columns.encoder_codes == self.encoders.index(encoder))

    def by_encoder(self, rows: Sequence[int] | None = None) -> dict[str, Rows]:
        """Return who comes from which encoder; an encoder that nobody comes from is left out.

        Parameters
        ----------
        rows : sequence of int, optional
            Those to look at; by default everybody.

        Returns
        -------
        dict of str to np.ndarray, shape (people,), bool
        """
        among: Rows = np.full(len(self), rows is None)
        among[list(rows or ())] = True
        made = {encoder: self.made_by(encoder) & among for encoder in self.encoders}
        return {encoder: people for encoder, people in made.items() if people.any()}

    def encoder_of(self, row: int) -> str:
        """Return the name of the encoder of one voiceprint."""
        self._check(row)
        with damage_explained(self._path):
            return self._columns.encoder(row)

    def name(self, row: int) -> str:
        """Return one person's name."""
        self._check(row)
        with damage_explained(self._path):
            return canonical_name(self._columns.names[row])

    def names(self) -> Iterator[str]:
        """Return everybody's name, in the order of the rows."""
        return map(self.name, range(len(self)))

    def names_by_id(self) -> dict[str, str]:
        """Return everybody's name by their number in the decision log."""
        with damage_explained(self._path):
            return {self._columns.id(row): self.name(row) for row in range(len(self))}

    def index_of(self, name: str) -> int | None:
        """Return the row of the person of that name, compared without case, or None."""
        with damage_explained(self._path):
            return self._columns.row_of(name)

    def row_near(self, number: int) -> int | None:
        """Return the row that 64 bits lead to; None where nobody is enrolled.

        It is the one whose name's hash comes next (consistent hashing), so that the same bits lead
        to the same person, whoever else is enrolled or changed, but for the one next to them.
        """
        if not len(self):
            return None
        return int((self._columns.name_hashes - np.uint64(number)).argmin())

    def voiceprint(self, row: int) -> Voiceprint:
        """Return all that is stored of one person."""
        self._check(row)
        with damage_explained(self._path):
            return self._columns.voiceprint(row)

    def summaries(self) -> Iterator[dict[str, Any]]:
        """Return, as JSON values, what a list shows of everybody: no vector, no passphrase."""
        for row in range(len(self)):
            with damage_explained(self._path):
                summary = self._columns.summary(row)
            yield summary

    def passphrases(self) -> Iterator[tuple[int, str]]:
        """Return row and passphrase of everybody who has one of their own."""
        for row in self._columns.passphrases.not_empty().tolist():
            with damage_explained(self._path):
                passphrase = self._columns.passphrases[row]
            yield row, passphrase

    def _check(self, row: int) -> None:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a gallery of {len(self)}")
