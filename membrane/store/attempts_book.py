"""What is kept of each name that somebody tried to log in as: failures and prompts, no names."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Any

from membrane.store import lockout
from membrane.store.keyed_lines import KeyedLines
from membrane.store.names import name_key

REMEMBERED = 20
"""Prompts, and recordings of accepted logins, that are remembered of each name."""

MOST_NAMES = 10_000
"""Names that are kept: with one failure each 0.8 MB, with five and twenty prompts 5 MB."""

NAMES_LEFT = 9_000
"""Names that are left when there were too many; so that not every login must sort them."""

KEY_DIGITS = 32
"""Hexadecimal digits of what stands for a name: half of an HMAC, which is enough for no two names
to have the same (RFC 2104, section 5)."""

SECRET = 32
"""Bytes of the secret, as many as of the HMAC it keys (RFC 2104, section 3)."""

LATEST = 253_402_300_799.0
"""The last second of the year 9999, which is as far as dates can be told."""


@dataclass(frozen=True)
class Failure:
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


@dataclass(frozen=True)
class Record:
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
        return replace(
            self, failures=tuple(replace(one, at=min(one.at, now)) for one in self.failures)
        )

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next attempt may begin."""
        if not self.failures:
            return 0.0
        return lockout.wait_s(len(self.failures), last_failure_at=self.failures[-1].at, now=now)

    def failed(self, failure: Failure) -> Record:
        """Return the record with one more failure."""
        return replace(self, failures=(*self.failures, failure))

    def without(self, mark: str) -> Record:
        """Return the record as if that attempt had not been made."""
        return replace(self, failures=tuple(one for one in self.failures if one.mark != mark))

    def forgiven(self, mark: str) -> Record:
        """Return the record without an attempt that could not be judged, if few others were so."""
        if self.unjudged >= lockout.FREE_UNJUDGED:
            return self
        return replace(self.without(mark), unjudged=self.unjudged + 1)

    def cleared_up_to(self, mark: str) -> Record:
        """Return the record without that attempt and those that began before it.

        Those that began later are not known to be the same person's.
        """
        marks = [one.mark for one in self.failures]
        if mark not in marks:
            return self
        return replace(self, failures=self.failures[marks.index(mark) + 1 :], unjudged=0)

    def prompted(self, text: str) -> Record:
        """Return the record with one more prompt."""
        return replace(self, prompts=(*self.prompts, text)[-REMEMBERED:])

    def as_json(self) -> list[Any]:
        """Return what `of` reads: short, because every attempt writes all records."""
        failures = [[one.mark, one.at] for one in self.failures]
        return [failures, list(self.prompts), self.unjudged]

    @classmethod
    def of(cls, value: Any) -> Record:
        """Return the record that was kept, or raise a `ValueError`."""
        if not isinstance(value, list) or [type(part) for part in value] != [list, list, int]:
            raise ValueError("a record has other parts")
        failures, prompts, unjudged = value
        if len(failures) > lockout.MOST_FAILURES:
            raise ValueError("a record has more failures than can be")
        if not all(isinstance(one, str) for one in prompts):
            raise ValueError("a record has prompts that are no text")
        if not 0 <= unjudged <= lockout.FREE_UNJUDGED:
            raise ValueError("a record has forgiven more than can be")
        return cls(tuple(_failure(one) for one in failures), tuple(prompts), unjudged)


@dataclass(frozen=True)
class Book:
    """What is kept of every name.

    Parameters
    ----------
    secret : bytes, length 32
        Keys what stands for a name.
    floor : int
        How many failures whoever has no record starts with.
    floor_at : float, seconds since the epoch
        When the last of those was.
    lines : KeyedLines
        The records, by what stands for the name.
    """

    secret: bytes
    floor: int
    floor_at: float
    lines: KeyedLines

    @classmethod
    def new(cls) -> Book:
        """Return one of no names, with a secret of its own."""
        secret = secrets.token_bytes(SECRET)
        return cls(secret, 0, 0.0, KeyedLines.of(_head(secret, 0, 0.0)))

    @classmethod
    def read(cls, lines: KeyedLines) -> Book:
        """Return what was kept, or raise a `ValueError`."""
        head = lines.head()
        if not isinstance(head, dict) or set(head) != {"secret", "floor", "floor_at"}:
            raise ValueError("the first line has other parts")
        secret, floor = head["secret"], head["floor"]
        if not isinstance(secret, str) or len(secret) != 2 * SECRET:
            raise ValueError("there is no secret")
        if type(floor) is not int or not 0 <= floor <= lockout.MOST_FAILURES:
            raise ValueError("the least count is no count")
        return cls(bytes.fromhex(secret), floor, _time(head["floor_at"]), lines)

    def key_of(self, name: str) -> str:
        """Return what stands for a name; names that any lookup may take for one have the same."""
        # More names than the database takes for one: each spelling must not have tries of its own.
        folded = name_key(name.strip()).strip().encode("utf-8", "surrogatepass")
        return hmac.new(self.secret, folded, hashlib.sha256).hexdigest()[:KEY_DIGITS]

    def record(self, key: str) -> Record:
        """Return the record of a name, or raise a `ValueError`."""
        value = self.lines.get(key)
        return self._of_nobody() if value is None else Record.of(value)

    def put(self, key: str, record: Record, *, now: float) -> Book:
        """Return the book with a name's record, and with no more names than it may have."""
        value = None if record == self._of_nobody() else record.as_json()
        changed = replace(self, lines=self.lines.put(key, value))
        return changed._thinned(now) if changed.lines.count() > MOST_NAMES else changed

    def without(self, key: str) -> Book:
        """Return the book without a name's record."""
        return replace(self, lines=self.lines.put(key, None))

    def emptied(self) -> Book:
        """Return the book of no names, with the same secret."""
        return Book(self.secret, 0, 0.0, KeyedLines.of(_head(self.secret, 0, 0.0)))

    def _of_nobody(self) -> Record:
        return Record((Failure("", self.floor_at),) * self.floor)

    def _thinned(self, now: float) -> Book:
        # Who floods the book with made-up names must not push out what stands against somebody.
        # So the names with the fewest failures go, the oldest first, and the most failures that
        # any of them had are what everybody without a record has from now on: nobody gets back a
        # try. What a flood does get is that those people wait who did not log in since: a delay
        # takes 45,000 failures, and a lock 450,000, which is what it takes to lock those 9,000
        # names one by one.
        counts = {key: len(Record.of(value).failures) for key, value in self.lines.items()}
        # The one changed last is at the end, and sorting keeps the order of equals.
        fewest_first = sorted(counts, key=counts.__getitem__)
        dropped = fewest_first[: len(counts) - NAMES_LEFT]
        floor = max(self.floor, *(counts[key] for key in dropped))
        floor_at = now if floor else 0.0
        lines = self.lines.keeping(set(fewest_first[len(dropped) :]))
        return Book(self.secret, floor, floor_at, lines.headed(_head(self.secret, floor, floor_at)))


def _head(secret: bytes, floor: int, floor_at: float) -> dict[str, Any]:
    return {"secret": secret.hex(), "floor": floor, "floor_at": floor_at}


def _failure(value: Any) -> Failure:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        raise ValueError("a failure has other parts")
    return Failure(value[0], _time(value[1]))


def _time(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LATEST:
        raise ValueError("a time is no time")
    return float(value)
