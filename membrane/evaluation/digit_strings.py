"""Strings of digits, joined from takes of single ones, of which the words are known."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.errors import UsageError
from membrane.evaluation.recordings import Recording
from membrane.evaluation.transcripts import Said
from membrane.phrase.matching import normalise

TAKE = re.compile(r"([0-9])_.+_[0-9]+")
"""What the Free Spoken Digit Dataset calls a file: digit, speaker, number of the take."""

AROUND_S = (0.2, 0.5)
BETWEEN_S = (0.04, 0.3)
"""Least and greatest pause before and after a string, and between two digits of it."""

FLOOR = 1e-3
"""Standard deviation of the noise that strings lie in (−60 dBFS): no room is digitally silent."""


@dataclass(frozen=True)
class DigitString(Recording):
    """Takes of single digits, one after another with pauses, as somebody reads a prompt.

    The pauses and the noise they lie in depend on the names of the files alone.
    """

    def read(self) -> Utterance:
        """Return the sound; see `Recording.read`."""
        takes = [replace(self, files=(file,)).read_take() for file in self.files]
        names = "/".join(file.name for file in self.files)
        chance = np.random.default_rng(list(sha256(names.encode()).digest()))
        return Utterance(_joined([take.samples for take in takes], chance), source=self.name)

    def read_take(self) -> Utterance:
        """Return the sound of the files with nothing between them."""
        return super().read()


def digit_strings(recordings: Sequence[Recording], length: int, *, seed: int = 0) -> list[Said]:
    """Join single digits of one speaker to strings, each take in one string at most.

    Parameters
    ----------
    recordings : sequence of Recording
        Those whose file is called ``{digit}_{speaker}_{number}`` are used.
    length : int
        Digits in a string.
    seed : int, not negative

    Raises
    ------
    UsageError
        If no speaker has so many digits.
    """
    takes: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    for one in recordings:
        if len(one.files) == 1 and TAKE.fullmatch(one.files[0].stem):
            takes[one.corpus, one.speaker].append(one)
    if length < 1 or all(len(found) < length for found in takes.values()):
        raise UsageError(
            f"no strings of {length} digits can be joined: give folders of single digits, in files "
            "called digit_speaker_number, such as 7_ada_0.wav"
        )
    chance = np.random.default_rng(seed)
    return [said for found in takes.values() for said in _strings(found, length, chance)]


def _strings(takes: Sequence[Recording], length: int, chance: np.random.Generator) -> list[Said]:
    """Return strings of one speaker's takes in random order."""
    files = [takes[place].files[0] for place in chance.permutation(len(takes))]
    groups = [files[at : at + length] for at in range(0, len(files) - length + 1, length)]
    first = takes[0]
    return [
        Said(
            DigitString(tuple(group), first.speaker, first.corpus, first.labels),
            normalise("".join(file.stem[0] for file in group)),
        )
        for group in groups
    ]


def _joined(takes: Sequence[Samples], chance: np.random.Generator) -> Samples:
    pieces = [_pause(AROUND_S, chance)]
    for number, take in enumerate(takes, start=1):
        pieces += [take, _pause(BETWEEN_S if number < len(takes) else AROUND_S, chance)]
    joined = np.concatenate(pieces)
    return joined + chance.normal(scale=FLOOR, size=len(joined)).astype(np.float32)


def _pause(limits_s: tuple[float, float], chance: np.random.Generator) -> Samples:
    return np.zeros(int(SAMPLE_RATE * chance.uniform(*limits_s)), np.float32)
