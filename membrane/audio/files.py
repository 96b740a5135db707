"""Recorded files: any format, rate and channel count in, 16 kHz mono out, and back to disk."""

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np

from membrane.audio.stderr import quiet
from membrane.audio.utterance import SAMPLE_RATE, Recorded, Samples, Utterance, no_samples
from membrane.errors import (
    NoSuchFile,
    OutputUnwritable,
    RecordingTooLong,
    UndecodableAudio,
    UsageError,
)

STANDARD_INPUT = "-"

LONGEST_S = 300.0
"""Seconds of a recording that are read; a login takes three, an evaluator's file rarely sixty."""

LARGEST_FILE = 256 * 1024 * 1024
"""Bytes of a file, or taken from a pipe: five minutes of 48 kHz 32-bit stereo fit twice. A decoder
that has lost its place looks for it through all that follows, three seconds for each gigabyte."""

IN_MEMORY = 16 * 1024 * 1024
"""Bytes of a pipe that are kept in memory before they are spooled to disk."""

RATES = (4_000, 768_000)
"""Hz; below 4 kHz no speech is left, above 768 kHz no converter exists: the header lies."""

UNKNOWN_LENGTH = 2**63 - 1
"""Frames that libsndfile reports of a FLAC file that was written to a pipe (``SF_COUNT_MAX``)."""

BLOCK_S = 1.0
"""Seconds decoded at a time, so that a false header cannot fill the memory."""

LONGEST_BLOCK = 4 * 1024 * 1024
"""Samples of all channels decoded at a time."""

MOST_DECODED = 32 * 1024 * 1024
"""Samples of all channels that are decoded at most: five minutes of stereo at 48 kHz fit, or of one
channel at 96 kHz. That takes 1.5 s of Opus or GSM. A FLAC file of 2 MB can hold forty times as
many, of silence."""

SLOW = ("G721", "G723")
"""Codings that take `TIMES_SLOWER` as long as others."""

TIMES_SLOWER = 8

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

Reading = Callable[[Any, str], Samples]
"""Takes an open `soundfile.SoundFile` and the name of the recording; returns its samples."""

WRITABLE = {".wav": "PCM_16", ".flac": "PCM_16"}


def read_utterance(path: str | Path) -> Utterance:
    """Read a recording.

    Parameters
    ----------
    path : str or Path
        WAV, FLAC, OGG (Vorbis or Opus) or MP3; also W64, AIFF, AU, CAF, NIST SPHERE and VOC.
        ``"-"`` reads standard input.

    Returns
    -------
    Utterance
        Channels averaged (as librosa's ``mono=True`` does), resampled by soxr's HQ recipe;
        peaks of floating-point files above 1 are scaled down. Its ambient noise is empty.

    Raises
    ------
    NoSuchFile
        If there is no such file, it is a directory, or it may not be read.
    UndecodableAudio
        If it is not audio, is empty, or holds numbers that are not finite.
    RecordingTooLong
        If it is longer than `LONGEST_S`, larger than `LARGEST_FILE`, or holds more than
        `MOST_DECODED` samples.
    """
    if not str(path):
        raise NoSuchFile("the name of the recording is empty: say which file to read")
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    with _readable(path, name) as file:
        samples, rate = _decode(file, name, _mixed)
        content = _content_of(path, file)
    original = partial(_recorded, path, name, content) if content else None
    return Utterance(samples, source=name, source_rate=rate, original=original)


def _recorded(path: str | Path, name: str, content: bytes | tuple[int, ...]) -> Recorded:
    """Return a recording as it is stored; `content` is that of a pipe, or tells a file's state."""
    if isinstance(content, bytes):
        return Recorded(*_decode(BytesIO(content), name, _whole))
    with _readable(path, name) as file:
        if _content_of(path, file) != content:
            raise UndecodableAudio(f"{name} was changed meanwhile: judge it again")
        return Recorded(*_decode(file, name, _whole))


def _content_of(path: str | Path, file: IO[bytes]) -> bytes | tuple[int, ...]:
    """Return the state of a file, or all of a pipe, which nobody can read again.

    Of a pipe that held more than `IN_MEMORY` it is nothing.
    """
    if str(path) != STANDARD_INPUT and Path(path).is_file():
        state = os.fstat(file.fileno())
        return state.st_ino, state.st_size, state.st_mtime_ns
    file.seek(0)
    content = file.read(IN_MEMORY + 1)
    return content if len(content) <= IN_MEMORY else b""


@contextmanager
def _readable(path: str | Path, name: str) -> Iterator[IO[bytes]]:
    """Yield a file that can seek: the recording itself, or a spooled copy of a pipe.

    Raises
    ------
    NoSuchFile
        If it cannot be opened or read.
    """
    try:
        with ExitStack() as opened:
            if str(path) == STANDARD_INPUT:
                if sys.stdin is None or sys.stdin.isatty():
                    raise UsageError("standard input is a terminal: pipe a recording into it")
                yield opened.enter_context(_spooled(sys.stdin.buffer, name))
                return
            try:
                source = opened.enter_context(Path(path).open("rb"))
            except ValueError as error:
                raise NoSuchFile(f"{name!r} cannot be read: {error}") from None
            status = os.fstat(source.fileno())
            if stat.S_ISREG(status.st_mode):
                _check_size(status.st_size, name)
                yield source
            else:
                yield opened.enter_context(_spooled(source, name))
    except OSError as error:
        raise NoSuchFile(f"{name} cannot be read: {error.strerror or error}") from None


