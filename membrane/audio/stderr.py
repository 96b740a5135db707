"""What C libraries print past Python, kept from the terminal."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from membrane.system.forks import unforked

_silenced: list[int] = []
"""What ``stderr`` was before, once for each `quiet` that lasts."""


def _forked() -> None:
    """Let a child of a fork print: the threads of its parent that silenced it are not there."""
    if _silenced:
        _c_stderr().value = _silenced[0]
        _silenced.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what ALSA, JACK, PortAudio and libmpg123 print from C while it lasts.

    They print through C's ``stderr``, some from threads of their own and at any time. glibc lets
    that be another file, and Python does not write through it, so that its errors still appear,
    which would not be so if the file descriptor were redirected. On other systems nothing is
    silenced: PortAudio for Windows and macOS does not print, libmpg123 does.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    stderr = _c_stderr()
    with unforked:
        _silenced.append(stderr.value or 0)
        stderr.value = _nowhere()
    try:
        yield
    finally:
        with unforked:
            # The last of several threads to leave finds what was there before the first.
            before = _silenced.pop() if _silenced else None
            if before is not None and not _silenced:
                stderr.value = before


def _c_stderr() -> ctypes.c_void_p:
    return ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")


@cache
def _nowhere() -> int:
    """Open the null device as a C file; one for the life of the program."""
    fopen = ctypes.CDLL(None).fopen
    fopen.restype = ctypes.c_void_p
    return int(fopen(os.fsencode(os.devnull), b"w"))
