"""Bytes that a file of the store keeps: they tell when they were changed or moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from membrane.errors import StoreDamaged, WrongKey

Trouble = Callable[[str, Path], AbstractContextManager[None]]
"""`membrane.system.safe_files.reading` or `writing`."""

PLAIN = b"membrane plain 1 "
SEALED = b"membrane sealed 1 "
"""How bytes begin that are encrypted; what follows are plain ones."""

CHECKSUM = 64
"""Hexadecimal digits of SHA-256, which stand between `PLAIN` and a line end."""


class Seals(Protocol):
    """What encrypts and decrypts bytes; the purpose keeps some from passing for others."""

    @property
    def accepts_plain(self) -> bool:
        """Whether bytes may still be plain, because the database is being encrypted."""

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return the bytes encrypted."""

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return the bytes decrypted, or raise a `ValueError`."""


def guarded(content: bytes, purpose: str, seal: Seals | None) -> bytes:
    """Return what `KeptFile.content` reads: with a checksum, and encrypted if there is a seal."""
    plain = PLAIN + _checksum(content, purpose) + b"\n" + content
    return plain if seal is None else SEALED + seal.seal(plain, purpose)


@dataclass(frozen=True)
class KeptFile:
    """A file of guarded bytes, and what its errors say.

    Parameters
    ----------
    path : Path
    what : str
        What the file is to whoever reads the message.
    if_deleted : str
        What deleting it does.
    """

    path: Path
    what: str
    if_deleted: str

    def content(self, raw: object, purpose: str, seal: Seals | None) -> bytes:
        """Return the content of guarded bytes.

        Parameters
        ----------
        raw : object
            What was found in their place; a column of SQLite may hold any type.
        purpose : str
        seal : Seals or None

        Raises
        ------
        StoreDamaged
            If they are not what was written: cut, changed, of another purpose, or not encrypted
            where they must be.
        WrongKey
            If they are encrypted, and there is no key, or one that does not fit.
        """
        if not isinstance(raw, bytes):
            raise self.damaged()
        if raw.startswith(SEALED):
            return self._checked(self._unsealed(raw[len(SEALED) :], purpose, seal), purpose)
        content = self._checked(raw, purpose)
        if seal is not None and not seal.accepts_plain:
            raise self.damaged("it is not encrypted, as the database is")
        return content

    def damaged(self, reason: str = "it was cut or changed, or is another file") -> StoreDamaged:
        """Return the error for content that makes no sense, with the remedy."""
        return StoreDamaged(
            f"{self.what} {self.path} is not sound ({reason}): deleting it {self.if_deleted}"
        )

    @contextmanager
    def explained(self, trouble: Trouble) -> Iterator[None]:
        """Turn what goes wrong with the file, or its content, into one line that says what to do.

        Parameters
        ----------
        trouble : callable
            What is being done with the file.

        Raises
        ------
        StoreUnreadable or StoreUnwritable
            In the place of an `OSError`.
        StoreDamaged
            In the place of a `ValueError`, which content that makes no sense raises.
        """
        with trouble(self.what, self.path):
            try:
                yield
            except ValueError:
                raise self.damaged("its content makes no sense") from None

    def _unsealed(self, sealed: bytes, purpose: str, seal: Seals | None) -> bytes:
        if seal is None:
            raise WrongKey(
                f"{self.what} {self.path} is encrypted, and there is no key: "
                "give the key of the database"
            )
        try:
            return seal.unseal(sealed, purpose)
        except ValueError:
            raise WrongKey(
                f"{self.what} {self.path} cannot be decrypted: give the key of the database, or, "
                f"if that was it, the file is damaged, and deleting it {self.if_deleted}"
            ) from None

    def _checked(self, raw: bytes, purpose: str) -> bytes:
        start = len(PLAIN) + CHECKSUM + 1
        content = raw[start:]
        if raw[:start] != PLAIN + _checksum(content, purpose) + b"\n":
            raise self.damaged()
        return content


def _checksum(content: bytes, purpose: str) -> bytes:
    return hashlib.sha256(purpose.encode() + b"\n" + content).hexdigest().encode()
