"""Voices of eSpeak NG: which there are, and what they say."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from benchmarks.phrases import FLOOR
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.phrase.matching import normalise

PROGRAM = "espeak-ng"

LANGUAGES = (
    *("en-gb", "en-us", "en-gb-scotland", "en-029"),
    *("en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"),
)
"""The English voices that need no data of MBROLA, the four most unlike each other first."""

WORDS_PER_MINUTE, PITCH = 130, 50
"""Slower than eSpeak's own 175, as people read digits; its own middle of 0 to 99."""

ROOM_S = 0.5
"""Room before and after the words, from which the noise profile is taken."""

PEAK = 0.3


@dataclass(frozen=True)
class Voice:
    """A voice of eSpeak.

    Parameters
    ----------
    language : str
    variant : str
        Name of the variant's file; empty for none.
    words_per_minute, pitch : int
    """

    language: str
    variant: str = ""
    words_per_minute: int = WORDS_PER_MINUTE
    pitch: int = PITCH

    @property
    def name(self) -> str:
        """As ``espeak-ng -v`` takes it."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


def missing() -> bool:
    """Return whether the program is not installed."""
    return shutil.which(PROGRAM) is None


def variants() -> list[str]:
    """Return the files of all voice variants."""
    listed = _run(["--voices=variant"]).decode("utf-8").splitlines()[1:]
    # Columns end at fixed places only for short names; the file is the one with "!v/".
    return sorted({line.partition("!v/")[2].partition("  ")[0].strip() for line in listed})


def says(voice: Voice, words: str) -> Samples:
    """Return what a voice says, shape (n,), float32, 16 kHz; silence where it cannot speak.

    Parameters
    ----------
    voice : Voice
    words : str
        Said one by one, with short pauses.
    """
    import soundfile
    import soxr

    numbers = ["-s", str(voice.words_per_minute), "-p", str(voice.pitch)]
    wav = _run(["-v", voice.name, *numbers, "--stdout", ", ".join(words.split())])
    if not wav:
        return np.zeros(SAMPLE_RATE, np.float32)
    samples, rate = soundfile.read(BytesIO(wav), dtype="float32")
    return soxr.resample(samples, rate, SAMPLE_RATE)


def in_room(samples: Samples, seed: Sequence[int]) -> Utterance:
    """Return speech as it would be recorded in a quiet room."""
    loudest = max(float(np.abs(samples).max(initial=0)), 1e-6)
    whole = np.pad(PEAK / loudest * samples, int(ROOM_S * SAMPLE_RATE))
    noise = np.random.default_rng(seed).normal(scale=FLOOR, size=len(whole))
    return Utterance((whole + noise).astype(np.float32))


def prompt_said(voice: Voice, digits: str) -> Utterance:
    """Return a prompt of digits, read by a voice."""
    return in_room(says(voice, normalise(digits)), [int(digits)])


def _run(arguments: Sequence[str]) -> bytes:
    """Return what the program wrote; nothing where a voice lacks its data."""
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""
