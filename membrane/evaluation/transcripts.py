"""Transcripts: which words were said in each recording."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from membrane.errors import UsageError
from membrane.evaluation.labels import comparable, read_text, shown
from membrane.evaluation.recordings import Recording
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
    found = [Said(one, _said_in(one, words)) for one in recordings]
    known = [said for said in found if said.words]
    if not known:
        raise UsageError(
            f"{shown(path)} tells the words of none of the recordings: let each line begin with "
            "the name of a file, then a tab and what is said in it"
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
                    f"{shown(file)}, line {number} says something else of {shown(name)}: "
                    "name the recording with its folder"
                )
    return words


def _lines(file: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    by_comma = file.suffix.lower() == ".csv"
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if "\t" in line:
            cells = line.split("\t")
        elif by_comma:
            cells = next(csv.reader([line]), [])
        else:
            cells = line.split(maxsplit=1)
        if len(cells) > 1:
            yield number, (comparable(cells[0].strip()).removeprefix("./"), cells[1])


def _said_in(recording: Recording, words: dict[str, str]) -> str:
    whole = not recording.start_s and recording.stop_s is None
    if len(recording.files) > 1 or not whole:
        return ""
    names = _names(recording.files[0])
    return next((words[name] for name in names if name in words), "")


def _names(file: Path) -> Iterator[str]:
    """Yield what a transcript may call a file, the most exact first."""
    parts = PurePath(comparable(str(file))).parts
    for start in range(len(parts)):
        name = PurePath(*parts[start:])
        yield name.as_posix()
        yield name.with_suffix("").as_posix()
