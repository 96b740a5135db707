"""What is said in recordings: told by transcripts, or known because single digits were joined."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.errors import UsageError
from membrane.evaluation.corpora.labels import comparable, printable, read_text
from membrane.evaluation.corpora.recordings import Recording
from membrane.phrase.matching import normalise

IN_FOLDERS = "*.trans.txt"
"""What LibriSpeech calls its transcripts, one for each chapter."""


@dataclass(frozen=True)
class Said:
    """A recording and what was said in it.

    Parameters
    ----------
    recording : Recording
    words : str
        As `membrane.phrase.matching.normalise` returns them.
    """

    recording: Recording
    words: str


def read_transcripts(path: Path, recordings: Sequence[Recording]) -> list[Said]:
    """Read what was said in recordings.

    Parameters
    ----------
    path : Path
        A text file in UTF-8. A line names a recording, then tells the words in any case: with a
        tab between (what follows a second one is left out), in a file that ends in ``.csv`` a
        comma, else spaces as in LibriSpeech. A folder stands for every ``.trans.txt`` in it.
        Recordings are named by file name or stem, with as many folders before it as are needed to
        tell them apart.
    recordings : sequence of Recording

    Returns
    -------
    list of Said
        In the order of `recordings`, without those that no line names, or that are cut or joined.

    Raises
    ------
    NoSuchFile
        If there is no such file, or it cannot be read.
    UsageError
        If it is not text, says two things of one name, or names none of the recordings.
    """
    words = _words(Path(path))
    found = ((one, _said_in(one, words)) for one in recordings)
    known = [Said(one, said) for one, said in found if said]
    if not known:
        raise UsageError(
            f"{printable(path)} tells the words of none of the recordings: let each line begin "
            "with the name of a file, then a tab and what is said in it"
        )
    return known


def _words(path: Path) -> dict[str, str]:
    """Return the words by the name they are told of."""
    words: dict[str, str] = {}
    for file in sorted(path.rglob(IN_FOLDERS)) if path.is_dir() else [path]:
        for number, (name, text) in _lines(file):
            said = normalise(text)
            if words.setdefault(name, said) != said:
                raise UsageError(
                    f"{printable(file)}, line {number} says something else of {printable(name)}: "
                    "name the recording with its folder"
                )
    return words


def _lines(file: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if "\t" in line:
            cells = line.split("\t")
        elif file.suffix.lower() == ".csv":
            cells = next(csv.reader([line]), [])
        else:
            cells = line.split(maxsplit=1)
        if len(cells) > 1:
            yield number, (comparable(cells[0].strip()).removeprefix("./"), cells[1])


def _said_in(recording: Recording, words: dict[str, str]) -> str:
    if len(recording.files) > 1 or recording.start_s or recording.stop_s is not None:
        return ""
    return next((words[name] for name in _names(recording.files[0]) if name in words), "")


def _names(file: Path) -> Iterator[str]:
    """Yield what a transcript may call a file, the most exact first."""
    parts = PurePath(comparable(str(file))).parts
    for start in range(len(parts)):
        name = PurePath(*parts[start:])
        yield name.as_posix()
        yield name.with_suffix("").as_posix()


# ---- Strings of digits, joined from takes of single ones


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
        takes = [Recording((file,), self.speaker).read() for file in self.files]
        names = "/".join(file.name for file in self.files)
        chance = np.random.default_rng(list(sha256(names.encode()).digest()))
        return Utterance(_joined([take.samples for take in takes], chance), source=self.name)


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
