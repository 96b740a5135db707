"""The acoustic model in the PocketSphinx wheel: which senones a word is made of.

A *senone* is one of the 5,126 sounds whose likelihood PocketSphinx computes for each frame of 10
ms. A phone between two others (a triphone) is three senones one after another. Both files are
read as CMU Sphinx writes them: `bin_mdef.c` and `s3file.c` of PocketSphinx 5.
"""

import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.errors import EngineUnavailable

SILENCE = "SIL"
STATES = 3
"""Senones in a phone."""

INSIDE, BEGIN, END, SINGLE = range(4)
"""Where in a word a phone stands, as the model definition numbers it."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Pronunciation(NamedTuple):
    """One pronunciation as a chain of states.

    Parameters
    ----------
    senones : np.ndarray, shape (n,)
        The senone of each state.
    stay, leave : np.ndarray, shape (n,), natural log
        Probability of another frame in the same state, and of going on to the next.
    """

    senones: Integers
    stay: Floats
    leave: Floats


class AcousticModel:
    """Senones and transitions of the packaged English model.

    Raises
    ------
    EngineUnavailable
        If the model is missing or not in the form of PocketSphinx 5.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._read_definition((folder / "mdef").read_bytes())
            self._read_transitions((folder / "transition_matrices").read_bytes())
        except (OSError, ValueError, IndexError, struct.error) as error:
            raise EngineUnavailable(
                f"PocketSphinx's model in {folder} cannot be read ({error}): reinstall pocketsphinx"
            ) from None

    def _read_definition(self, data: bytes) -> None:
        magic, _, described = struct.unpack_from("<4sii", data)
        if magic != b"BMDF":
            raise ValueError("mdef is not a binary model definition")
        start = 12 + described
        counts = struct.unpack_from("<10i", data, start)
        phones, triphones, states = counts[:3]
        senones, sequences, tree = counts[4], counts[6], counts[8]
        if states != STATES:
            raise ValueError(f"phones have {states} states instead of {STATES}")
        names, position = _names(data, start + 40, phones)
        self.senone_count = senones
        self._number = {name: number for number, name in enumerate(names)}
        position += 8 * tree
        layout = np.dtype([("sequence", "<i4"), ("transition", "<i4"), ("place", "u1", 4)])
        self._phones = np.frombuffer(data, layout, triphones, position)
        position += layout.itemsize * triphones + 4
        self._sequences = np.frombuffer(data, "<u2", sequences * states, position)
        self._sequences = self._sequences.reshape(sequences, states)
        self._triphone = np.full((4, phones, phones, phones), -1, dtype=np.int32)
        places = self._phones["place"][phones:].astype(np.int64).T
        self._triphone[tuple(places)] = np.arange(phones, triphones)

    def _read_transitions(self, data: bytes) -> None:
        position = data.index(b"endhdr\n") + 7
        magic, matrices, rows, columns, count = struct.unpack_from("<5I", data, position)
        if magic != 0x11223344 or (rows, columns) != (STATES, STATES + 1):
            raise ValueError("transition_matrices have another form")
        counted = np.frombuffer(data, "<f4", count, position + 20)
        counted = counted.reshape(matrices, rows, columns)
        chances = counted / counted.sum(axis=2, keepdims=True)
        state = np.arange(STATES)
        self._stay = np.log(chances[:, state, state])
        self._leave = np.log(chances[:, state, state + 1])

    def spoken(self, phones: Sequence[str]) -> Pronunciation:
        """Return a word, said between two pauses, as a chain of states.

        Parameters
        ----------
        phones : sequence of str
            Such as ``["S", "IH", "K", "S"]``.

        Raises
        ------
        KeyError
            If the model has no such phone.
        """
        around = [self._number[phone] for phone in (SILENCE, *phones, SILENCE)]
        rows = [
            self._phones[self._found(_place(at, len(phones)), *around[at : at + 3])]
            for at in range(len(phones))
        ]
        transitions = [row["transition"] for row in rows]
        return Pronunciation(
            np.concatenate([self._sequences[row["sequence"]] for row in rows]).astype(np.int64),
            np.concatenate(self._stay[transitions]),
            np.concatenate(self._leave[transitions]),
        )

    def silence(self) -> Integers:
        """Return the senones of silence."""
        row = self._phones[self._number[SILENCE]]
        return np.asarray(self._sequences[row["sequence"]], np.int64)

    def _found(self, place: int, left: int, phone: int, right: int) -> int:
        """Return the phone in its context, else elsewhere in a word, else without context."""
        numbers = [self._triphone[place, phone, left, right]]
        numbers += list(self._triphone[:, phone, left, right])
        return int(next((number for number in numbers if number >= 0), phone))


def _place(position: int, length: int) -> int:
    first, last = position == 0, position == length - 1
    return SINGLE if first and last else BEGIN if first else END if last else INSIDE


def _names(data: bytes, start: int, count: int) -> tuple[list[str], int]:
    """Return `count` strings that end in zero bytes, and the next position that 4 divides."""
    position, names = start, []
    for _ in range(count):
        end = data.index(b"\0", position)
        names.append(data[position:end].decode("ascii"))
        position = end + 1
    return names, start + (position - start + 3) // 4 * 4


@cache
def packaged_model() -> AcousticModel:
    """Return the English model of the PocketSphinx wheel.

    Raises
    ------
    EngineUnavailable
        If it cannot be read.
    """
    from pocketsphinx import get_model_path

    return AcousticModel(Path(get_model_path("en-us/en-us")))
