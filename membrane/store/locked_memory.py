"""Memory for what was decrypted: not swapped, not in a core dump, zero when it is given back."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

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

    def __new__(cls, size: int) -> LockedMemory:  # noqa: D102 (the class says it)
        # Shared memory, which is the default, would be one with that of a forked child.
        private = {} if os.name == "nt" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
        try:
            memory = super().__new__(cls, -1, size, **private)
        except (OSError, OverflowError):
            raise MemoryError(f"{size} bytes are not to be had") from None
        if os.name != "nt":
            _forbid_core_dumps()
            with suppress(OSError):
                memory.madvise(getattr(mmap, "MADV_DONTDUMP", mmap.MADV_NORMAL))
        return memory

    def following(self, size: int) -> memoryview:
        """Return the next bytes to fill, locked if the system allows it.

        What was not asked for costs nothing: a file that claims more than it holds must not take
        all memory.
        """
        start, self.used = self.used, self.used + size
        self.locked = self.locked and _lock(self, start, size)
        return memoryview(self)[start : self.used]

    def __del__(self) -> None:
        for start in range(0, self.used, WIPE_BYTES):
            end = min(start + WIPE_BYTES, self.used)
            self[start:end] = bytes(end - start)


def _lock(memory: LockedMemory, start: int, size: int) -> bool:
    import ctypes

    _raise_limit()
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory, start))
    return bool(libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0)


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
