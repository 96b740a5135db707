"""Make the synthetic voices of tests/recordings with eSpeak NG.

Needs the program ``espeak-ng`` (1.51 made those in the repository)::

    .venv/bin/python scripts/make_recordings.py

Each person is a voice of eSpeak with a pitch of their own. Between takes the speed and the pitch
change a little, as people's do. A quiet room is laid under each take and can be heard alone before
and after the words, where the noise profile is taken from.
"""

from __future__ import annotations

import argparse
import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16_000
RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "recordings"

SPEECH_DBFS = -33.0
"""Level of the voiced samples."""

ROOM_DBFS = -65.0
"""Level of the room: a rumble that falls by 6 dB an octave. Digital silence is heard nowhere but
in synthetic speech, and recognizers fail on it."""

HISS_DBFS = -84.0
"""Level of the white noise in it, a good microphone's."""

ROOM_S = 0.5
"""Room before and after the words, seconds: over half a second of it is left for the profile."""

BITS = 14
"""Of 16, as a modest converter gives them: the rounding is quieter than the hiss, and the files
are a third smaller."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Person:
    """A synthetic voice and what it says.

    Parameters
    ----------
    voice : str
        Language and variant of eSpeak NG.
    words_per_minute, pitch : int
        Of the middle take; `pitch` is eSpeak's, 0 to 99.
    enrolment, logins : tuple of str
        Digit strings.
    passphrase : str
    """

    voice: str
    words_per_minute: int
    pitch: int
    enrolment: tuple[str, ...]
    logins: tuple[str, ...]
    passphrase: str


PEOPLE = {
    "ada": Person(
        "en-us+anika", 120, 50, ("739150", "284603", "517926"), ("471902", "860315"),
        "open the door because my voice is my key",
    ),
    "boris": Person(
        "en-us+iven", 150, 50, ("604182", "953716", "270548"), ("185073", "392647"),
        "seven green bottles stand on the wall",
    ),
    "clara": Person(
        "en-gb-scotland+f4", 150, 50, ("182593", "467031", "836152"), ("219385", "513860"),
        "the river runs quietly past the old mill",
    ),
    "edgar": Person(
        "en-gb-x-rp+klatt5", 150, 30, ("358204", "916472", "045139"), ("640281", "297538"),
        "winter mornings smell of coffee and snow",
    ),
    "farid": Person(
        "en-gb-x-gbclan+m7", 150, 75, ("491637", "820514", "673095"), ("956148", "304729"),
        "nobody but me knows where the key is",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Take:
    """One recording: its file name, what is said, and how far from the middle take it is."""

    name: str
    text: str
    change: int


def takes_of(person: Person) -> Iterator[Take]:
    """Yield every recording of a person."""
    for change, string in zip((-1, 0, 1), person.enrolment, strict=True):
        yield Take(f"enrol-{'-'.join(string)}", spoken(string), change)
    for change, string in zip((1, -1), person.logins, strict=True):
        yield Take(f"login-{'-'.join(string)}", spoken(string), change)
    for change in (0, 1):
        text = person.passphrase.replace(" ", "-")
        yield Take(f"passphrase{change + 1}-{text}", person.passphrase, change)


def spoken(string: str) -> str:
    """Return a digit string as eSpeak should say it: a comma is a short pause."""
    return ", ".join(DIGITS[int(digit)] for digit in string)


def synthesise(person: Person, take: Take) -> np.ndarray:
    """Return what eSpeak says, shape (n,), float32, 16 kHz."""
    speed, pitch = person.words_per_minute + 5 * take.change, person.pitch + 3 * take.change
    command = ["espeak-ng", "-v", person.voice, "-s", str(speed), "-p", str(pitch), "--stdout"]
    wav = subprocess.run([*command, take.text], capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    samples = samples[np.flatnonzero(samples)[0] : np.flatnonzero(samples)[-1] + 1]
    return soxr.resample(samples, rate, RATE, quality="HQ")


def at_level(samples: np.ndarray, dbfs: float) -> np.ndarray:
    """Return samples scaled so that those that are not silent have that root mean square."""
    audible = samples[np.abs(samples) > 1e-4 * np.abs(samples).max()]
    return samples * 10 ** (dbfs / 20) / np.sqrt(np.mean(audible**2))


def room(length: int, seed: int) -> np.ndarray:
    """Return the noise of a quiet room, shape (length,)."""
    white = np.random.default_rng(seed).standard_normal((2, length))
    frequencies = np.fft.rfftfreq(length, 1 / RATE)
    fall = 1 / np.maximum(frequencies, 50.0)
    rumble = np.fft.irfft(np.fft.rfft(white[0]) * fall, length)
    return at_level(rumble, ROOM_DBFS) + at_level(white[1], HISS_DBFS)


def record(person: Person, take: Take, seed: int) -> np.ndarray:
    """Return one recording: the room, the words in the room, the room."""
    words = at_level(synthesise(person, take), SPEECH_DBFS)
    words = np.pad(words, round(ROOM_S * RATE))
    coarse = 2.0 ** (BITS - 1)
    return np.round((words + room(len(words), seed)) * coarse) / coarse


def main() -> None:
    """Write every recording of every person."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=RECORDINGS)
    folder = parser.parse_args().folder
    for number, (name, person) in enumerate(PEOPLE.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed, take in enumerate(takes_of(person), start=100 * number):
            path = folder / name / f"{take.name}.flac"
            samples = record(person, take, seed)
            soundfile.write(path, samples, RATE, subtype="PCM_16", compression_level=1.0)
            print(f"{path.relative_to(folder)}: {len(samples) / RATE:.1f} s")


if __name__ == "__main__":
    main()
