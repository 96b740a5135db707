"""How long whoever failed to log in must wait, and when nobody may try any more.

The stricter reading of NIST SP 800-63B, of both its revisions, for a biometric system without
presentation attack detection:

- Section 5.2.3 of revision 3 (2017) allows five consecutive failures. After that each further
  attempt must be delayed, by 30 seconds at least and exponentially longer each time.
- Section 3.2.3 of revision 4 (2025) allows five as well, asks for 30 seconds before each
  further attempt, and disables the biometric altogether after fifty consecutive failures.
- Section 3.2.2 of revision 4 names "30 seconds up to an hour" for a delay that grows, and has a
  success disregard the failures before it.

An attempt is one phrase that was judged. Nothing is forgiven by waiting: failures are consecutive
until somebody is let in, or until whoever keeps the database unlocks the name.

This slows down whoever guesses, and lets anybody who may try keep somebody else out: a voice is
never the only way in.
"""

from __future__ import annotations

import math

FREE_FAILURES = 5
"""Consecutive failures before the first delay (SP 800-63B-4, section 3.2.3; SP 800-63B revision 3,
section 5.2.3)."""

FIRST_DELAY_S = 30.0
"""Seconds that the delay begins with (the same two sections); each further failure doubles it."""

LONGEST_DELAY_S = 3600.0
"""Seconds at which the delay stops to grow (SP 800-63B-4, section 3.2.2: "up to an hour"). With
it the fiftieth failure takes 39 hours; without it, longer than anybody lives, and every name could
be shut for good before it is locked, where somebody would notice."""

MOST_FAILURES = 50
"""Consecutive failures that lock a name until it is unlocked (SP 800-63B-4, section 3.2.3)."""

FREE_UNJUDGED = 5
"""Attempts between two logins that are forgiven because nothing could be judged. Each has shown a
prompt: whoever holds some digits of the person could keep silent until they are asked for these."""

SHOWN_IN_SECONDS = 120
"""Seconds up to which a wait is told in seconds; a longer one is told in minutes."""

LONGEST_SHOWN_NAME = 64
"""Characters of a claimed name that a message repeats: as many as a name may have."""


def is_locked(failures: int) -> bool:
    """Tell whether a name with so many consecutive failures is locked."""
    return failures >= MOST_FAILURES


def delay_s(failures: int) -> float:
    """Return the seconds that must lie between a failure and the next attempt.

    Parameters
    ----------
    failures : int
        Consecutive failures, that one included.
    """
    if failures < FREE_FAILURES:
        return 0.0
    # Not to compute 2 to the power of whatever a damaged file says.
    doublings = min(failures, MOST_FAILURES) - FREE_FAILURES
    return min(FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S)


def wait_s(failures: int, *, last_failure_at: float, now: float) -> float:
    """Return the seconds until the next attempt may begin.

    Parameters
    ----------
    failures : int
        Consecutive failures.
    last_failure_at, now : float, seconds since the epoch
        A failure that lies in the future, because the clock was set back, counts as one of now.
    """
    return max(0.0, min(last_failure_at, now) + delay_s(failures) - now)


def refusal(name: str, *, failures: int, wait_s: float) -> str:
    """Return what a locked or waiting name is told, the same for known and unknown ones.

    Parameters
    ----------
    name : str
        As it was claimed; empty for somebody who claimed none.
    failures : int
        Consecutive failures.
    wait_s : float, seconds
        How long to wait; told rounded up.
    """
    whose = f"too many failed logins as {_printable(name)}" if name else "too many failed logins"
    if is_locked(failures):
        return f"{whose}, now locked: whoever keeps the database can unlock it"
    seconds = max(1, math.ceil(wait_s))
    wait = f"{seconds} s" if seconds <= SHOWN_IN_SECONDS else f"{math.ceil(seconds / 60)} min"
    return f"{whose}: try again in {wait}"


def _printable(name: str) -> str:
    """Return a claimed name on one line, whatever it is made of."""
    shown = name[:LONGEST_SHOWN_NAME]
    return shown if shown.isprintable() else ascii(shown)