def save_recording(path: str | Path, samples: Samples) -> None:
    """Write 16 kHz mono samples as 16-bit WAV or FLAC, by the ending of `path`.

    A new file is for its owner only: a voice that said a passphrase could be played.

    Raises
    ------
    UsageError
        If the ending is another.
    OutputUnwritable
        If the file cannot be written.
    """
    import soundfile

    target = check_writable_format(path)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
        soundfile.write(target, samples, SAMPLE_RATE, subtype=WRITABLE[target.suffix.lower()])
    except (OSError, soundfile.SoundFileError) as error:
        raise OutputUnwritable(f"the recording cannot be written to {target}: {error}") from None


def check_writable_format(path: str | Path) -> Path:
    """Return the path of a recording to write.

    Raises
    ------
    UsageError
        If its ending is neither .wav nor .flac.
    """
    target = Path(path)
    if target.suffix.lower() not in WRITABLE:
        raise UsageError(f"a recording is saved as .wav or .flac, not as {target.name!r}")
    return target


@contextmanager
def _spooled(source: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    # libsndfile seeks, which a pipe cannot.
    with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        while block := source.read(1 << 20):
            spool.write(block)
            _check_size(spool.tell(), name)
        spool.seek(0)
        yield spool


def _check_size(size: int, name: str) -> None:
    if size > LARGEST_FILE:
        raise RecordingTooLong(
            f"{name} holds more than {LARGEST_FILE >> 20} MB: at most "
            f"{LONGEST_S:.0f} s of speech are read"
        )


def _decode(file: IO[bytes], name: str, read: Reading) -> tuple[Samples, int]:
    """Return what `read` makes of a recording, and its rate."""
    import soundfile

    if not file.read(1):
        raise UndecodableAudio(f"{name} is empty: record it again")
    if not _is_known(file):
        raise UndecodableAudio(
            f"{name} is not a recording that can be read: give WAV, FLAC, OGG or MP3"
        )
    file.seek(0)
    try:
        # A name would make soundfile guess the format from its ending (.raw) before the content.
        # Of a damaged MP3 libmpg123 would print what it thinks of it.
        with quiet(), soundfile.SoundFile(_Nameless(file)) as sound:
            _check_header(sound, name)
            samples = read(sound, name)
            if not len(samples):
                raise UndecodableAudio(f"{name} holds no samples: record it again")
            if not np.isfinite(samples).all():
                raise UndecodableAudio(
                    f"{name} holds numbers that are not finite: convert it again"
                )
            return samples, int(sound.samplerate)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise UndecodableAudio(f"{name} is not a recording that can be read: {reason}") from None


def _is_known(file: IO[bytes]) -> bool:
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


class _Nameless:
    """A file object without the attribute ``name``, which stays where it is if it cannot seek.

    In damaged files libsndfile asks for places that do not exist, and an exception could not pass
    through it: it would be printed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell

    def seek(self, offset: int, whence: int) -> None:
        with suppress(OSError, ValueError, OverflowError):
            self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        data = b""
        with suppress(OSError):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _check_header(sound: Any, name: str) -> None:
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        raise UndecodableAudio(
            f"{name} claims {sound.samplerate} samples a second: "
            f"{RATES[0]} to {RATES[1]} can be used"
        )
    # The length an MP3 or a damaged header claims is a guess, so it is counted again below.
    if sound.format != "MP3" and sound.frames != UNKNOWN_LENGTH:
        _check_length(sound.frames, sound, name)


def _check_length(frames: int, sound: Any, name: str) -> None:
    if frames > LONGEST_S * sound.samplerate:
        raise RecordingTooLong(
            f"{name} is longer than {LONGEST_S:.0f} s: cut it to the part to be judged"
        )
    effort = TIMES_SLOWER if sound.subtype.startswith(SLOW) else 1
    if frames * sound.channels * effort > MOST_DECODED:
        raise RecordingTooLong(
            f"{name} holds too many samples ({sound.channels} channels at {sound.samplerate} Hz): "
            "convert it to one channel at 16 kHz"
        )


def _blocks(sound: Any, name: str) -> Iterator[Samples]:
    """Yield the samples of all channels, shape (n, channels), a piece at a time."""
    # After each block soundfile seeks to where it is, which a FLAC of unknown length refuses.
    sound.seekable = lambda: False
    frames = max(1, min(int(sound.samplerate * BLOCK_S), LONGEST_BLOCK // sound.channels))
    read = 0
    while len(block := sound.read(frames, dtype="float32", always_2d=True)):
        read += len(block)
        _check_length(read, sound, name)
        yield block


def _whole(sound: Any, name: str) -> Samples:
    """Return all samples as they are stored."""
    return np.concatenate([np.zeros((0, sound.channels), np.float32), *_blocks(sound, name)])


# Sums of enormous numbers overflow, and what is not finite spreads: the end result is looked at.
@np.errstate(over="ignore", invalid="ignore")
def _mixed(sound: Any, name: str) -> Samples:
    """Return the mean of the channels at 16 kHz, within full scale."""
    import soxr

    rate = sound.samplerate
    resample = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    parts = [no_samples()]
    peak = 1.0
    for block in _blocks(sound, name):
        mono = block.mean(axis=1, dtype=np.float32)
        peak = max(peak, float(np.abs(mono).max()))
        parts.append(mono if rate == SAMPLE_RATE else resample.resample_chunk(mono))
    if rate != SAMPLE_RATE:
        parts.append(resample.resample_chunk(no_samples(), last=True))
    # Resampling overshoots at the corners of a clipped wave: scaled down by that, it would no
    # longer be seen to lie on the rail.
    return np.asarray(np.clip(np.concatenate(parts) / np.float32(peak), -1, 1), np.float32)
