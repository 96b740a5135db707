"""Folders of recordings: which sound files lie in them, and who speaks in each."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from os import stat_result
from pathlib import Path, PurePath

from membrane.errors import NoSuchFile, UsageError
from membrane.evaluation.corpora.labels import comparable, file_names, printable, reason

SOUND_ENDINGS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc"),
    *(".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".voc"),
)
"""Of files that libsndfile decodes without being told their rate and width."""


@dataclass(frozen=True)
class SoundFile:
    """A file that was found: where, in which folder, and who speaks.

    Parameters
    ----------
    path : Path
    parts : tuple of str
        Of the path below the folder.
    prefixes : tuple of str
        What lists may call the folder.
    corpus : str
        Empty where there is one folder only.
    speaker : str
        Within the corpus; empty where nobody knows.
    labels : tuple of (str, str)
    """

    path: Path
    parts: tuple[str, ...]
    prefixes: tuple[str, ...]
    corpus: str
    speaker: str
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def full_speaker(self) -> str:
        """What the speaker is called among those of all corpora."""
        return f"{self.corpus}/{self.speaker}" if self.corpus else self.speaker

    @property
    def names(self) -> tuple[str, ...]:
        """What a file of labels may call it, the most exact first."""
        return (
            *self._prefixed(comparable("/".join(self.parts))),
            *file_names(self.parts),
            *self._by_speaker,
        )

    @property
    def listed_as(self) -> frozenset[str]:
        """What a list of speakers and files may call it: it, its speaker, a folder it lies in."""
        paths = accumulate(self.parts, "{}/{}".format)
        named = (name for path in paths for name in self._prefixed(comparable(path)))
        return frozenset([*named, *self._by_speaker])

    @property
    def _by_speaker(self) -> tuple[str, ...]:
        return self._prefixed(comparable(self.speaker)) if self.speaker else ()

    def _prefixed(self, name: str) -> tuple[str, ...]:
        return (name, *(f"{prefix}/{name}" for prefix in self.prefixes))


def find_sounds(folders: Sequence[Path], notes: list[str]) -> list[SoundFile]:
    """Find the sound files of one or several corpora.

    Parameters
    ----------
    folders : sequence of Path
        Each holds a folder for each speaker, with files at any depth, or files only, which are of
        a speaker each.
    notes : list of str
        Gets a sentence on each folder in them that cannot be read.

    Raises
    ------
    NoSuchFile
        If a folder is not there or cannot be read.
    UsageError
        If one is given twice, or holds no sound file.
    """
    return [sound for corpus in _corpora(folders) for sound in _sounds(*corpus, notes)]


def _corpora(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Return the folders and what the corpora are called; nothing where there is only one."""
    real = [_real(folder) for folder in folders]
    taken: set[str] = set()
    for folder, place in zip(folders, real, strict=True):
        if real.count(place) > 1:
            raise UsageError(f"the folder {printable(folder)} is given twice: give it once")
        names = (place.name, *(f"{place.name}-{number}" for number in range(2, len(real) + 2)))
        corpus = next(name for name in names if name not in taken)
        taken.add(corpus)
        yield folder, corpus if len(folders) > 1 else ""


def _real(folder: Path) -> Path:
    """Return where a folder is, which tells whether it is there and what it is called."""
    try:
        return folder.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise NoSuchFile(f"{printable(folder)} cannot be read: {reason(error)}") from None


def _sounds(folder: Path, corpus: str, notes: list[str]) -> list[SoundFile]:
    """Return the recordings of one folder, by path."""
    found = sorted(_sound_files(folder, notes))
    if not found:
        raise UsageError(
            f"the folder {printable(folder)} holds no recording: give one with "
            ".wav, .flac, .ogg or .mp3 files, in a folder for each speaker"
        )
    flat = all(len(parts) == 1 for parts in found)
    stems = Counter(PurePath(parts[-1]).stem for parts in found)
    prefixes = tuple(dict.fromkeys(map(comparable, filter(None, (corpus, folder.resolve().name)))))

    def speaker(parts: tuple[str, ...]) -> str:
        if len(parts) > 1:
            return parts[0]
        stem = PurePath(parts[0]).stem
        return "" if not flat else stem if stems[stem] == 1 else parts[0]

    return [
        SoundFile(folder.joinpath(*parts), parts, prefixes, corpus, speaker(parts))
        for parts in found
    ]


def _sound_files(folder: Path, notes: list[str]) -> Iterator[tuple[str, ...]]:
    """Return the parts below `folder` of every sound file, in no order."""
    pending: list[tuple[str, ...]] = [()]
    # A link may lead to where one came from. Each speaker sees each folder once.
    seen = {("", *_identity(folder.stat()))}
    while pending:
        parts = pending.pop()
        for name in _listed(folder, parts, notes):
            below = (*parts, name)
            status = _status(folder.joinpath(*below))
            if status is not None and stat.S_ISDIR(status.st_mode):
                identity = _identity(status)
                if not seen.isdisjoint({(below[0], *identity), ("", *identity)}):
                    continue
                seen.add((below[0], *identity))
                pending.append(below)
            # A link to nothing is for whoever reads it to report; a pipe would never end.
            elif PurePath(name).suffix.lower() in SOUND_ENDINGS and (
                status is None or stat.S_ISREG(status.st_mode)
            ):
                yield below


def _listed(folder: Path, parts: tuple[str, ...], notes: list[str]) -> list[str]:
    """Return what lies in a folder and is not hidden."""
    place = folder.joinpath(*parts)
    try:
        return sorted(one.name for one in place.iterdir() if not one.name.startswith("."))
    except (OSError, ValueError) as error:
        problem = f"{printable(place)} cannot be read: {reason(error)}"
        if not parts:
            raise NoSuchFile(problem) from None
        notes.append(f"{problem}. What lies in it is left out.")
        return []


def _status(path: Path) -> stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _identity(status: stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
