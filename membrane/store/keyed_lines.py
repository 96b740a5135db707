"""Lines of JSON by key, of which one is read or changed without parsing the others."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

KEY = re.compile(rb"[0-9a-f]{32}\Z")
"""What a key looks like: nothing that could be taken for the end of one."""


@dataclass(frozen=True)
class KeyedLines:
    """One line without a key, then a line for each key, the one changed last at the end.

    A login reads and changes one line of thousands, while others wait for it: parsing them all
    took ten times as long as finding one.

    Parameters
    ----------
    content : bytes
        As it stands in the file.
    """

    content: bytes

    @classmethod
    def of(cls, head: Any) -> KeyedLines:
        """Return what holds only the line without a key."""
        return cls(_json(head) + b"\n")

    def head(self) -> Any:
        """Return the line without a key.

        Raises
        ------
        ValueError
            If it is not JSON, or the last line has no end.
        """
        if not self.content.endswith(b"\n"):
            raise ValueError("its last line has no end")
        return _parsed(self.content.split(b"\n", 1)[0])

    def get(self, key: str) -> Any:
        """Return the value of a key, or None.

        Raises
        ------
        ValueError
            If its line is not JSON.
        """
        span = self._span(key)
        return None if span is None else _parsed(self.content[span[0] + len(key) + 1 : span[1]])

    def put(self, key: str, value: Any) -> KeyedLines:
        """Return the lines with that of a key at the end, or without it if the value is None."""
        line = b"" if value is None else key.encode() + b" " + _json(value) + b"\n"
        span = self._span(key)
        if span is None:
            return KeyedLines(self.content + line)
        first, end = span
        return KeyedLines(b"".join((self.content[:first], self.content[end:], line)))

    def count(self) -> int:
        """Return how many keys there are."""
        return self.content.count(b"\n") - 1

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return every key with its value, the one changed last at the end.

        Raises
        ------
        ValueError
            If a line has no key or is not JSON.
        """
        for line in self.content.split(b"\n")[1:-1]:
            key, _, value = line.partition(b" ")
            if not KEY.match(key):
                raise ValueError("a line has no key")
            yield key.decode(), _parsed(value)

    def keeping(self, keys: Container[str]) -> KeyedLines:
        """Return the lines of those keys, after the line without one."""
        head, *lines = self.content.split(b"\n")[:-1]
        kept = [line for line in lines if line.partition(b" ")[0].decode() in keys]
        return KeyedLines(b"".join(line + b"\n" for line in [head, *kept]))

    def headed(self, head: Any) -> KeyedLines:
        """Return the lines with another one without a key."""
        return KeyedLines(_json(head) + b"\n" + self.content.split(b"\n", 1)[1])

    def _span(self, key: str) -> tuple[int, int] | None:
        # No line end stands within a line: JSON writes it as an escape.
        found = self.content.find(b"\n" + key.encode() + b" ")
        if found < 0:
            return None
        return found + 1, self.content.index(b"\n", found + 1) + 1


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("a line is nested too deeply") from None
