"""A shelf: a value with large arrays in one file, which several processes read without copies."""

from __future__ import annotations

import pickle
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

ALIGNED = 64
"""Bytes; every array begins at a multiple of it."""


def shelve(value: Any, path: Path) -> None:
    """Write a value to a file.

    Parameters
    ----------
    value : object
        That pickles; its arrays are written as they lie in memory.
    path : Path
        Overwritten; where nobody else can write, as reading it runs what it says.
    """
    buffers: list[pickle.PickleBuffer] = []
    whole = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    with path.open("wb") as file:
        places = [0]
        for buffer in buffers:
            length = file.write(buffer.raw())
            file.write(bytes(-length % ALIGNED))
            places.append(file.tell())
        lengths = [buffer.raw().nbytes for buffer in buffers]
        index = pickle.dumps((whole, places, lengths))
        file.write(index)
        file.write(len(index).to_bytes(8, "little"))


def unshelved(path: Path) -> Any:
    """Return a value that this program has shelved; its arrays cannot be written to."""
    with path.open("rb") as file:
        view = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    length = int.from_bytes(view[-8:], "little")
    whole, places, lengths = pickle.loads(view[-8 - length : -8])  # noqa: S301 (our own file)
    starts = [start for start, _ in pairwise(places)]
    buffers = [view[at : at + size] for at, size in zip(starts, lengths, strict=True)]
    return pickle.loads(whole, buffers=buffers)  # noqa: S301
