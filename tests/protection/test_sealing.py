from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.protection.keys import Origin
from membrane.protection.sealing import Seal, SealBroken, is_sealed

KEY = bytes(range(32))
ORIGIN = Origin("environment", "ab" * 16, "12" * 16)
SEAL = Seal(KEY, ORIGIN)


@given(st.binary(max_size=300))
def test_a_blob_comes_back_for_the_purpose_it_was_sealed_for(plain):
    sealed = SEAL.seal(plain, "attempts")
    assert is_sealed(sealed)
    assert SEAL.unseal(sealed, "attempts") == plain
    with pytest.raises(SealBroken):
        SEAL.unseal(sealed, "log")


def test_a_blob_that_was_changed_or_cut_off_is_noticed():
    sealed = SEAL.seal(b"three failures", "attempts")
    for place in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            with pytest.raises(SealBroken):
                SEAL.unseal(bytes(changed), "attempts")
        with pytest.raises(SealBroken):
            SEAL.unseal(sealed[:place], "attempts")
    with pytest.raises(SealBroken):
        SEAL.unseal(sealed + b"x", "attempts")


def test_a_blob_of_the_former_key_is_unsealed_while_that_is_remembered():
    sealed = SEAL.seal(b"three failures", "attempts")
    new = Seal(KEY[::-1], Origin("environment", "cd" * 16, "12" * 16), former=KEY)
    assert new.unseal(sealed, "attempts") == b"three failures"
    assert new.unseal(new.seal(b"four", "attempts"), "attempts") == b"four"
    with pytest.raises(SealBroken):
        replace(new, former=b"").unseal(sealed, "attempts")


def test_a_blob_of_another_database_under_the_same_key_is_noticed():
    other = Seal(KEY, Origin("environment", "ab" * 16, "34" * 16))
    with pytest.raises(SealBroken):
        other.unseal(SEAL.seal(b"three failures", "attempts"), "attempts")


def test_keys_for_two_purposes_or_databases_differ_and_stay():
    found = {
        SEAL.mac_key("log"),
        SEAL.mac_key("projection"),
        Seal(KEY[::-1], ORIGIN).mac_key("log"),
        Seal(KEY, Origin("environment", "ab" * 16, "34" * 16)).mac_key("log"),
    }
    assert len(found) == 4
    assert {len(key) for key in found} == {32}
    assert SEAL.mac_key("log") == Seal(KEY, ORIGIN).mac_key("log")
    assert KEY not in found
