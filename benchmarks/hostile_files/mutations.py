"""What is done to the bytes of a file: flipped, cut, doubled, spliced, and made to lie."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from benchmarks.hostile_files.damage import HEADER, LONGEST_CUT, Damage, any_of, place_in

EXTREMES = (
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)
"""As unsigned numbers; the largest of each width is -1 to whoever reads it with a sign."""

EXTREME_FLOATS = (float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e-45, 0.0)

CHUNK = re.compile(
    rb"fmt |data|fact|LIST|PEAK|RIFF|RIFX|ds64|FORM|COMM|SSND|FVER|COMT|desc|pakt|kuki|chan|free"
    rb"|OpusHead|OpusTags|\x01vorbis|\x03vorbis|\x05vorbis|OggS|fLaC|BODY|VHDR|ID3|\.snd|Info|Xing"
)
"""Words after which a file tells sizes, rates and counts."""

CHUNK_FIELDS = 40
"""Bytes after such a word in which they stand."""

LONGEST_MAGIC = 64
"""Bytes at most that are kept of a file whose rest becomes random."""


def flip_bits(damage: Damage) -> None:
    """Flip up to sixteen single bits."""
    for _ in range(damage.chance.integers(1, 17)):
        place = damage.place()
        damage.content[place : place + 1] = bytes(
            byte ^ (1 << int(damage.chance.integers(8)))
            for byte in damage.content[place : place + 1]
        )


def set_run(damage: Damage) -> None:
    """Fill a part with one byte."""
    part = damage.span()
    length = len(damage.content[part])
    damage.content[part] = bytes([any_of((0, 0xFF, 0x7F, 0x80), damage.chance)]) * length


def scramble(damage: Damage) -> None:
    """Fill a part with random bytes."""
    part = damage.span()
    damage.content[part] = damage.chance.bytes(len(damage.content[part]))


def set_field(damage: Damage) -> None:
    """Set a number in the header to an extreme."""
    _put(damage, int(damage.chance.integers(HEADER)))


def lie_in_a_chunk(damage: Damage) -> None:
    """Set a size, a rate or a count that a chunk tells to an extreme."""
    words = [found.end() for found in CHUNK.finditer(damage.content)]
    if words:
        _put(
            damage,
            any_of(words, damage.chance) + 2 * int(damage.chance.integers(CHUNK_FIELDS // 2)),
        )


def _put(damage: Damage, place: int) -> None:
    width = any_of((1, 2, 4, 4, 8), damage.chance)
    number = any_of(EXTREMES, damage.chance) & ((1 << 8 * width) - 1)
    order = any_of(("little", "big"), damage.chance)
    damage.content[place : place + width] = number.to_bytes(width, order)


def set_float(damage: Damage) -> None:
    """Set a sample, or whatever stands there, to a number that is not finite or is enormous."""
    number = any_of(EXTREME_FLOATS, damage.chance)
    place = damage.place() // 4 * 4
    part = struct.pack(any_of(("<f", ">f", "<d", ">d"), damage.chance), number)
    damage.content[place : place + len(part)] = part


def truncate(damage: Damage) -> None:
    """Cut off the end."""
    del damage.content[damage.place() :]


def insert(damage: Damage) -> None:
    """Insert random bytes."""
    place = damage.place()
    damage.content[place:place] = damage.chance.bytes(int(damage.chance.integers(1, 64)))


def leave_out(damage: Damage) -> None:
    """Leave out a part."""
    del damage.content[damage.span()]


def double(damage: Damage) -> None:
    """Say a part twice."""
    part = damage.span()
    damage.content[part.start : part.start] = damage.content[part]


def swap(damage: Damage) -> None:
    """Let two parts of one length change places."""
    one, start = damage.span(), damage.place()
    length = min(len(damage.content[one]), len(damage.content) - start)
    first = damage.content[one.start : one.start + length]
    damage.content[one.start : one.start + length] = damage.content[start : start + length]
    damage.content[start : start + length] = first


def splice(damage: Damage) -> None:
    """Go on as another file does."""
    place = place_in(len(damage.other.content), damage.chance)
    damage.content[damage.place() :] = damage.other.content[place:]


def keep_magic(damage: Damage) -> None:
    """Keep the first bytes, and make the rest random."""
    kept = int(damage.chance.integers(4, LONGEST_MAGIC))
    damage.content[kept:] = damage.chance.bytes(int(damage.chance.integers(1, LONGEST_CUT)))


MUTATIONS: tuple[Callable[[Damage], None], ...] = (
    *(flip_bits, flip_bits, set_run, scramble, set_field, set_field, lie_in_a_chunk),
    *(lie_in_a_chunk, set_float, truncate, insert, leave_out, double, swap, splice, keep_magic),
)
"""Those that are often the deepest stand twice."""
