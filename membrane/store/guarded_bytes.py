"""Bytes that a file of the store keeps: they tell when they were changed or moved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from membrane.errors import StoreDamaged, StoreUnreadable, StoreUnwritable, WrongKey

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
        ...

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return the bytes encrypted."""
        ...

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return the bytes decrypted, or raise a `ValueError`."""
        ...


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

    def content(self, raw: bytes, purpose: str, seal: Seals | None) -> bytes:
        """Return the content of guarded bytes.

        Raises
        ------
        StoreDamaged
            If they are not what was written: cut, changed, of another purpose, or not encrypted
            where they must be.
        WrongKey
            If they are encrypted, and there is no key, or one that does not fit.
        """
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

    def unreadable(self, reason: str) -> StoreUnreadable:
        """Return the error for a file that cannot be read."""
        return StoreUnreadable(
            f"{self.what} {self.path} cannot be read ({reason}): check its permissions and its disk"
        )

    def unwritable(self, reason: str) -> StoreUnwritable:
        """Return the error for a file that cannot be written."""
        return StoreUnwritable(
            f"{self.what} {self.path} cannot be written ({reason}): "
            "check its permissions and the space on its disk"
        )

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
