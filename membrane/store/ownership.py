"""Who owns a database: only they may replace, erase or unlock people without their voice."""

from __future__ import annotations

import os
from pathlib import Path

from membrane.errors import NotTheOwner


def require_owner(path: Path) -> None:
    """Refuse whoever does not own a file, nor administers the machine.

    Without such a file there is nobody to protect. Windows keeps others out by the permissions of
    the folder alone.

    Raises
    ------
    NotTheOwner
    """
    if os.name == "nt":
        return
    user = os.geteuid()
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotTheOwner(
            f"it cannot be told who owns the database {path} ({error.strerror}): "
            "ask whoever keeps it"
        ) from None
    if user not in {0, owner}:
        raise NotTheOwner(f"only whoever owns the database {path} may do that: ask them")
