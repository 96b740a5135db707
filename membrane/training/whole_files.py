"""Files that are either whole or not there, whatever ends the process that writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from membrane.errors import OutputUnwritable


@contextmanager
def unwritable_explained(path: Path) -> Iterator[None]:
    """Turn what a full disk or missing permissions raise into one line.

    Raises
    ------
    OutputUnwritable
    """
    try:
        yield
    except OSError as error:
        raise OutputUnwritable(
            f"{path} cannot be written ({error.strerror or error}): check the space and the "
            "permissions there"
        ) from None


def write_whole(path: Path, *parts: bytes) -> None:
    """Replace a file: whoever reads it, after a crash too, finds the old one or all of the new.

    Parameters
    ----------
    path : Path
    parts : bytes
        Written one after the other.

    Raises
    ------
    OutputUnwritable
    """
    with unwritable_explained(path):
        written = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with written.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)
