"""The seal: what the keys of a database encrypt, and stamp, beside the database itself.

Every key is derived with HKDF-SHA-256 (RFC 5869) from the master key, for one purpose, and where it
encrypts, for one salt of 256 random bits: so no nonce of AES-256-GCM (NIST SP 800-38D) is ever used
twice, however often a file is written, which random nonces of 96 bits do not promise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from membrane.protection.keys import KEY_BYTES, Origin

BLOB_LINE = b"membrane sealed\n"

TAG_BYTES = 16
SALT_BYTES = 32
"""Salts of 256 bits never meet again."""

NONCE = bytes(12)
"""Each key encrypts once."""


class SealBroken(ValueError):
    """What was sealed was changed, cut off, or sealed under another key or for another purpose."""


@dataclass(frozen=True, eq=False)
class Seal:
    """What seals the files of one database.

    Parameters
    ----------
    key : bytes
        The master key.
    origin : Origin
        Where it comes from.
    former : bytes
        The master key before this one, while files may still be sealed under it; else empty.
    accepts_plain : bool
        Whether other files of the database may still be plain, because it is being protected.
    """

    key: bytes = field(repr=False)
    origin: Origin
    former: bytes = field(default=b"", repr=False)
    accepts_plain: bool = False

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Return some bytes sealed: for a file that is small and written whole.

        Parameters
        ----------
        plain : bytes
        purpose : str
            What they are; they cannot be unsealed as anything else, nor for another database.
        """
        salt = os.urandom(SALT_BYTES)
        sealed: bytes = self._cipher(self.key, salt, purpose).encrypt(NONCE, plain, None)
        return BLOB_LINE + salt + sealed

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return what was sealed for the same purpose, under this key or the former one.

        Raises
        ------
        SealBroken
            If it is not what was sealed.
        """
        from cryptography.exceptions import InvalidTag

        salt, content = sealed[len(BLOB_LINE) :][:SALT_BYTES], sealed[len(BLOB_LINE) + SALT_BYTES :]
        if not is_sealed(sealed) or len(content) < TAG_BYTES:
            raise SealBroken("it is not sealed, or cut off")
        for key in filter(None, (self.key, self.former)):
            try:
                plain: bytes = self._cipher(key, salt, purpose).decrypt(NONCE, content, None)
            except InvalidTag:
                continue
            return plain
        raise SealBroken("it was changed, or sealed under another key")

    def mac_key(self, purpose: str) -> bytes:
        """Return 32 bytes that only whoever has the key can know, the same for the same key.

        Two databases under one key have two of them: nothing of one passes for the other's.

        Parameters
        ----------
        purpose : str
            Keys for two purposes say nothing of each other.
        """
        # The number of the database outlives its keys: a former key gives what it gave.
        return derived(self.key, bytes.fromhex(self.origin.database), f"membrane mac {purpose}")

    def _cipher(self, key: bytes, salt: bytes, purpose: str) -> Any:
        return cipher(derived(key, salt, f"membrane sealed {self.origin.database} {purpose}"))


def is_sealed(content: bytes) -> bool:
    """Return whether some bytes come from `Seal.seal`."""
    return content.startswith(BLOB_LINE)


def derived(key: bytes, salt: bytes, info: str, *, size: int = KEY_BYTES) -> bytes:
    """Return so many bytes of key (HKDF-SHA-256, RFC 5869).

    Parameters
    ----------
    key : bytes
        The master key.
    salt : bytes
    info : str
        What they are for.
    size : int, bytes
    """
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    made: bytes = HKDF(SHA256(), size, salt, info.encode()).derive(key)
    return made


def cipher(key: bytes) -> Any:
    """Return AES-256-GCM under a key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
