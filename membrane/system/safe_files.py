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

from membrane.errors import StoreLocked, StoreUnreadable, StoreUnwritable
from membrane.system.atomic import created

DATABASE = "the voiceprint database"
"""What messages call the file of the voiceprints."""

POLL_S = 0.01
"""Seconds between two looks at a lock that another process holds; a write takes about five
times that."""

_SAFELY = sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
"""Neither through a link nor waiting at a pipe; and with no line ends of Windows' own."""


@contextmanager
def locked(
    path: Path,
    timeout_s: float,
    *,
    what: str = DATABASE,
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
        with suppress(FileExistsError), created(lock_path, like=like or path):
            pass
        lock.acquire()
    except filelock.Timeout:
        raise held_too_long(what, path, timeout_s) from None
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


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner only."""
    # Those above it, too: who may write there can put another folder in its place.
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        one.chmod(0o700)


@contextmanager
def reading(what: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong with reading a file into one line that says what to do.

    Parameters
    ----------
    what : str
        What the file is to whoever reads the message.
    path : Path

    Raises
    ------
    StoreUnreadable
        In the place of every `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnreadable(
            f"{what} {path} cannot be read ({error.strerror or error}): "
            "check its permissions and its disk"
        ) from None


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong with writing a file into one line that says what to do.

    Parameters are those of `reading`.

    Raises
    ------
    StoreUnwritable
        In the place of every `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(
            f"{what} {path} cannot be written ({error.strerror or error}): "
            "check its permissions and the space on its disk"
        ) from None


def held_too_long(what: str, path: Path, timeout_s: float) -> StoreLocked:
    """Return the error for a file that another process has held for so many seconds."""
    return StoreLocked(f"another process has held {what} {path} for {timeout_s:g} s: try again")
