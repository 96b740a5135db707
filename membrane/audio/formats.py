"""The formats of recordings that are read, told by how a file begins."""

from __future__ import annotations

import re
from typing import IO

KNOWN = re.compile(
    rb"RIFF....WAVE|RIFX....WAVE|RF64....WAVE|riff\x2e\x91\xcf\x11|FORM....AIF[FC]"
    rb"|fLaC|OggS|\xff[\xe0-\xff]"
    rb"|caff.{24}(?:lpcm|ulaw|alaw)|\.snd|dns\.|NIST_1A|Creative Voice File",
    re.DOTALL,
)
"""How the formats begin that are read. libsndfile knows others, of samplers and old programs, that
nobody records speech with: who sends a file must not choose from all their decoders. (Those of MIDI
sample dumps and of ALAC print to standard output what they think of a damaged file.)"""

MAGIC = 32
"""Bytes that tell a format: the coding of a CAF ends there; a tag in front of an MP3 has ten."""

MOST_TAGS = 4
"""Tags before the sound; a program may put its own before another's. A file of nothing but empty
ones would be gone through for minutes."""


def is_known(file: IO[bytes]) -> bool:
    """Return whether what follows the tags of a file begins as one of the formats that are read.

    Parameters
    ----------
    file : binary file
        One that can seek; it is left anywhere.
    """
    place = 0
    for _ in range(MOST_TAGS):
        file.seek(place)
        magic = file.read(MAGIC)
        if not magic.startswith(b"ID3") or len(magic) < 10:
            return KNOWN.match(magic) is not None
        # Seven bits a byte (ID3v2.4, section 6.2), without the ten of the tag's own header.
        place += 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(magic[6:10]))
    return False
