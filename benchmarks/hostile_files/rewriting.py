"""Files that are whole, checksum and all, and hold what nobody wrote: only a key prevents that."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from benchmarks.hostile_files.columns import HOSTILE_VALUES, rewrite_columns
from benchmarks.hostile_files.damage import Chance, Damage, any_of
from benchmarks.hostile_files.stored import DATABASE, HEAD, LOG, LOGINS, SEALED
from membrane.record.lines import NOTHING, Stamp, hash_of
from membrane.store.guarded_bytes import CHECKSUM, PLAIN, guarded

SHA256_LINE = hashlib.sha256().digest_size * 2 + 1
"""Hexadecimal digits and a line end."""

GUARD = len(PLAIN) + CHECKSUM + 1
"""Bytes before the content of a row of the record of logins."""

SQLITE_HEADER = 100
"""Bytes before the first page's content (https://sqlite.org/fileformat2.html, section 1.3)."""

ALL_ROWS = "SELECT number, kind, key, content FROM kept ORDER BY number"
CHANGE = "UPDATE kept SET content = ? WHERE number = ?"

STAMPS = ("previous", "by", "hash")
"""What the log puts into its lines itself."""


def hostile(value: Any, chance: Chance) -> Any:
    """Return a JSON value with another one somewhere in it, or with something left out or added."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = any_of([*value, "unknown"], chance)
        kept = {one: value[one] for one in value if one != name or chance.random() < 0.9}
        return {**kept, name: hostile(value.get(name), chance)} if name in kept else kept
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = int(chance.integers(len(value)))
        return [*value[:place], hostile(value[place], chance), *value[place + 1 :]]
    return any_of(HOSTILE_VALUES, chance)


def rewrite_logins(damage: Damage) -> None:
    """Put another value into a row of the record of logins."""
    with _rows_of(damage.content) as rows:
        number, kind, key, raw = any_of(rows.execute(ALL_ROWS).fetchall(), damage.chance)
        value = hostile(json.loads(raw[GUARD:]), damage.chance)
        rows.execute(CHANGE, (_guarded(json.dumps(value).encode(), kind, key), number))


def logins_mended(content: bytearray) -> None:
    """Make the checksums in a record of logins right, as far as SQLite still reads it."""
    with suppress(sqlite3.Error, MemoryError), _rows_of(content) as rows:
        for number, kind, key, raw in rows.execute(ALL_ROWS).fetchall():
            if isinstance(raw, bytes):
                rows.execute(CHANGE, (_guarded(raw[GUARD:], kind, key), number))


def _guarded(content: bytes, kind: str, key: str) -> bytes:
    return guarded(content, f"logins {kind} {key}", None)


@contextmanager
def _rows_of(content: bytearray) -> Iterator[sqlite3.Connection]:
    """Change the rows of a SQLite file in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(bytes(content))
        yield connection
        # The counter of changes stays as it was.
        content[SQLITE_HEADER:] = connection.serialize()[SQLITE_HEADER:]


def rewrite_header(damage: Damage) -> None:
    """Put another value into the header of an encrypted database."""
    first, header, _, rest = damage.sound.content.split(b"\n", 3)
    changed = json.dumps(hostile(json.loads(header), damage.chance)).encode()
    damage.content[:] = b"\n".join([first, changed, bytes(SHA256_LINE - 1), rest])
    header_mended(damage.content)


def header_mended(content: bytearray) -> None:
    """Make the hash of the header of an encrypted database right."""
    end = content.find(b"\n", content.find(b"\n") + 1) + 1
    if end:
        digest = hashlib.sha256(content[:end]).hexdigest().encode()
        content[end : end + SHA256_LINE] = digest + b"\n"


def rewrite_log(damage: Damage) -> None:
    """Put another value into a line of the decision log, and stamp all lines anew."""
    lines = [json.loads(line) for line in damage.sound.content.splitlines()]
    place = int(damage.chance.integers(len(lines)))
    written, previous = [], NOTHING
    for number, fields in enumerate(lines):
        entry = {name: fields[name] for name in fields if name not in STAMPS}
        if number == place:
            entry = _as_json(hostile(entry, damage.chance), entry)
        written.append(Stamp().line({**entry, "previous": previous}))
        previous = hash_of(written[-1])
    damage.content[:] = b"\n".join([*written, b""])


def rewrite_head(damage: Damage) -> None:
    """Put another value into the head of the decision log, and stamp it anew."""
    head = json.loads(damage.sound.content)
    fields = {name: head[name] for name in head if name not in STAMPS}
    damage.content[:] = Stamp().line(_as_json(hostile(fields, damage.chance), fields))


def _as_json(value: Any, otherwise: dict[str, Any]) -> dict[str, Any]:
    """Return an object that JSON has and a line may hold, or the one that was there."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return otherwise
    return value if isinstance(value, dict) else otherwise


REWRITINGS: dict[str, Callable[[Damage], None]] = {
    DATABASE: rewrite_columns,
    SEALED: rewrite_header,
    LOGINS: rewrite_logins,
    LOG: rewrite_log,
    HEAD: rewrite_head,
}
