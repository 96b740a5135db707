"""One file of columns: read whole or not at all, and replaced whole or not at all."""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from membrane.errors import (
    InvalidName,
    StoreDamaged,
    StoreUnreadable,
    StoreUnwritable,
    UsageError,
    WrongKey,
)
from membrane.protection.keys import master_key
from membrane.protection.sealed_database import Unlock, is_sealed_database, sealing, unsealed
from membrane.protection.sealing import Seal
from membrane.store.columns import Columns
from membrane.store.unpickling import MALFORMED, load_plain
from membrane.system.atomic import created, replacing
from membrane.system.checks import NewerVersion
from membrane.system.safe_files import DATABASE, reading, writing

MAPS_FILES = os.name != "nt"
"""Windows cannot replace a file that is mapped: there it is read into memory instead."""

PICKLE_PROTOCOL = 4
"""The one whose instructions `membrane.store.unpickling` knows."""


@dataclass(frozen=True, eq=False)
class Content:
    """What a database file holds.

    Parameters
    ----------
    columns : Columns
        Views of the mapped file, or of the memory that it was decrypted into.
    seal : Seal or None
        What it is encrypted with; None for a plain file.
    """

    columns: Columns
    seal: Seal | None = None


LONGEST_REASON = 200
"""Characters of what a damaged file says of itself that a message repeats."""


def previous_of(path: Path) -> Path:
    """Return where the previous good copy of a database is kept."""
    return path.with_name(path.name + ".previous")


def read(path: Path, unlock: Unlock = master_key) -> Content:
    """Return what a database file holds; nobody, if it does not exist.

    Parameters
    ----------
    path : Path
    unlock : callable
        Returns the key of an encrypted one.

    Raises
    ------
    WrongKey
        If it is encrypted, and the key is missing or another.
    StoreDamaged
        If it is truncated, foreign or hostile, or of a later version.
    StoreUnreadable
        If it cannot be read.
    """
    try:
        with reading(DATABASE, path), damage_explained(path), suppress(FileNotFoundError):
            return _content_of(path, unlock)
        return Content(Columns.of([]))
    except MemoryError:
        raise StoreUnreadable(
            f"{DATABASE} {path} does not fit into memory: close other programs"
        ) from None


def write(path: Path, columns: Columns, *, seal: Seal | None = None, erase: bool = False) -> None:
    """Replace a database file; keep the one that was there as the previous good copy.

    Whoever reads meanwhile gets the old file or the new one, and so does whoever reads after a
    crash at any moment. The caller holds the lock, and has read the file that is replaced: it is
    a good one.

    Parameters
    ----------
    path : Path
        The file itself, not a link to it.
    columns : Columns
    seal : Seal, optional
        Encrypts it; nothing of the content is on the disk in the clear at any moment.
    erase : bool
        Whether nothing of the old file may stay: somebody was deleted, or it was not encrypted, or
        under another key. Then the copy that is kept is one of the new file. (What a disk keeps of
        erased files is out of our reach.)

    Raises
    ------
    StoreUnwritable
        If it cannot be written: permissions, a full disk. The file is then as it was.
    """
    kept = path.with_name(path.name + ".kept")
    with writing(DATABASE, path), ExitStack() as stack:
        stack.callback(kept.unlink, missing_ok=True)
        kept.unlink(missing_ok=True)
        with replacing(path, like=path) as new:
            _dump(columns, new, seal=seal)
            if erase:
                _copy(Path(new.name), kept)
            elif path.exists():
                _link(path, kept)
            if kept.exists():
                kept.replace(previous_of(path))


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn what reading malformed columns raises into `StoreDamaged`, with the remedy."""
    try:
        yield
    except NewerVersion as error:
        raise StoreDamaged(
            f"{path} was written by a newer Membrane ({error}): update Membrane"
        ) from None
    except (*MALFORMED, InvalidName) as error:
        raise StoreDamaged(
            f"{path} is not a sound voiceprint database ({_reason(error)}): {_remedy(path)}"
        ) from None


def _content_of(path: Path, unlock: Unlock) -> Content:
    # Not to wait for somebody to write into a pipe of that name.
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is not a file")
    with path.open("rb") as file:
        if is_sealed_database(file):
            memory, seal = unsealed(file, unlock)
            return Content(Columns.from_mapping(load_plain(memory)), seal)
        if not MAPS_FILES or not os.fstat(file.fileno()).st_size:
            return Content(Columns.from_mapping(load_plain(file.read())))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # A few bytes before each column are wanted and not what follows them: reading ahead made the
    # opening of a million voiceprints from the disk fifty times slower.
    mapped.madvise(mmap.MADV_RANDOM)
    columns = Columns.from_mapping(load_plain(mapped))
    mapped.madvise(mmap.MADV_NORMAL)
    return Content(columns)


def _reason(error: Exception) -> str:
    if isinstance(error, (ValueError, EOFError, InvalidName, pickle.UnpicklingError)):
        lines = str(error).splitlines()
        return lines[0][:LONGEST_REASON] if lines else "it is truncated"
    return "its content makes no sense"


def _remedy(path: Path) -> str:
    copy = previous_of(path)
    try:
        _content_of(copy, master_key)
    except (WrongKey, UsageError):
        return f"the previous copy {copy} is encrypted, move that in its place and see"
    except (OSError, MemoryError, *MALFORMED):
        return "there is no good copy; move it away to start anew"
    return f"the previous good copy is {copy}, move that in its place"


def _dump(columns: Columns, file: IO[bytes], *, seal: Seal | None) -> None:
    """Write a new file, and see that it can be read."""
    import joblib

    with nullcontext(file) if seal is None else sealing(file, seal) as writer:
        joblib.dump(columns.as_mapping(), writer, protocol=PICKLE_PROTOCOL)
    file.flush()
    os.fsync(file.fileno())  # the copies that are kept change only after that
    try:
        _content_of(Path(file.name), lambda _: seal.key if seal else b"")
    except MALFORMED:
        # Better noticed before the good file is gone.
        raise StoreUnwritable(
            f"joblib {joblib.__version__} writes what Membrane cannot read: install joblib 1.6"
        ) from None


def _link(path: Path, link: Path) -> None:
    try:
        link.hardlink_to(path)
    except OSError:
        # Not every file system has links.
        _copy(path, link)


def _copy(path: Path, copy: Path) -> None:
    with path.open("rb") as original, created(copy, like=path) as file:
        shutil.copyfileobj(original, file)
