"""The contract for what is kept of logins: failures, prompts and recent recordings, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from membrane.store.guarded_bytes import Seals


@dataclass(frozen=True)
class Turn:
    """One attempt that has begun, and counts as failed until something else is known.

    Parameters
    ----------
    key : str
        What stands for the name.
    mark : str
        Tells it from all others.
    """

    key: str
    mark: str


class LoginState(Protocol):
    """What is kept of the logins to one database.

    Any number of processes and threads may use it at once. Every change is one transaction: it is
    on the disk when the method returns, and a process that is killed leaves all of it or nothing.
    Names that are enrolled and names that are not are treated alike; no name is stored, only a
    keyed hash of it (`membrane.store.login_record.key_of`), and every spelling has the same one.
    Where the database is encrypted, all that is kept of a name is encrypted too.

    If the state cannot be read, trusted or written, every method raises a `StoreError`, and nobody
    is let in. A state that does not exist begins anew.
    """

    @property
    def secret(self) -> bytes:
        """32 random bytes, made once and the same for as long as the state exists."""

    def begin(self, name: str) -> Turn:
        """Count an attempt as failed, before it is judged, so that a kill gives no free try.

        Parameters
        ----------
        name : str
            As it was claimed; empty for whoever claims none.

        Raises
        ------
        LockedOut
            If that name must wait or is locked (`membrane.store.lockout`).
        StoreError
            If the count cannot be kept: then nothing may be judged.
        """

    def require_open(self, name: str) -> None:
        """Refuse whoever must wait, without counting anything.

        Raises
        ------
        LockedOut
            If that name must wait or is locked.
        """

    def withdraw(self, turn: Turn) -> None:
        """Undo the failure of what was no attempt to log in."""

    def forgive(self, turn: Turn) -> None:
        """Undo the failure of an attempt that could not be judged, unless too many were so."""

    def succeed(self, turn: Turn, fingerprint: bytes = b"") -> None:
        """Forget the failures up to an attempt that was accepted, and remember its recording.

        Parameters
        ----------
        turn : Turn
        fingerprint : bytes
            Of the recording; empty if it is not to be remembered.
        """

    def remember_recording(self, name: str, fingerprint: bytes) -> None:
        """Keep the recording of an accepted login, where no attempt is counted."""

    def remember_prompt(self, name: str, text: str) -> None:
        """Remember what a name is asked to say, before it is shown."""

    def recent_recordings(self, name: str) -> tuple[bytes, ...]:
        """Return the fingerprints of a name's last 20 accepted logins, the latest at the end."""

    def recent_prompts(self, name: str) -> tuple[str, ...]:
        """Return the last 20 prompts that a name was shown, the latest at the end."""

    def state_of(self, name: str) -> dict[str, Any]:
        """Return all that is kept of a name, as JSON values."""

    def unlock(self, name: str) -> bool:
        """Forget the failures of a name; return whether there were any."""

    def forget(self, name: str) -> None:
        """Erase all that is kept of a name."""

    def clear(self) -> None:
        """Erase all that is kept of every name; the secret stays."""

    def reseal(self, seal: Seals | None) -> None:
        """Encrypt everything under another key, or decrypt it; if interrupted, do it again.

        Parameters
        ----------
        seal : Seals or None
            None to encrypt nothing.
        """
