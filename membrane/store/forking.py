"""A lock that no other thread holds at the moment of a fork, so that the child can go on.

A child has only the thread that forked: a lock inside SQLite that another thread held then stays
held in the child for ever.
"""

from __future__ import annotations

import os
import threading

NO_FORK = threading.RLock()
"""Held while something is done that must not be cut in two by a fork."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=NO_FORK.acquire,
        after_in_parent=NO_FORK.release,
        after_in_child=NO_FORK.release,
    )
