"""The contract for the decision log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from membrane.store.log.check import LogCheck
from membrane.store.log.lines import Fields


class Log(Protocol):
    """What was decided and done, one line after another, none of which can be taken unnoticed.

    Any number of processes and threads may write to it at once. A line is on the disk when `append`
    returns. Where a log cannot be read or written, every method raises a `StoreError`.
    """

    def exists(self) -> bool:
        """Return whether anything was ever written."""

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write a line.

        Parameters
        ----------
        entry : mapping
            JSON values. What must not be told (sound, the words of a passphrase, anybody's name)
            must not stand in it.

        Raises
        ------
        StoreError
            If it cannot be written.
        ValueError
            If a field is one of the log's own, or a value none that JSON has.
        """

    def entries(self) -> Iterator[Fields]:
        """Yield the lines that are kept, oldest first; those that were changed are left out."""

    def verify(self) -> LogCheck:
        """Return what somebody removed, added or changed."""

    def stamped_with(self, mac_key: bytes | None) -> Log:
        """Return the same log, as whoever has another key, or none, sees it."""

    def hand_over(self, mac_key: bytes | None, entry: Mapping[str, Any]) -> None:
        """Let another key, or none, stamp from here on.

        What the present key finds wrong is written down first: nobody can look again later.

        Parameters
        ----------
        mac_key : bytes or None
            The new key.
        entry : mapping
            What is done, as in `append`.
        """
