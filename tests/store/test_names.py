import hmac
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.errors import InvalidName
from membrane.store.names import canonical_name, keyed_number, name_key


@pytest.mark.parametrize(
    "name", ["Anna", "anna lee", "Łukasz", "李小龙", "O'Brien-Smith", "x" * 64]
)
def test_ordinary_names_are_kept_as_they_are(name):
    assert canonical_name(name) == name


def test_a_name_is_composed_and_loses_the_spaces_around_it():
    assert canonical_name("  Zoe\u0308 ") == "Zoë"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "x" * 65,
        "x" * 10**8,
        " " * 2000,
        "a/b",
        "a\\b",
        ".",
        "..",
        "a\uff0fb",
        "\u2025",
        "a\u2100b",
    ],
    ids=lambda name: ascii(name[:20]),
)
def test_empty_long_and_path_like_names_are_refused(name):
    with pytest.raises(InvalidName):
        canonical_name(name)


@pytest.mark.parametrize(
    "unseen",
    [
        *("\0", "\n", "\x1b", "\x7f", "\x85"),
        *("\u202e", "\u2066", "\u200f", "\u061c"),
        *("\u200b", "\u200d", "\ufeff", "\u00ad", "\u2028", "\u2029"),
        *("\ud800", "\udcff", "\u3164", "\u115f", "\u2800", "\ufe0f", "\U000e0041"),
    ],
    ids=ascii,
)
def test_a_character_that_cannot_be_seen_is_refused_and_named_but_never_shown(unseen):
    with pytest.raises(InvalidName, match=f"U\\+{ord(unseen):04X}") as refusal:
        canonical_name(f"an{unseen}na")
    message = str(refusal.value)
    shown_as_nothing = {"\u3164", "\u115f", "\u2800", "\ufe0f"}
    assert message.isprintable() or unseen in shown_as_nothing
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ["Z\u0351\u0310\u034a\u0306\u0311algo", "\u0301anna", "\u20dd", "anna\u0301" + "\u0301" * 60],
)
def test_marks_that_pile_up_or_stand_on_nothing_are_refused_and_not_shown(name):
    with pytest.raises(InvalidName, match="more than 4 marks") as refusal:
        canonical_name(name)
    assert str(refusal.value).isascii()


@pytest.mark.parametrize(
    "name",
    [
        "Nguy\u1ec5n",
        "\u05e9\u05c1\u05b7\u05d1\u05bc\u05b8\u05ea",
        "\u0e01\u0e34\u0e48",
        "\u0939\u093f\u0928\u094d\u0926\u0940",
    ],
)
def test_marks_of_living_scripts_are_kept(name):
    assert name_key(canonical_name(name)) == name_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "ANNA"),
        ("Straße", "STRASSE"),
        ("Zoë", "zoe\u0308"),
        ("Ａnna", "anna"),
        ("Σς", "σσ"),
    ],
)
def test_names_are_compared_without_case_width_and_composition(one, other):
    assert name_key(one) == name_key(other)


def test_different_names_stay_different():
    assert len({name_key(name) for name in ("anna", "ann", "änna", "anna 2")}) == 4


@given(st.text(max_size=70))
def test_any_text_is_refused_or_becomes_a_name_that_stays_itself(text):
    try:
        name = canonical_name(text)
    except InvalidName:
        return
    assert canonical_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert name_key(name) == name_key(name_key(name)) == name_key(name.upper()) != ""


# ---- Numbers of names

SECRET = bytes(range(32))


def test_every_spelling_of_a_name_has_the_same_number_and_it_needs_the_secret():
    one = keyed_number(SECRET, "Zoë", purpose="model")
    assert one == keyed_number(SECRET, "ZOE\u0308", purpose="model")
    others = {
        keyed_number(bytes(32), "Zoë", purpose="model"),
        keyed_number(SECRET, "Zoë", purpose="decoy"),
        keyed_number(SECRET, "Zoe", purpose="model"),
    }
    assert len(others - {one}) == 3


def test_a_number_is_the_beginning_of_an_hmac_as_the_standard_has_it():
    expected = hmac.digest(SECRET, b"log\0anna", "sha256")[:8]
    assert keyed_number(SECRET, "Anna", purpose="log").to_bytes(8) == expected


@given(st.text(max_size=70))
def test_any_name_has_a_number_of_64_bits(name):
    assert 0 <= keyed_number(SECRET, name, purpose="log") < 2**64


def test_no_name_and_purpose_pass_for_another_pair():
    pairs = [("a", "bc"), ("ab", "c"), ("a\0b", "c")]
    numbers = {keyed_number(SECRET, name, purpose=purpose) for purpose, name in pairs}
    assert len(numbers) == 3
