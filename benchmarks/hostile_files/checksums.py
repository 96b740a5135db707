"""Checksums of Ogg pages and FLAC frames, made right again after a mutation.

A reader throws away what its checksum betrays: without this no damage would reach the decoders.
"""

from __future__ import annotations

import zlib
from itertools import pairwise

OGG_PAGE = b"OggS"
OGG_HEADER = 27
"""Bytes of a page before its table of segments (RFC 3533, section 6)."""

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the opposite order."""


def ogg_mended(content: bytearray, *, serial: int | None = None) -> None:
    """Make the checksum of every whole page right, and the stream's number if one is given."""
    start = content.find(OGG_PAGE)
    while start >= 0:
        end = _page_end(content, start)
        if end <= len(content):
            if serial is not None:
                content[start + 14 : start + 18] = serial.to_bytes(4, "little")
            content[start + 22 : start + 26] = bytes(4)
            content[start + 22 : start + 26] = _ogg_checksum(content[start:end])
        start = content.find(OGG_PAGE, start + 4)


def _page_end(content: bytearray, start: int) -> int:
    table = start + OGG_HEADER
    if table > len(content):
        return table
    body = table + content[start + 26]
    return body + sum(content[table:body])


def _ogg_checksum(page: bytes | bytearray) -> bytes:
    # Ogg's CRC takes the bits in the opposite order of zlib's, and inverts nothing.
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4).translate(MIRRORED)


def _table(polynomial: int, bits: int) -> list[int]:
    top, all_bits = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        rest = byte << (bits - 8)
        for _ in range(8):
            rest = (rest << 1) ^ (polynomial if rest & top else 0)
        table.append(rest & all_bits)
    return table


CRC_8, CRC_16 = _table(0x07, 8), _table(0x8005, 16)
"""RFC 9639, sections 9.1.8 and 9.3."""


def flac_frames(content: bytes) -> list[int]:
    """Return where the frames of a sound FLAC file begin, and where the last one ends."""
    starts = []
    place = content.find(b"\xff\xf8")
    while place >= 0:
        header = _frame_header(content, place)
        if header and _crc_8(content[place:header]) == content[header]:
            starts.append(place)
        place = content.find(b"\xff\xf8", place + 1)
    return [*starts, len(content)]


def flac_mended(content: bytearray, frames: list[int]) -> None:
    """Make the checksums of the frames right, which begin where they did before the mutation."""
    for start, end in pairwise(frames):
        header = _frame_header(content, start)
        if header and header < end - 2:
            content[header] = _crc_8(content[start:header])
        content[end - 2 : end] = _crc_16(content[start : end - 2]).to_bytes(2)


def _frame_header(content: bytes | bytearray, start: int) -> int:
    """Return where the checksum of a frame's header stands; 0 if there is no such place."""
    if len(content) < start + 16:
        return 0
    number = content[start + 4]
    leading = 8 - (number ^ 0xFF).bit_length()
    sizes = {6: 1, 7: 2}.get(content[start + 2] >> 4, 0)
    rates = {12: 1, 13: 2, 14: 2}.get(content[start + 2] & 15, 0)
    return start + 4 + max(1, leading) + sizes + rates


def _crc_8(data: bytes | bytearray) -> int:
    rest = 0
    for byte in data:
        rest = CRC_8[rest ^ byte]
    return rest


def _crc_16(data: bytes | bytearray) -> int:
    rest = 0
    for byte in data:
        rest = (rest << 8 & 0xFFFF) ^ CRC_16[rest >> 8 ^ byte]
    return rest
