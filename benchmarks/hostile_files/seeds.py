"""The sound files and databases that are damaged: small, valid, and the same in every run."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.hostile_files.checksums import flac_frames, ogg_mended
from benchmarks.hostile_files.stored import DATABASE, ENDINGS, HEAD, LOG, LOGINS, SEALED, stored
from membrane.audio.files import read_utterance
from membrane.audio.utterance import SAMPLE_RATE, Samples

VOICE = Path(__file__).resolve().parents[2] / "tests" / "recordings" / "edgar"
SPOKEN = slice(8192, 8192 + 28800)
"""Of the first passphrase: 1.8 s that are speech throughout, so that a sound copy is judged."""

SHARES = {
    **{"WAV": 22, "FLAC": 14, "OGG": 12, "OPUS": 8, "MP3": 14},
    **{DATABASE: 16, SEALED: 4, LOGINS: 3, LOG: 3, HEAD: 1},
    **{"WAVEX": 2, "RF64": 2, "W64": 2, "AIFF": 3, "AU": 2, "CAF": 3},
    **dict.fromkeys(("AVR", "HTK", "IRCAM", "MAT4", "MAT5", "MPC2K", "NIST"), 0.6),
    **dict.fromkeys(("PAF", "PVF", "SDS", "SVX", "VOC", "WVE", "XI"), 0.6),
}
"""How often each kind is chosen, relative to the others. What people record comes first; but
libsndfile looks at the content only, so that whoever sends a file chooses its decoder."""

MANY_CHANNELS = {
    **{("WAV", "PCM_16"): (2, 6), ("WAV", "FLOAT"): (2,), ("WAV", "MS_ADPCM"): (2,)},
    **{("WAVEX", "PCM_16"): (6,), ("FLAC", "PCM_16"): (2, 6), ("OGG", "VORBIS"): (2, 6)},
    **{("OPUS", "OPUS"): (2, 6), ("MP3", "MPEG_LAYER_III"): (2,), ("CAF", "ALAC_16"): (2, 6)},
    **{("AIFF", "PCM_16"): (2,), ("AU", "PCM_16"): (6,)},
}

WRITTEN_AT = re.compile(rb"(PEAK.{8}).{4}", re.DOTALL)
"""Size, version and time of the chunk that goes with floating-point samples."""

WRITTEN_ON = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@dataclass(frozen=True)
class Seed:
    """A valid file.

    Parameters
    ----------
    kind : str
        A key of `SHARES`.
    content : bytes
    frames : list of int
        Where the frames of a FLAC file begin, and the end.
    beside : dict of str to bytes
        What other files hold that it goes with, by what their names end in.
    """

    kind: str
    content: bytes
    frames: list[int] = field(default_factory=list)
    beside: dict[str, bytes] = field(default_factory=dict)


def seeds() -> dict[str, list[Seed]]:
    """Return the valid files of each kind."""
    found: dict[str, list[Seed]] = {kind: [] for kind in SHARES}
    for seed in [*_recordings(), *_kept()]:
        found[seed.kind].append(seed)
    return found


def _kept() -> Iterator[Seed]:
    """Yield what Membrane keeps; a log and its head go together."""
    contents = stored()
    for kind, content in contents.items():
        others = {LOG: HEAD, HEAD: LOG}.get(kind)
        yield Seed(kind, content, beside={ENDINGS[others]: contents[others]} if others else {})


def _recordings() -> Iterator[Seed]:
    """Yield one sound in every subtype that libsndfile writes and reads again."""
    import soundfile

    samples = _spoken()
    for kind in SHARES.keys() - ENDINGS.keys():
        container = "OGG" if kind == "OPUS" else kind
        for subtype in sorted(soundfile.available_subtypes(container)):
            if container == "OGG" and (subtype == "OPUS") != (kind == "OPUS"):
                continue
            for channels in (1, *MANY_CHANNELS.get((kind, subtype), ())):
                content = encoded(samples, container, subtype, channels)
                if content:
                    frames = flac_frames(content) if kind == "FLAC" else []
                    yield Seed(kind, content, frames)


def _spoken() -> Samples:
    path = sorted(VOICE.glob("passphrase*.flac"))[0]
    return read_utterance(path).samples[SPOKEN]


def encoded(samples: Samples, container: str, subtype: str, channels: int = 1) -> bytes:
    """Return a sound as a file; nothing, if the library knows that subtype and does not write it.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
    container, subtype : str
        As libsndfile calls them.
    channels : int
        All alike.
    """
    import soundfile

    file = io.BytesIO()
    many = np.repeat(samples[:, np.newaxis], channels, axis=1)
    try:
        soundfile.write(file, many, SAMPLE_RATE, format=container, subtype=subtype)
    except soundfile.LibsndfileError:
        return b""
    return _repeatable(file.getvalue(), container)


def _repeatable(content: bytes, container: str) -> bytes:
    """Return a file without the time and the random number that the library puts into it."""
    if container == "OGG":
        mended = bytearray(content)
        ogg_mended(mended, serial=1)
        return bytes(mended)
    return WRITTEN_AT.sub(rb"\1" + bytes(4), WRITTEN_ON.sub(b"2026-11-21 10:00:00", content))
