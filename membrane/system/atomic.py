"""Files that are written whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


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
