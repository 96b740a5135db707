import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.errors import StoreError, WrongKey
from membrane.protection import keys, sealed_database
from membrane.protection.keys import Origin
from membrane.protection.sealed_database import (
    DATABASE_LINE,
    HASH_LINE_BYTES,
    is_sealed_database,
    sealing,
    unsealed,
)
from membrane.protection.sealing import TAG_BYTES, Seal, SealBroken
from membrane.store.unpickling import MALFORMED
from membrane.system.checks import NewerVersion

KEY = bytes(range(32))
ORIGIN = Origin("environment", "ab" * 16, "12" * 16)
SEAL = Seal(KEY, ORIGIN)
CHUNK = 64
CONTENT = bytes(range(256)) + b"the end"
"""Five chunks, the last one shorter."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(sealed_database, "CHUNK_BYTES", CHUNK)
    keys.forget()
    yield
    keys.forget()


def sealed_file(content=CONTENT, seal=SEAL):
    file = io.BytesIO()
    with sealing(file, seal) as writer:
        writer.write(content)
    return file.getvalue()


def opened(data, path, key=KEY):
    """Return the content of a sealed file of these bytes."""
    path.write_bytes(data)
    with path.open("rb") as file:
        assert is_sealed_database(file)
        memory, seal = unsealed(file, lambda _: key)
    return memory[:], seal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sealed"


def parts(data):
    """Return the header and the chunks of a sealed file."""
    lines = data.split(b"\n", 3)
    header = b"\n".join(lines[:3]) + b"\n"
    size = CHUNK + TAG_BYTES
    chunks = [lines[3][start : start + size] for start in range(0, len(lines[3]), size)]
    return header, chunks


def with_fields(data, **changes):
    """Return a sealed file whose header was changed by somebody who knows how to hash."""
    header, chunks = parts(data)
    fields = json.loads(header.split(b"\n")[1])
    lines = DATABASE_LINE + json.dumps({**fields, **changes}).encode() + b"\n"
    return lines + hashlib.sha256(lines).hexdigest().encode() + b"\n" + b"".join(chunks)


# A file that is sound


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 10 * CHUNK + 3])
def test_what_was_sealed_is_unsealed_whatever_its_length(path, length):
    content = os.urandom(length)
    assert opened(sealed_file(content), path)[0] == content


def test_it_does_not_matter_in_what_pieces_it_was_written(path):
    file = io.BytesIO()
    with sealing(file, SEAL) as writer:
        told = [writer.tell()]
        for piece in (b"", CONTENT[:1], CONTENT[1:150], CONTENT[150:]):
            assert writer.write(piece) == len(piece)
            told.append(writer.tell())
    assert told == [0, 0, 1, 150, len(CONTENT)]
    assert opened(file.getvalue(), path)[0] == CONTENT


def test_nothing_of_the_content_or_the_key_is_in_the_file():
    data = sealed_file(b"Anna and her secret" * 20, replace(SEAL, former=KEY[::-1]))
    for secret in (b"Anna", KEY, KEY.hex().encode(), KEY[::-1], KEY[::-1].hex().encode()):
        assert secret not in data


def test_the_same_content_is_never_sealed_in_the_same_way_twice():
    first, second = (parts(sealed_file())[1] for _ in range(2))
    assert not set(first) & set(second)


def test_the_seal_comes_back_with_the_file(path):
    seal = replace(SEAL, former=KEY[::-1], accepts_plain=True)
    _, found = opened(sealed_file(seal=seal), path)
    assert (found.key, found.origin, found.former, found.accepts_plain) == (
        *(KEY, ORIGIN, KEY[::-1], True),
    )


def test_a_passphrase_is_kept_only_once_the_whole_file_has_proved_it(path):
    with pytest.raises(WrongKey):
        opened(sealed_file(), path, key=KEY[::-1])
    assert keys._kept == {}
    opened(sealed_file(), path)
    assert keys._kept == {ORIGIN: KEY}


def test_the_representation_of_a_seal_does_not_hold_its_keys():
    told = repr(replace(SEAL, former=KEY[::-1]))
    assert repr(KEY) not in told
    assert repr(KEY[::-1]) not in told


# A file that is not


@pytest.mark.parametrize("source", keys.SOURCES)
def test_another_key_is_told_from_damage(path, source):
    scrypt = {"salt": "00", "cost": 16, "block": 8, "parallel": 1}
    origin = Origin(source, "ab" * 16, "12" * 16, **(scrypt if source == "passphrase" else {}))
    with pytest.raises(WrongKey, match="not the key of the voiceprint database"):
        opened(sealed_file(seal=Seal(KEY, origin)), path, key=KEY[::-1])


def test_every_flipped_bit_of_the_header_and_one_of_every_byte_after_it_is_noticed(path):
    data = sealed_file()
    header, _ = parts(data)
    for place in range(len(DATABASE_LINE), len(data)):
        for bit in range(8) if place < len(header) else [place % 8]:
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(SealBroken):
                opened(bytes(changed), path)


def test_every_bit_of_the_header_counts_even_if_it_was_hashed_anew(path):
    header, chunks = parts(sealed_file())
    lines = header[:-HASH_LINE_BYTES]
    for place in range(len(DATABASE_LINE), len(lines)):
        for bit in range(8):
            changed = bytearray(lines)
            changed[place] ^= 1 << bit
            hashed = bytes(changed) + hashlib.sha256(changed).hexdigest().encode() + b"\n"
            with pytest.raises((*MALFORMED, WrongKey)):
                opened(hashed + b"".join(chunks), path)


def test_every_truncation_is_noticed(path):
    data = sealed_file()
    for length in range(len(DATABASE_LINE), len(data)):
        with pytest.raises(SealBroken):
            opened(data[:length], path)


@pytest.mark.parametrize(
    "change",
    [
        lambda chunks: chunks[1:],
        lambda chunks: chunks[:-1],
        lambda chunks: chunks[:1],
        lambda chunks: [],
        lambda chunks: chunks[:2] + chunks[3:],
        lambda chunks: chunks[:2] + chunks[1:],
        lambda chunks: [*chunks, chunks[-1]],
        lambda chunks: [chunks[1], chunks[0], *chunks[2:]],
        lambda chunks: [chunks[-1], *chunks[1:-1], chunks[0]],
        lambda chunks: [*chunks, b"more"],
        lambda chunks: [*chunks[:-1], chunks[-1][:5]],
        lambda chunks: [*chunks, bytes(1000)],
    ],
    ids=[
        *("first left out", "last left out", "only the first", "none", "one left out"),
        *("one repeated", "last repeated", "two swapped", "ends swapped", "bytes follow"),
        *("shorter than its tag", "zeros follow"),
    ],
)
def test_chunks_that_are_not_where_they_were_written_are_noticed(path, change):
    header, chunks = parts(sealed_file())
    with pytest.raises(SealBroken):
        opened(header + b"".join(change(chunks)), path)


def test_a_chunk_of_another_file_under_the_same_key_is_noticed(path):
    header, chunks = parts(sealed_file())
    _, others = parts(sealed_file())
    with pytest.raises(SealBroken):
        opened(header + b"".join([chunks[0], others[1], *chunks[2:]]), path)


def test_the_header_of_another_file_under_the_same_key_is_noticed(path):
    _, chunks = parts(sealed_file())
    header, _ = parts(sealed_file())
    with pytest.raises(SealBroken):
        opened(header + b"".join(chunks), path)


def test_a_later_version_is_told_from_damage(path):
    with pytest.raises(NewerVersion, match="version 2"):
        opened(with_fields(sealed_file(), version=2), path)


def test_a_file_that_claims_to_be_huge_costs_little_and_is_damaged(path):
    path.write_bytes(sealed_file())
    os.truncate(path, 2**36)
    with path.open("rb") as file, pytest.raises((SealBroken, MemoryError)):
        unsealed(file, lambda _: KEY)


def test_a_file_that_shrinks_while_it_is_read_is_damaged(path):
    class Shrinking(io.BytesIO):
        def fileno(self):
            return file.fileno()

    path.write_bytes(sealed_file())
    with path.open("rb") as file, pytest.raises(SealBroken):
        unsealed(Shrinking(sealed_file()[:-100]), lambda _: KEY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(["version", "origin", "salt", "proof", "former", "accepts_plain"])


@given(changes=st.dictionaries(NAMES, JSON, min_size=1))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_hostile_header_opens_nothing(tmp_path, changes):
    with pytest.raises((*MALFORMED, StoreError)):
        opened(with_fields(sealed_file(), **changes), tmp_path / "hostile")


@given(origin=st.dictionaries(st.sampled_from(["source", "id", "salt", "cost", "x"]), JSON))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_hostile_origin_opens_nothing(tmp_path, origin):
    with pytest.raises((*MALFORMED, StoreError)):
        opened(with_fields(sealed_file(), origin=origin), tmp_path / "hostile")


def test_a_process_that_opens_one_leaves_no_core_dump(path):
    path.write_bytes(sealed_file())
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from membrane.protection import sealed_database\n"
        f"sealed_database.CHUNK_BYTES = {CHUNK}\n"
        "with Path(sys.argv[1]).open('rb') as file:\n"
        "    sealed_database.unsealed(file, lambda _: bytes.fromhex(sys.argv[2]))\n"
        "sys.exit(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
    )
    command = [sys.executable, "-c", code, str(path), KEY.hex()]
    assert subprocess.run(command, check=False).returncode == 0
