from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.errors import StoreDamaged, WrongKey
from membrane.store.guarded_bytes import SEALED, KeptFile, guarded
from tests.store.covers import Cover

CONTENT = b"what is kept\n" * 20
FILE = KeptFile(Path("/kept"), "the record", "starts anew")
ONE, OTHER = Cover("one"), Cover("other")


@pytest.mark.parametrize("seal", [None, ONE])
@pytest.mark.parametrize("content", [CONTENT, b"", b"\n"])
def test_what_is_guarded_is_read(content, seal):
    assert FILE.content(guarded(content, "a purpose", seal), "a purpose", seal) == content


@pytest.mark.parametrize("seal", [None, ONE])
def test_any_changed_byte_and_any_cut_is_noticed(seal):
    whole = guarded(CONTENT, "a purpose", seal)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        for damaged in (bytes(changed), whole[:place]):
            with pytest.raises((StoreDamaged, WrongKey)):
                FILE.content(damaged, "a purpose", seal)
    with pytest.raises((StoreDamaged, WrongKey), match="deleting it starts anew"):
        FILE.content(whole + b"\n", "a purpose", seal)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_without_a_traceback(some, sealed):
    for seal in (None, ONE):
        with pytest.raises((StoreDamaged, WrongKey)):
            FILE.content(SEALED + some if sealed else some, "a purpose", seal)


@pytest.mark.parametrize("seal", [None, ONE])
def test_bytes_of_another_purpose_are_refused(seal):
    with pytest.raises((StoreDamaged, WrongKey)):
        FILE.content(guarded(CONTENT, "one person", seal), "another person", seal)


def test_encrypted_bytes_need_their_key():
    raw = guarded(CONTENT, "a purpose", ONE)
    assert CONTENT not in raw
    with pytest.raises(WrongKey, match="there is no key"):
        FILE.content(raw, "a purpose", None)
    with pytest.raises(WrongKey, match="cannot be decrypted"):
        FILE.content(raw, "a purpose", OTHER)


def test_plain_bytes_are_refused_where_they_must_be_encrypted():
    raw = guarded(CONTENT, "a purpose", None)
    with pytest.raises(StoreDamaged, match="not encrypted"):
        FILE.content(raw, "a purpose", ONE)
    assert FILE.content(raw, "a purpose", Cover("one", accepts_plain=True)) == CONTENT
