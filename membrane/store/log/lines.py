"""Lines of the decision log: each stamped, and each naming the hash of the line before it.

Conventions
-----------
A line is a JSON object without spaces, in ASCII. It begins with ``number`` and ``time`` and ends
with ``previous`` (SHA-256 of the whole line before), ``by`` (who stamped it) and its stamp over all
of that: ``hash``, SHA-256, or under a key ``mac``, HMAC-SHA-256 (RFC 2104). The head of a log is
such an object, too. Only what is written exactly so is a line: a byte that differs is noticed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

Fields = dict[str, Any]

PLAIN = "sha256"
"""Who stamps where there is no key: anybody could."""

KEYED = "hmac-sha256:"
"""Who stamps under a key: this, followed by what tells it from other keys."""

NOTHING = "0" * 64
"""Stands for the hash of the line before the first."""

KEY_NAME_DIGITS = 16
"""Hexadecimal digits that tell keys apart: two of 64 bits are not alike by chance."""


@dataclass(frozen=True)
class Stamp:
    """What the lines and the head of a log are stamped with.

    Parameters
    ----------
    key : bytes or None
        None for a hash, which tells of damage and of careless edits only.
    """

    key: bytes | None = None

    @property
    def by(self) -> str:
        """Who stamps: the same key always has the same name, which does not tell the key."""
        if self.key is None:
            return PLAIN
        name = hmac.digest(self.key, b"name of a decision log's key", hashlib.sha256).hex()
        return KEYED + name[:KEY_NAME_DIGITS]

    def line(self, fields: Mapping[str, Any]) -> bytes:
        """Return fields as a stamped line, without its end."""
        stamped = {**fields, "by": self.by}
        field = "hash" if self.key is None else "mac"
        return written({**stamped, field: self._over(written(stamped))})

    def is_genuine(self, fields: Fields) -> bool:
        """Return whether a line's stamp is right; that of another key is taken on trust."""
        content = dict(fields)
        found = content.pop("hash", "") or content.pop("mac", "")
        if fields["by"] == PLAIN:
            return hmac.compare_digest(Stamp()._over(written(content)), found)
        return fields["by"] != self.by or hmac.compare_digest(self._over(written(content)), found)

    def _over(self, content: bytes) -> str:
        if self.key is None:
            return hashlib.sha256(content).hexdigest()
        return hmac.digest(self.key, content, hashlib.sha256).hex()


@dataclass(frozen=True)
class Head:
    """What a log must end and begin with: without it nobody would miss its last lines.

    Parameters
    ----------
    last : int
        Number of the last line; one less if there was a crash.
    last_hash : str
        SHA-256 of it.
    before : str
        SHA-256 of the line before the first that is kept.
    files : tuple of int
        Number of the first line of each file that is kept, oldest first.
    size : int, bytes
        Of the newest file.
    """

    last: int = 0
    last_hash: str = NOTHING
    before: str = NOTHING
    files: tuple[int, ...] = (1,)
    size: int = 0

    def written(self, stamp: Stamp) -> bytes:
        """Return the head as a stamped line."""
        return stamp.line(
            {
                "last": self.last,
                "last_hash": self.last_hash,
                "before": self.before,
                "files": self.files,
                "size": self.size,
            }
        )

    @classmethod
    def read(cls, raw: bytes, stamp: Stamp) -> Self | None:
        """Return the head that was written; None if it was changed, or is of another key."""
        fields = parsed(raw)
        if fields is None or fields["by"] != stamp.by or not stamp.is_genuine(fields):
            return None
        try:
            head = cls(
                int(fields["last"]),
                str(fields["last_hash"]),
                str(fields["before"]),
                tuple(map(int, fields["files"])),
                int(fields["size"]),
            )
        except (KeyError, TypeError, ValueError):
            return None
        return head if head.files else None


def written(fields: Mapping[str, Any]) -> bytes:
    """Return fields as they stand in a line.

    Raises
    ------
    TypeError, ValueError
        If a value is none that JSON has.
    """
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def parsed(raw: bytes) -> Fields | None:
    """Return the fields of a stamped line; None if it is not written as one is."""
    try:
        fields = json.loads(raw)
        if not isinstance(fields, dict) or written(fields) != raw:
            return None
    except (ValueError, RecursionError):
        return None
    return fields if _has_stamp(fields) else None


def line_of(raw: bytes) -> Fields | None:
    """Return the fields of a line of a log; None if it is not one."""
    fields = parsed(raw)
    if fields is None or type(fields.get("number")) is not int:
        return None
    return fields if isinstance(fields.get("previous"), str) else None


def hash_of(raw: bytes) -> str:
    """Return the SHA-256 of a line, as the line after it names it."""
    return hashlib.sha256(raw).hexdigest()


def follows(fields: Fields, head: Head) -> bool:
    """Return whether a line is the one after the last that a head knows."""
    return bool(fields["number"] == head.last + 1 and fields["previous"] == head.last_hash)


def _has_stamp(fields: Fields) -> bool:
    by = fields.get("by")
    field = "hash" if by == PLAIN else "mac"
    return (
        isinstance(by, str)
        and (by == PLAIN or by.startswith(KEYED))
        and isinstance(fields.get(field), str)
        and fields[field].isascii()
        and list(fields)[-1] == field
        and len({"hash", "mac"} & set(fields)) == 1
    )
