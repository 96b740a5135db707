"""Files of the store that several processes change: locked, whole or not at all, their owner's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# Not where it is used: it takes care of forks from here on, and must not be imported during one.
import filelock

from membrane.errors import StoreLocked, StoreUnwritable

POLL_S = 0.01
"""Seconds between two looks at a lock that another process holds; a write takes about five
times that."""

_BINARY = getattr(os, "O_BINARY", 0)
"""Without it Windows would write line ends of its own."""

_SAFELY = _BINARY | sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
"""Neither through a link nor waiting at a pipe."""


@contextmanager
def locked(
    path: Path,
    timeout_s: float,
    *,
    what: str = "the voiceprint database",
    like: Path | None = None,
) -> Iterator[None]:
    """Keep other processes from writing a file, after making its folder if there is none.

    The lock is `<path>.lock`, of mode 0600, and stays there.

    Parameters
    ----------
    path : Path
        The file itself, not a link to it: all must lock the same one.
    timeout_s : float, seconds
        How long to wait for other processes.
    what : str
        What the file is to whoever reads the message of an error.
    like : Path, optional
        Whose owner gets the lock, when an administrator is the first to lock; by default the file.

    Raises
    ------
    StoreLocked
        If another process holds it for all that time.
    StoreUnwritable
        If the folder or the lock cannot be made.
    """
    lock_path = path.with_name(path.name + ".lock")
    lock = filelock.FileLock(lock_path, timeout=timeout_s, mode=0o600, poll_interval=POLL_S)
    try:
        make_folder(path.parent)
        with suppress(FileExistsError), created(lock_path) as file:
            keep_owner(file, like or path)
        lock.acquire()
    except filelock.Timeout:
        raise StoreLocked(
            f"another process has held {what} {path} for {timeout_s:g} s: try again"
        ) from None
    except OSError as error:
        raise StoreUnwritable(
            f"{what} {path} cannot be locked ({error.strerror}): "
            "check the permissions of its folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def created(path: Path) -> Iterator[IO[bytes]]:
    """Create a file that only its owner may read, whatever the umask, and see it onto the disk.

    Raises
    ------
    OSError
        If it exists, or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        path.chmod(0o600)
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def opened(path: Path, flags: int, mode: str) -> Iterator[IO[bytes]]:
    """Open a file, readable for its owner only if it is new, and nothing but a file.

    Raises
    ------
    OSError
        If it cannot be opened, or a link, a pipe or a folder is in its place.
    """
    if path.is_symlink():  # where the system cannot say so itself
        raise OSError(errno.ELOOP, "it is a link")
    descriptor = os.open(path, flags | _SAFELY, 0o600)
    with os.fdopen(descriptor, mode, buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        yield file


def keep_owner(file: IO[bytes], like: Path) -> None:
    """Leave a new file to whom the one before it belonged, when an administrator writes it."""
    owner = _owner_to_keep(like)
    if owner is not None:
        os.fchown(file.fileno(), *owner)


def sync_folder(folder: Path) -> None:
    """Make a renaming in a folder last through a power cut."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, like: Path | None = None) -> None:
    """Make a folder, and those above it that are missing, for its owner only.

    Parameters
    ----------
    folder : Path
    like : Path, optional
        The file whose owner gets them, when an administrator makes them.
    """
    # Those above it, too: who may write there can put another folder in its place.
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    owner = None if like is None else _owner_to_keep(like)
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        one.chmod(0o700)
        if owner is not None:
            os.chown(one, *owner, follow_symlinks=False)


def _owner_to_keep(like: Path) -> tuple[int, int] | None:
    if os.name == "nt" or os.geteuid() != 0 or not like.exists():
        return None
    facts = like.stat()
    return facts.st_uid, facts.st_gid
