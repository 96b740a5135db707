"""A sealed database: encrypted, and refused whole if a single bit is not what was written.

Conventions
-----------
A sealed database is three lines and then chunks::

    membrane sealed database
    {"version": 1, "origin": {...}, "salt": "...", "proof": "...", ...}
    <SHA-256 of the two lines above, hexadecimal>
    <chunk><chunk>...<last chunk>

Each chunk is `CHUNK_BYTES` of the content, the last one what is left, under AES-256-GCM (NIST SP
800-38D), with a tag of 16 bytes. The nonce is prefix, number of the chunk, and whether it is the
last: the STREAM construction, which sees chunks that were swapped, left out, repeated or cut off.
The three lines are the associated data of every chunk.

Key and prefix are derived with HKDF-SHA-256 (RFC 5869) from the master key and a salt that is drawn
for each file, so that no nonce is ever used twice, however often a file is written: no random nonce
of 96 bits promises that, and a wrapped key would be one thing more to keep. The *proof* comes out
of the same derivation. It tells a wrong key from damage, and ties the file to a single key, which
AES-GCM alone does not: a file that opens under many keys lets many passphrases be tried at once.
The hash is no secret's: it tells a damaged header from a wrong key. While the key changes, the
header also holds the former one, sealed, for the other files of the database.

References
----------
Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", CRYPTO 2015 (STREAM). Len, Grubbs and Ristenpart, "Partitioning Oracle Attacks",
USENIX Security 2021 (why the key is proved).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, Any

from membrane.errors import WrongKey
from membrane.protection.keys import KEY_BYTES, Origin, asked_once, keep
from membrane.protection.sealing import SALT_BYTES, TAG_BYTES, Seal, SealBroken, cipher, derived
from membrane.system.checks import NewerVersion

DATABASE_LINE = b"membrane sealed database\n"
VERSION = 1

FORMER = "former key"
"""Purpose of the former key in a header."""

CHUNK_BYTES = 2**20
"""Content of a chunk: the tags are then 0.002 % of the file, and what is decrypted fits the
processor's cache."""

PREFIX_BYTES = 7
COUNTER_BYTES = 4
"""2**32 chunks: 4 PiB. With the byte that says whether it is the last, 12 bytes of nonce."""

PROOF_BYTES = 32
"""No two keys with one proof can be found: 2**128 attempts."""

MOST_LINE_BYTES = 4096
"""Of a line of the header; the longest is 600."""

HASH_LINE_BYTES = 2 * hashlib.sha256().digest_size + 1

REMEDIES = {
    "keyring": "log in as whoever protected it",
    "environment": "set MEMBRANE_KEY to the key it was protected with",
    "passphrase": "try again with the passphrase it was protected with",
}
"""What to do about a key that is another one, by where it comes from."""

Unlock = Callable[[Origin], bytes]


def is_sealed_database(file: IO[bytes]) -> bool:
    """Return whether a file that was just opened is a sealed database; leave it at its start."""
    line = file.read(len(DATABASE_LINE))
    file.seek(0)
    return line == DATABASE_LINE


@contextmanager
def sealing(file: IO[bytes], seal: Seal) -> Iterator[SealingWriter]:
    """Write a sealed database: what is written into the `with` goes into the file sealed."""
    salt = os.urandom(SALT_BYTES)
    stream = _Stream.of(seal.key, salt)
    header = _header(seal, salt, stream.proof)
    file.write(header)
    writer = SealingWriter(file, stream, header)
    yield writer
    writer.seal_chunk(last=True)


