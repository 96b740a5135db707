"""Memory for what was decrypted: not swapped, not in a core dump, zero when it is given back."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

STEP_BYTES = 2**24
"""Bytes that are locked at once: large pages stay whole, which makes locking five times as fast,
and a file that claims more than it holds takes no more than so much in vain."""

ADVICE = ("MADV_DONTDUMP", "MADV_HUGEPAGE")
"""Not in a core dump, and in large pages where the system has them."""

WIPE_BYTES = 2**20
"""Bytes that are overwritten at once: wiping must not need as much memory again."""


class LockedMemory(mmap.mmap):
    """Memory of this process alone, filled from its start, which numpy arrays can be views of.

    It is overwritten with zeros when the last view of it is gone. From its making on this process
    leaves no core dump: one would hold the key, too.

    Parameters
    ----------
    size : int, bytes
        One or more.

    Raises
    ------
    MemoryError
        If there is not so much.
    """

    used: int = 0
    """Bytes that `following` has returned."""

    locked: bool = os.name != "nt"
    """Whether the system promised never to write any of them to a swap file."""

    _reached: int = 0

    def __new__(cls, size: int) -> LockedMemory:  # noqa: D102 (the class says it)
        # Shared memory, which is the default, would be one with that of a forked child.
        private = {} if os.name == "nt" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
        try:
            memory = super().__new__(cls, -1, size, **private)
        except (OSError, OverflowError):
            raise MemoryError(f"{size} bytes are not to be had") from None
        if os.name != "nt":
            _forbid_core_dumps()
            for advice in ADVICE:
                with suppress(OSError):
                    memory.madvise(getattr(mmap, advice, mmap.MADV_NORMAL))
        return memory

    def following(self, size: int) -> memoryview:
        """Return the next bytes to fill, locked if the system allows it.

        What was not asked for costs nothing: a file that claims more than it holds must not take
        all memory.
        """
        start, self.used = self.used, self.used + size
        while self.locked and self._reached < self.used:
            step = min(STEP_BYTES, len(self) - self._reached)
            self.locked = _lock(self, self._reached, step)
            self._reached += step
        return memoryview(self)[start : self.used]

    def __del__(self) -> None:
        for start in range(0, self.used, WIPE_BYTES):
            end = min(start + WIPE_BYTES, self.used)
            self[start:end] = bytes(end - start)


def _lock(memory: LockedMemory, start: int, size: int) -> bool:
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(memory, start))
    return bool(_system().mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0)


@cache
def _system() -> ctypes.CDLL:
    """Return the C library, after raising the limit."""
    import ctypes

    _raise_limit()
    return ctypes.CDLL(None)


def _raise_limit() -> None:
    """Allow this process to lock as much as it may allow itself."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def _forbid_core_dumps() -> None:
    import resource

    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
