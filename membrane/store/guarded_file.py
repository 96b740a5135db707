"""One small file beside the database: read whole or refused, replaced whole or not at all."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Protocol

from membrane.errors import StoreDamaged, StoreUnreadable, StoreUnwritable, WrongKey
from membrane.store.safe_files import created, keep_owner, sync_folder

PLAIN = b"membrane plain 1 "
SEALED = b"membrane sealed 1 "
"""How a file begins that is encrypted; what follows is one that is plain."""

CHECKSUM = 64
"""Hexadecimal digits of SHA-256, which stand between `PLAIN` and a line end."""

LONGEST_FILE = 64 * 1024 * 1024
"""Bytes that are read at most; ten thousand names with all that is kept of them are about 30 MB."""


class Seals(Protocol):
    """What encrypts and decrypts a file; the purpose keeps one file from passing for another."""

    @property
    def accepts_plain(self) -> bool:
        """Whether a file may still be plain, because the database is being encrypted."""
        ...

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return the bytes encrypted."""
        ...

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return the bytes decrypted, or raise a `ValueError`."""
        ...


class GuardedFile:
    """A file of bytes that tells when it was cut, changed, or put in another's place.

    Parameters
    ----------
    path : Path
    what : str
        What it is to whoever reads the message of an error.
    purpose : str
        What it is for; a file of another purpose is refused.
    if_deleted : str
        What deleting it does, for the message about a damaged one.
    like : Path
        The file whose owner it belongs to, when an administrator writes it.
    """

    def __init__(self, path: Path, *, what: str, purpose: str, if_deleted: str, like: Path) -> None:
        self.path = path
        self._new = path.with_name(path.name + ".new")
        self._what = what
        self._purpose = purpose
        self._if_deleted = if_deleted
        self._like = like

    def read(self, seal: Seals | None) -> bytes | None:
        """Return the content; None if there is no such file.

        Raises
        ------
        StoreDamaged
            If it is not what was written: cut, changed, of another purpose, or not encrypted where
            it must be.
        WrongKey
            If it is encrypted, and there is no key, or one that does not fit.
        StoreUnreadable
            If it cannot be read.
        """
        try:
            raw = self._raw()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnreadable(
                f"{self._what} {self.path} cannot be read ({error.strerror}): "
                "check its permissions and its disk"
            ) from None
        if raw.startswith(SEALED):
            return self._checked(self._unsealed(raw[len(SEALED) :], seal))
        content = self._checked(raw)
        if seal is not None and not seal.accepts_plain:
            raise self.damaged("it is not encrypted, as the database is")
        return content

    def write(self, content: bytes, seal: Seals | None) -> None:
        """Replace the file, and see it onto the disk; the caller holds a lock.

        Raises
        ------
        StoreUnwritable
            If it cannot be written. It is then as it was.
        """
        raw = PLAIN + self._checksum(content) + b"\n" + content
        if seal is not None:
            raw = SEALED + seal.seal(raw, self._purpose)
        try:
            self._replace(raw)
        except OSError as error:
            raise self._unwritable(error) from None

    def reseal(self, old: Seals | None, new: Seals | None) -> None:
        """Write the file anew, under another key; the caller holds a lock.

        One that is under the new key already, because an earlier try was interrupted, stays so.

        Raises
        ------
        StoreError
            As `read` and `write` do.
        """
        try:
            content = self.read(old)
        except (StoreDamaged, WrongKey) as error:
            try:
                content = self.read(new)
            except (StoreDamaged, WrongKey):
                raise error from None
        if content is not None:
            self.write(content, new)

    def remove(self) -> None:
        """Remove the file, if there is one, and what a crash left of it.

        Raises
        ------
        StoreUnwritable
            If it cannot be removed.
        """
        try:
            self._new.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def damaged(self, reason: str) -> StoreDamaged:
        """Return the error for content that makes no sense, with the remedy."""
        return StoreDamaged(
            f"{self._what} {self.path} is not sound ({reason}): deleting it {self._if_deleted}"
        )

    def _raw(self) -> bytes:
        facts = self.path.stat()
        # Not to wait for somebody to write into a pipe of that name.
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, "it is not a file")
        if facts.st_size > LONGEST_FILE:
            raise self.damaged("it is too large")
        return self.path.read_bytes()

    def _unsealed(self, sealed: bytes, seal: Seals | None) -> bytes:
        if seal is None:
            raise WrongKey(
                f"{self._what} {self.path} is encrypted, and there is no key: "
                "give the key of the database"
            )
        try:
            return seal.unseal(sealed, self._purpose)
        except ValueError:
            raise WrongKey(
                f"{self._what} {self.path} cannot be decrypted: give the key of the database, or, "
                f"if that was it, the file is damaged, and deleting it {self._if_deleted}"
            ) from None

    def _checked(self, raw: bytes) -> bytes:
        start = len(PLAIN) + CHECKSUM + 1
        content = raw[start:]
        if raw[:start] != PLAIN + self._checksum(content) + b"\n":
            raise self.damaged("it was cut or changed, or is another file")
        return content

    def _checksum(self, content: bytes) -> bytes:
        digest = hashlib.sha256(self._purpose.encode() + b"\n")
        digest.update(content)
        return digest.hexdigest().encode()

    def _replace(self, raw: bytes) -> None:
        new = self._new
        try:
            # What a crash left; whoever holds the lock may.
            new.unlink(missing_ok=True)
            with created(new) as file:
                keep_owner(file, self._like)
                file.write(raw)
            new.replace(self.path)
            sync_folder(self.path.parent)
        finally:
            new.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> StoreUnwritable:
        return StoreUnwritable(
            f"{self._what} {self.path} cannot be written ({error.strerror}): "
            "check its permissions and the space on its disk"
        )
