"""What a person may be called, and when two names are the same."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from math import inf

from membrane.errors import InvalidName

LONGEST_NAME = 64
"""Characters that a name may have at most."""

LONGEST_TYPED = 1024
"""Characters of what is looked at at all: composing a hundred million, of a hostile database, would
take seconds. Four for each of a name's are the most that compose to one."""

UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, direction marks and zero-width characters, halves of surrogate pairs, line ends."""

UNSEEN_CHARACTERS = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
    | set(range(0x180B, 0x1810))
    | set(range(0xFE00, 0xFE10))
    | set(range(0xE0100, 0xE01F0))
)
"""Fillers, joiners and variation selectors that are letters or marks to Unicode but show nothing
(Default_Ignorable_Code_Point of Unicode 15, less the categories above; and the empty Braille
cell): two names that differ in these only would look alike."""

MARKS = frozenset({"Mn", "Me"})
"""What stands on the letter before it and takes no place of its own."""

MOST_MARKS = 4
"""Marks on one letter at most (Unicode Technical Standard 39, section 5.4): piled up, they cover
the lines above and below."""


def canonical_name(name: str) -> str:
    """Return `name` as it is stored: composed (NFC), without spaces around it.

    Parameters
    ----------
    name : str
        As typed.

    Raises
    ------
    InvalidName
        If it is empty, longer than 64 characters, has a control character, a direction mark or
        another character that cannot be seen, begins with a mark or piles marks up, or could be
        taken for a path.
    """
    composed = unicodedata.normalize("NFC", name[:LONGEST_TYPED]).strip()
    if len(composed) > LONGEST_NAME or len(name) > LONGEST_TYPED:
        raise InvalidName(
            f"the name {composed[:16]!r}… has {max(len(name), len(composed))} characters: "
            f"use {LONGEST_NAME} at most"
        )
    if not composed:
        raise InvalidName("a name must not be empty: give at least one letter")
    for character in composed:
        unseen = unicodedata.category(character) in UNSEEN_CATEGORIES
        if unseen or ord(character) in UNSEEN_CHARACTERS:
            raise InvalidName(
                f"the name {composed!r} has the invisible character U+{ord(character):04X}: "
                "leave it out"
            )
    if _longest_pile(composed) > MOST_MARKS:
        raise InvalidName(
            f"a name has a letter with more than {MOST_MARKS} marks, or marks without a letter: "
            "leave them out"
        )
    # Characters such as U+FF0F and U+2025 are a slash and two dots to whoever compares by
    # compatibility, so it is the key that must not look like a path, too.
    for form in (composed, name_key(composed)):
        if "/" in form or "\\" in form or form in {".", ".."}:
            raise InvalidName(
                f"the name {composed!r} could be taken for a path: leave out slashes and lone dots"
            )
    return composed


def name_key(name: str) -> str:
    """Return what two names have in common when they are the same person's.

    It is the compatibility caseless form of the Unicode Standard, section 3.13, D146, so that
    neither case nor width nor composition makes another person.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold())
    return unicodedata.normalize("NFKC", folded.casefold())


def keyed_number(secret: bytes, name: str, *, purpose: str) -> int:
    """Return 64 bits that nobody can foretell for a name without the secret (HMAC, RFC 2104)."""
    message = f"{purpose}\0{name_key(name)}".encode(errors="surrogatepass")
    return int.from_bytes(hmac.new(secret, message, hashlib.sha256).digest()[:8])


def _longest_pile(name: str) -> float:
    """Return the most marks that stand on one letter; without end for those that stand on none."""
    longest, pile = 0.0, inf
    for character in unicodedata.normalize("NFD", name):
        pile = pile + 1 if unicodedata.category(character) in MARKS else 0.0
        longest = max(longest, pile)
    return longest
