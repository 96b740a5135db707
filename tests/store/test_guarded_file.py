import errno
import hashlib
import hmac
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.errors import StoreDamaged, StoreError, StoreUnreadable, StoreUnwritable, WrongKey
from membrane.store import guarded_file
from membrane.store.guarded_file import GuardedFile

CONTENT = b"what is kept\n" * 20


class Broken(ValueError):
    pass


class Cover:
    """Stands for a seal: it tells its key and its purpose, and hides nothing."""

    def __init__(self, key, *, accepts_plain=False):
        self._key = key
        self.accepts_plain = accepts_plain

    def seal(self, plain, purpose):
        return self._proof(plain, purpose) + bytes(byte ^ 0xFF for byte in plain)

    def unseal(self, sealed, purpose):
        plain = bytes(byte ^ 0xFF for byte in sealed[32:])
        if not hmac.compare_digest(sealed[:32], self._proof(plain, purpose)):
            raise Broken("not sealed with this key")
        return plain

    def _proof(self, plain, purpose):
        return hmac.digest(self._key, purpose.encode() + b"\0" + plain, hashlib.sha256)


ONE, OTHER = Cover(b"one"), Cover(b"other")


@pytest.fixture
def make(tmp_path):
    def made(name="kept", purpose="a purpose"):
        return GuardedFile(
            tmp_path / name,
            what="the record",
            purpose=purpose,
            if_deleted="starts anew",
            like=tmp_path / "database",
        )

    return made


@pytest.fixture
def file(make):
    return make()


@pytest.mark.parametrize("seal", [None, ONE])
def test_what_is_written_is_read(file, seal):
    assert file.read(seal) is None
    for content in (CONTENT, b"", b"\n"):
        file.write(content, seal)
        assert file.read(seal) == content
    assert [path.name for path in file.path.parent.iterdir()] == ["kept"]


@pytest.mark.parametrize("seal", [None, ONE])
def test_any_changed_byte_and_any_cut_is_noticed(file, seal):
    file.write(CONTENT, seal)
    whole = file.path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        for damaged in (bytes(changed), whole[:place]):
            file.path.write_bytes(damaged)
            with pytest.raises((StoreDamaged, WrongKey)):
                file.read(seal)
    file.path.write_bytes(whole + b"\n")
    with pytest.raises((StoreDamaged, WrongKey), match="deleting it starts anew"):
        file.read(seal)


@given(st.binary(max_size=200), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_without_a_traceback(file, some, sealed):
    file.path.write_bytes(guarded_file.SEALED + some if sealed else some)
    for seal in (None, ONE):
        with pytest.raises((StoreDamaged, WrongKey)):
            file.read(seal)


def test_a_file_in_the_place_of_another_is_refused(make):
    for seal in (None, ONE):
        one, other = make("one", "one person"), make("other", "another person")
        one.write(CONTENT, seal)
        one.path.replace(other.path)
        with pytest.raises((StoreDamaged, WrongKey)):
            other.read(seal)


def test_an_encrypted_file_needs_its_key(file):
    file.write(CONTENT, ONE)
    assert CONTENT not in file.path.read_bytes()
    with pytest.raises(WrongKey, match="there is no key"):
        file.read(None)
    with pytest.raises(WrongKey, match="cannot be decrypted"):
        file.read(OTHER)


def test_a_plain_file_is_refused_where_it_must_be_encrypted(file):
    file.write(CONTENT, None)
    with pytest.raises(StoreDamaged, match="not encrypted"):
        file.read(ONE)


def test_a_plain_file_is_read_while_the_database_is_being_encrypted(file):
    file.write(CONTENT, None)
    assert file.read(Cover(b"one", accepts_plain=True)) == CONTENT


@pytest.mark.parametrize("old", [None, ONE])
@pytest.mark.parametrize("new", [None, OTHER])
def test_a_file_gets_another_key_and_may_have_got_it_before(file, old, new):
    file.reseal(old, new)
    assert not file.path.exists()
    file.write(CONTENT, old)
    for _ in range(2):
        file.reseal(old, new)
        assert file.read(new) == CONTENT


def test_a_file_under_a_third_key_gets_no_other(file):
    file.write(CONTENT, ONE)
    before = file.path.read_bytes()
    with pytest.raises(StoreError):
        file.reseal(OTHER, None)
    assert file.path.read_bytes() == before


def test_a_full_disk_leaves_the_file_as_it_was(file, monkeypatch):
    file.write(CONTENT, None)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreUnwritable, match="No space left"):
            file.write(b"new", None)
    assert file.read(None) == CONTENT
    assert [path.name for path in file.path.parent.iterdir()] == ["kept"]


def test_what_a_crash_left_is_overwritten_and_removed(file):
    unfinished = file.path.with_name("kept.new")
    unfinished.write_bytes(b"half")
    file.write(CONTENT, None)
    assert not unfinished.exists()
    unfinished.write_bytes(b"half")
    file.remove()
    assert not list(file.path.parent.iterdir())
    file.remove()


@pytest.mark.parametrize("make_node", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_read(file, make_node):
    make_node(file.path)
    with pytest.raises(StoreUnreadable, match="not a file"):
        file.read(None)


def test_a_file_that_is_too_large_is_not_read(file, monkeypatch):
    file.write(CONTENT, None)
    monkeypatch.setattr(guarded_file, "LONGEST_FILE", 100)
    with pytest.raises(StoreDamaged, match="too large"):
        file.read(None)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_its_owner_may_read_a_file_whatever_the_umask(file, umask):
    before = os.umask(umask)
    try:
        file.write(CONTENT, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator gives files away")
def test_an_administrator_leaves_the_file_to_whom_the_database_belongs(file, tmp_path):
    (tmp_path / "database").touch()
    os.chown(tmp_path / "database", 1234, 1235)
    file.write(CONTENT, None)
    assert (file.path.stat().st_uid, file.path.stat().st_gid) == (1234, 1235)
