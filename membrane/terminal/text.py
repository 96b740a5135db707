"""Text that is safe to show, and errors as sentences."""

import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that could move the cursor or turn the line round: shown as code points."""


def escaped(text: str) -> str:
    """Return text with everything escaped that a terminal would obey instead of show."""
    return "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in UNSEEN else letter
        for letter in text
    )


def sentence(error: Exception | str) -> str:
    """Return what an error says as a sentence of its own."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
