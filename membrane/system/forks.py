"""Keeping native libraries usable in the children of a fork.

A library that another thread is inside of at the moment of a fork stays locked in the child for
ever: the thread that would unlock it does not exist there. So whatever must not be cut in half is
done under `unforked`, and a fork waits until it is done.
"""

from __future__ import annotations

import os
from threading import RLock

unforked = RLock()
"""Held while a library is in a state that a child could not use; no process forks meanwhile."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=unforked.acquire, after_in_parent=unforked.release, after_in_child=unforked.release
    )