class SealingWriter:
    """What `joblib.dump` may write to; made by `sealing`."""

    def __init__(self, file: IO[bytes], stream: _Stream, header: bytes) -> None:
        self._file, self._stream, self._header = file, stream, header
        self._waiting = bytearray()
        self._chunks = 0

    def write(self, data: bytes) -> int:
        """Take bytes, and seal whatever chunks are full."""
        self._waiting += data
        # One byte more: the last chunk of all must be left for the end.
        while len(self._waiting) > CHUNK_BYTES:
            self.seal_chunk(last=False)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were taken."""
        return self._chunks * CHUNK_BYTES + len(self._waiting)

    def seal_chunk(self, *, last: bool) -> None:
        """Seal a chunk, or what is left if it is the last."""
        plain = bytes(self._waiting[:CHUNK_BYTES])
        nonce = self._stream.nonce(self._chunks, last=last)
        self._file.write(self._stream.cipher.encrypt(nonce, plain, self._header))
        del self._waiting[:CHUNK_BYTES]
        self._chunks += 1


def unsealed(file: IO[bytes], unlock: Unlock) -> tuple[mmap.mmap, Seal]:
    """Return the content of a sealed database, in locked memory, and its seal.

    Parameters
    ----------
    file : binary file
        At its start.
    unlock : callable
        Returns the master key of an origin.

    Raises
    ------
    WrongKey
        If the key is another one; and whatever `unlock` raises.
    NewerVersion
        If it was written by a later Membrane.
    SealBroken, or another of `membrane.store.unpickling.MALFORMED`
        If a single bit is not what was written; nothing of the content is returned.
    MemoryError
        If there is not enough memory.
    """
    header, fields = _read_header(file)
    origin = Origin(**fields["origin"])
    with asked_once(origin):
        key = unlock(origin)
        stream = _Stream.of(key, bytes.fromhex(fields["salt"]))
        if not hmac.compare_digest(stream.proof.hex(), fields["proof"]):
            raise WrongKey(
                f"that is not the key of the voiceprint database: {REMEDIES[origin.source]}"
            )
        memory = _decrypted(file, stream, header)
        keep(origin, key)
    seal = Seal(key, origin, accepts_plain=bool(fields["accepts_plain"]))
    if fields["former"]:
        seal = replace(seal, former=seal.unseal(bytes.fromhex(fields["former"]), FORMER))
    return memory, seal


@dataclass(frozen=True, eq=False)
class _Stream:
    """What one file is encrypted with."""

    cipher: Any
    prefix: bytes
    proof: bytes

    @classmethod
    def of(cls, key: bytes, salt: bytes) -> _Stream:
        made = derived(key, salt, "membrane database", size=KEY_BYTES + PREFIX_BYTES + PROOF_BYTES)
        return cls(
            cipher(made[:KEY_BYTES]),
            prefix=made[KEY_BYTES:-PROOF_BYTES],
            proof=made[-PROOF_BYTES:],
        )

    def nonce(self, chunk: int, *, last: bool) -> bytes:
        return self.prefix + chunk.to_bytes(COUNTER_BYTES) + bytes([last])


def _header(seal: Seal, salt: bytes, proof: bytes) -> bytes:
    fields = {
        "version": VERSION,
        "origin": seal.origin.as_json(),
        "salt": salt.hex(),
        "proof": proof.hex(),
        "former": seal.seal(seal.former, FORMER).hex() if seal.former else "",
        "accepts_plain": seal.accepts_plain,
    }
    lines = DATABASE_LINE + json.dumps(fields, separators=(",", ":")).encode() + b"\n"
    return lines + _hash_line(lines)


def _read_header(file: IO[bytes]) -> tuple[bytes, dict[str, Any]]:
    """Return the lines of the header and what they say."""
    lines = file.readline(MOST_LINE_BYTES) + file.readline(MOST_LINE_BYTES)
    hash_line = file.read(HASH_LINE_BYTES)
    if not lines.startswith(DATABASE_LINE) or hash_line != _hash_line(lines):
        raise SealBroken("its header was changed or is cut off")
    fields = json.loads(lines[len(DATABASE_LINE) :])
    if type(fields["version"]) is not int:
        raise SealBroken("its version is not a number")
    if fields["version"] != VERSION:
        raise NewerVersion(f"its seal has version {fields['version']}")
    return lines + hash_line, fields


def _hash_line(lines: bytes) -> bytes:
    return hashlib.sha256(lines).hexdigest().encode() + b"\n"


def _decrypted(file: IO[bytes], stream: _Stream, header: bytes) -> mmap.mmap:
    from cryptography.exceptions import InvalidTag

    size = _content_bytes(os.fstat(file.fileno()).st_size - len(header))
    forbid_core_dumps()
    memory = _private_memory(size)
    for chunk, start in enumerate(range(0, size, CHUNK_BYTES)):
        length = min(CHUNK_BYTES, size - start)
        nonce = stream.nonce(chunk, last=start + length == size)
        try:
            with memoryview(memory)[start : start + length] as plain:
                stream.cipher.decrypt_into(nonce, file.read(length + TAG_BYTES), header, plain)
        except (InvalidTag, ValueError):
            raise SealBroken("a part of it was changed, moved or cut off") from None
    return memory


def _private_memory(size: int) -> mmap.mmap:
    """Return memory of this process alone, which takes no room before it is filled."""
    # Shared memory, which is the default, would be one with that of a forked child.
    private = {} if os.name == "nt" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    try:
        return mmap.mmap(-1, size, **private)
    except (OSError, OverflowError):
        raise MemoryError(f"{size} bytes are not to be had") from None


def forbid_core_dumps() -> None:
    """Leave no core dump of this process from now on: it would hold the key and what was sealed."""
    if sys.platform == "win32":
        return
    import resource

    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _content_bytes(sealed_bytes: int) -> int:
    """Return how much is in chunks that are so long together."""
    full, rest = divmod(sealed_bytes, CHUNK_BYTES + TAG_BYTES)
    if full + rest == 0 or 0 < rest <= TAG_BYTES:
        raise SealBroken("it is cut off")
    return full * CHUNK_BYTES + (rest - TAG_BYTES if rest else 0)
