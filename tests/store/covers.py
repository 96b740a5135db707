"""A seal for tests: it tells its key and its purpose, hides the rest, and notices changes."""

from __future__ import annotations

import hashlib
import hmac


class Cover:
    """Stands for a seal."""

    def __init__(self, key, *, accepts_plain=False):
        self._key = key.encode()
        self.accepts_plain = accepts_plain

    def seal(self, plain, purpose):
        return self._proof(plain, purpose) + bytes(byte ^ 0xFF for byte in plain)

    def unseal(self, sealed, purpose):
        plain = bytes(byte ^ 0xFF for byte in sealed[32:])
        if not hmac.compare_digest(sealed[:32], self._proof(plain, purpose)):
            raise ValueError("not sealed with this key")
        return plain

    def _proof(self, plain, purpose):
        return hmac.digest(self._key, purpose.encode() + b"\0" + plain, hashlib.sha256)
