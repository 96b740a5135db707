"""The rules about what is kept of each name that somebody tried to log in as.

They are the same wherever it is kept: see `membrane.store.store`. As JSON everything here is the
list of its fields, as JSON has it of every tuple.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from membrane.store import lockout
from membrane.store.names import name_key
from membrane.system.checks import require

REMEMBERED = 20
"""Prompts, and recordings of accepted logins, that are remembered of each name: a month of logins
on working days. The recordings take 60 kB."""

MOST_NAMES = 10_000
"""Names that are kept."""

NAMES_LEFT = 9_000
"""Names that are left when there were too many; so that not every login must sort them."""

KEY_DIGITS = 32
"""Hexadecimal digits of what stands for a name: half of an HMAC, which is enough for no two names
to have the same (RFC 2104, section 5)."""

SECRET = 32
"""Bytes of the secret, as many as of the HMAC it keys (RFC 2104, section 3)."""

LATEST = 253_402_300_799.0
"""The last second of the year 9999, which is as far as dates can be told."""


class Failure(NamedTuple):
    """One attempt that was not, or not yet, accepted.

    Parameters
    ----------
    mark : str
        Tells it from all others; empty for one that nobody can take back any more.
    at : float, seconds since the epoch
        When it began. It is the time on the wall, the only one that goes on over a restart.
    """

    mark: str
    at: float

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the failure that was kept, or raise a `ValueError`."""
        return cls(*_pair(value, str))


class Record(NamedTuple):
    """What is kept of one name.

    Parameters
    ----------
    failures : tuple of Failure
        Consecutive ones, in the order they began in.
    prompts : tuple of str
        The last ones that were shown, the latest at the end.
    unjudged : int
        Attempts since the last success that were forgiven because nothing could be judged.
    """

    failures: tuple[Failure, ...] = ()
    prompts: tuple[str, ...] = ()
    unjudged: int = 0

    def settled(self, now: float) -> Record:
        """Return the record with no failure later than now.

        If the clock was set back, the wait is the ordinary one from now, instead of until the
        clock has caught up.
        """
        return self._replace(
            failures=tuple(one._replace(at=min(one.at, now)) for one in self.failures)
        )

    def refusal(self, name: str, now: float) -> str:
        """Return what an attempt at a name is refused with; empty if it may begin."""
        failures = len(self.failures)
        last = self.failures[-1].at if self.failures else 0.0
        wait_s = lockout.wait_s(failures, last_failure_at=last, now=now)
        is_open = wait_s == 0 and not lockout.is_locked(failures)
        return "" if is_open else lockout.refusal(name, failures=failures, wait_s=wait_s)

    def failed(self, failure: Failure) -> Record:
        """Return the record with one more failure."""
        return self._replace(failures=(*self.failures, failure))

    def without(self, mark: str) -> Record:
        """Return the record as if that attempt had not been made."""
        return self._replace(failures=tuple(one for one in self.failures if one.mark != mark))

    def forgiven(self, mark: str) -> Record:
        """Return the record without an attempt that could not be judged, if few others were so."""
        if self.unjudged >= lockout.FREE_UNJUDGED:
            return self
        return self.without(mark)._replace(unjudged=self.unjudged + 1)

    def cleared_up_to(self, mark: str) -> Record:
        """Return the record without that attempt and those that began before it.

        Those that began later are not known to be the same person's.
        """
        marks = [one.mark for one in self.failures]
        if mark not in marks:
            return self
        return self._replace(failures=self.failures[marks.index(mark) + 1 :], unjudged=0)

    def prompted(self, text: str) -> Record:
        """Return the record with one more prompt."""
        return self._replace(prompts=(*self.prompts, text)[-REMEMBERED:])

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the record that was kept, or raise a `ValueError`."""
        require(
            isinstance(value, list) and [type(part) for part in value] == [list, list, int],
            "a record has other parts",
        )
        failures, prompts, unjudged = value
        require(len(failures) <= lockout.MOST_FAILURES, "a record has more failures than can be")
        require(all(isinstance(one, str) for one in prompts), "a record has prompts of no text")
        require(0 <= unjudged <= lockout.FREE_UNJUDGED, "a record has forgiven more than can be")
        return cls(tuple(map(Failure.of, failures)), tuple(prompts), unjudged)


class Floor(NamedTuple):
    """The failures that whoever has no record starts with, since there were too many names.

    Parameters
    ----------
    failures : int
    at : float, seconds since the epoch
        When the last of them was.
    """

    failures: int = 0
    at: float = 0.0

    def record(self) -> Record:
        """Return what stands for the record of a name that has none."""
        return Record((Failure("", self.at),) * self.failures)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return the floor that was kept, or raise a `ValueError`."""
        failures, at = _pair(value, int)
        require(0 <= failures <= lockout.MOST_FAILURES, "the least count is no count")
        return cls(failures, at)


def key_of(secret: bytes, name: str) -> str:
    """Return what stands for a name; names that any lookup may take for one have the same."""
    # More names than the database takes for one: each spelling must not have tries of its own.
    folded = name_key(name.strip()).strip().encode("utf-8", "surrogatepass")
    return hmac.new(secret, folded, hashlib.sha256).hexdigest()[:KEY_DIGITS]


def thinned(failures: Mapping[str, int], floor: Floor, *, now: float) -> tuple[list[str], Floor]:
    """Return which names to drop when there are too many, and the floor from then on.

    Whoever floods the state with made-up names must not push out what stands against somebody. So
    the names with the fewest failures go, the oldest first, and the most failures that any of them
    had are what everybody without a record has from now on: nobody gets back a try. What a flood
    does get is that those people wait who did not log in since: a delay takes 45,000 failures, and
    a lock 450,000, which is what it takes to lock those 9,000 names one by one.

    Parameters
    ----------
    failures : mapping of str to int
        How many each name has, the name that was changed last at the end.
    floor : Floor
    now : float, seconds since the epoch
    """
    # Sorting keeps the order of equals.
    fewest_first = sorted(failures, key=failures.__getitem__)
    dropped = fewest_first[: len(failures) - NAMES_LEFT]
    most = max(floor.failures, *(failures[key] for key in dropped))
    return dropped, Floor(most, now if most else 0.0)


def as_state(record: Record, recordings: Iterable[bytes]) -> dict[str, Any]:
    """Return all that is kept of a name, as JSON values."""
    return {
        "failures": [datetime.fromtimestamp(one.at, UTC).isoformat() for one in record.failures],
        "locked": lockout.is_locked(len(record.failures)),
        "recent_prompts": list(record.prompts),
        "recent_recordings": [b64encode(one).decode() for one in recordings],
    }


def parsed(content: bytes) -> Any:
    """Return what was kept as JSON, or raise a `ValueError`."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _pair(value: Any, first: type) -> tuple[Any, float]:
    """Return something of that type and a time, or raise a `ValueError`."""
    require(isinstance(value, list) and len(value) == 2, "it is not a pair")
    found, at = value
    require(type(found) is first, "it is of another type")
    require(type(at) in (int, float) and 0 <= at <= LATEST, "a time is no time")
    return found, float(at)
