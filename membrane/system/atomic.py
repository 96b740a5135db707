"""Files that are written whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def write_whole(path: Path, *parts: bytes, mode: int = 0o666, sync: bool = True) -> None:
    """Replace a file: whoever reads it, after a crash too, finds the old one or all of the new.

    Parameters
    ----------
    path : Path
        A link is replaced, not followed: resolve it first if it should stay one.
    *parts : bytes
        Written one after the other.
    mode : int
        Permissions of the file; the umask takes from them.
    sync : bool
        Wait until the content is on the disk. False is for what may be lost in a power cut.

    Raises
    ------
    OSError
        If the file cannot be written. The old one is then as it was.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(new, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.writelines(parts)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink()


@contextmanager
def replacing(path: Path, *, like: Path) -> Iterator[IO[bytes]]:
    """Replace a file of the store with what is written into the `with`, whole or not at all.

    Only its owner may read it. The caller holds the lock of the file: what is written is
    ``<path>.new`` until it is complete, and what a crash left there is removed.

    Parameters
    ----------
    path : Path
        The file itself, not a link to it.
    like : Path
        Whose owner gets the file, when an administrator writes it.

    Raises
    ------
    OSError
        If the file cannot be written. The old one is then as it was.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with created(new, like=like) as file:
            yield file
        new.replace(path)
        sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def created(path: Path, *, like: Path) -> Iterator[IO[bytes]]:
    """Create a file that only its owner may read, whatever the umask, and see it onto the disk.

    Parameters
    ----------
    path : Path
    like : Path
        Whose owner gets the file, when an administrator writes it.

    Raises
    ------
    OSError
        If it exists, or cannot be written.
    """
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        path.chmod(0o600)
        keep_owner(file, like)
        yield file
        file.flush()
        os.fsync(file.fileno())


def keep_owner(file: IO[bytes], like: Path) -> None:
    """Give a new file to whom another belongs, when an administrator writes it."""
    if os.name != "nt" and os.geteuid() == 0 and like.exists():
        owner = like.stat()
        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)


def sync_folder(folder: Path) -> None:
    """Make a renaming in a folder last through a power cut."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
