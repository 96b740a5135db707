"""Recordings of known speakers: found in folders, labelled, cut and joined."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np

from membrane.audio.files import LONGEST_S, UNKNOWN_LENGTH, read_utterance
from membrane.audio.stderr import quiet
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import NoSuchFile, UndecodableAudio, UsageError
from membrane.evaluation.corpora.folders import SoundFile, find_sounds
from membrane.evaluation.corpora.labels import (
    comparable,
    counted,
    printable,
    read_labels,
    read_text,
    reason,
)

NAMED = 3
"""Files that a message names at most."""


@dataclass(frozen=True)
class Recording:
    """One utterance of a known speaker: a file, a stretch of one, or several joined.

    Parameters
    ----------
    files : tuple of Path
        Joined in this order.
    speaker : str
        Unique over all corpora: where there are several, ``corpus/name``.
    corpus : str
        The folder it was found in; speakers of different corpora are never compared.
    labels : tuple of (str, str)
        Such as ``("gender", "f")``; sorted by name.
    start_s, stop_s : float, seconds
        The stretch of the joined files; `stop_s` None for their end.
    """

    files: tuple[Path, ...]
    speaker: str
    corpus: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    start_s: float = 0.0
    stop_s: float | None = None

    @property
    def name(self) -> str:
        """What a person calls it in a message: the first file, and how many more."""
        name = printable(self.files[0])
        if len(self.files) > 1:
            name += f" and {len(self.files) - 1} more"
        if self.start_s or self.stop_s is not None:
            end = "its end" if self.stop_s is None else f"{self.stop_s:.1f} s"
            name += f" from {self.start_s:.1f} s to {end}"
        return name

    def read(self) -> Utterance:
        """Return the sound.

        Raises
        ------
        NoSuchFile, UndecodableAudio, RecordingTooLong
            As `membrane.audio.files.read_utterance` does, and if the files end before the
            stretch begins.
        """
        parts = [read_utterance(file) for file in self.files]
        samples = np.concatenate([part.samples for part in parts])
        stop = None if self.stop_s is None else round(self.stop_s * SAMPLE_RATE)
        stretch = samples[round(self.start_s * SAMPLE_RATE) : stop]
        if not len(stretch):
            raise UndecodableAudio(f"{self.name} holds no samples: the file is shorter")
        return parts[0].changed(samples=stretch, source=self.name)

    def content_hash(self) -> str:
        """Return the SHA-256 of the files' bytes and the stretch, hexadecimal.

        It is that of the files' own digests in their order, so that bytes that move from one file
        to the next make another hash.

        Raises
        ------
        NoSuchFile
            If a file cannot be read.
        """
        stretch = repr((self.start_s, self.stop_s)).encode()
        return sha256(stretch + b"".join(map(_digest, self.files))).hexdigest()


@dataclass(frozen=True)
class Found:
    """What was found in folders.

    Parameters
    ----------
    recordings : tuple of Recording
        By corpus in the order of the folders, then by path.
    notes : tuple of str
        What was left out and why, and what falsifies error rates; a sentence each.
    """

    recordings: tuple[Recording, ...]
    notes: tuple[str, ...] = ()


def find_recordings(
    folders: Sequence[Path],
    *,
    labels: Path | None = None,
    pieces_s: float | None = None,
    only: Path | None = None,
    without: Path | None = None,
) -> Found:
    """Find the recordings of one or several corpora.

    A folder holds a folder for each speaker, with files at any depth, or files only, each of a
    speaker of its own. Files that begin with a dot are left out.

    Parameters
    ----------
    folders : sequence of Path
        A corpus each, called as the folder is; where there are several, speakers become
        ``corpus/name``.
    labels : Path or None
        As `read_labels` reads it.
    pieces_s : float or None, seconds
        Cut recordings of more than twice this length into equal pieces of about it, and join
        shorter ones of one speaker and equal labels, in an order that mixes them, until they hold
        it; what then remains is left out. Files that cannot be read, or are longer than a
        recording may be, stay as they are.
    only, without : Path or None
        Lists of what is kept, or left out: ``speaker``, ``corpus/speaker`` or
        ``corpus/file.flac``, one a line.

    Raises
    ------
    UsageError
        If a folder holds no recording, a list or the labels fit none or cannot be read, or
        nothing is left.
    """
    if pieces_s is not None and not 0 < pieces_s <= LONGEST_S:
        raise UsageError(f"pieces of {pieces_s} s cannot be made: use up to {LONGEST_S:.0f} s")
    notes: list[str] = []
    sounds = find_sounds(list(map(Path, folders)), notes)
    if labels is not None:
        found, unlabelled = read_labels(labels).look_up([sound.names for sound in sounds])
        notes += unlabelled
        sounds = [
            sound
            if label is None
            else replace(sound, labels=label.labels, speaker=label.speaker or sound.speaker)
            for sound, label in zip(sounds, found, strict=True)
        ]
    kept = _chosen([sound for sound in sounds if sound.speaker], only, without, notes)
    strays = [printable(sound.path) for sound in sounds if not sound.speaker]
    if strays:
        notes.append(
            f"Left out: {counted(len(strays), 'recording')} beside the folders of the speakers, "
            f"such as {strays[0]}."
        )
    recordings = [
        Recording(
            (sound.path,), printable(sound.full_speaker), printable(sound.corpus), sound.labels
        )
        for sound in kept
    ]
    if pieces_s is not None:
        recordings = _cut_and_joined(recordings, pieces_s, notes)
    notes += duplicate_notes(recordings)
    return Found(tuple(recordings), tuple(notes))


def duplicates(recordings: Iterable[Recording]) -> list[tuple[str, str]]:
    """Find files of the same bytes under two speakers, which falsify error rates.

    Parameters
    ----------
    recordings : iterable of Recording

    Returns
    -------
    list of (str, str)
        Two files each, with their paths; files that cannot be read are left out.
    """
    speakers = {file: one.speaker for one in recordings for file in one.files}
    groups: list[list[Path]] = [list(speakers)]
    for key in (lambda path: path.stat().st_size, _middle, _digest):
        groups = [part for group in groups for part in _alike(group, key)]
    return [
        (printable(first), printable(other))
        for first, *others in groups
        for other in others
        if speakers[other] != speakers[first]
    ]


def duplicate_notes(recordings: Iterable[Recording]) -> list[str]:
    """Return the sentence that names what `duplicates` finds, or none."""
    pairs = duplicates(recordings)
    if not pairs:
        return []
    named = "; ".join(f"{one} and {other}" for one, other in pairs[:NAMED])
    more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    return [
        f"The same recording lies under two speakers, which falsifies error rates: {named}{more}."
    ]


def _chosen(
    sounds: list[SoundFile], only: Path | None, without: Path | None, notes: list[str]
) -> list[SoundFile]:
    if not sounds:
        raise UsageError("no recording has a speaker: put each into a folder of its speaker's name")
    if only is not None:
        listed = listed_in(only)
        sounds = [sound for sound in sounds if not listed.isdisjoint(sound.listed_as)]
    sounds = without_listed(sounds, without, notes)
    if not sounds:
        lists = " and ".join(printable(path) for path in (only, without) if path is not None)
        raise UsageError(
            f"no recording is left by {lists}: "
            "list speakers, corpus/speaker or corpus/file.flac, one a line"
        )
    return sounds


def without_listed(
    sounds: Sequence[SoundFile], without: Path | None, notes: list[str] | None = None
) -> list[SoundFile]:
    """Return the sounds that a list does not name.

    Parameters
    ----------
    sounds : sequence of SoundFile
    without : Path or None
        As `listed_in` reads it.
    notes : list of str, optional
        Gets a sentence if the list names none of them.

    Raises
    ------
    NoSuchFile, UsageError
        If the list is not there, or is not text.
    """
    if without is None:
        return list(sounds)
    listed = listed_in(without)
    kept = [sound for sound in sounds if listed.isdisjoint(sound.listed_as)]
    if notes is not None and len(kept) == len(sounds):
        notes.append(f"{printable(without)} leaves nothing out: it names none of the recordings.")
    return kept


def listed_in(path: Path) -> frozenset[str]:
    """Return the entries of a list, in the form of `Sound.listed_as`.

    Parameters
    ----------
    path : Path
        One a line: a speaker, ``corpus/speaker``, ``corpus/file.flac`` or a folder. Empty lines and
        those that begin with ``#`` say nothing.

    Raises
    ------
    NoSuchFile, UsageError
        If the list is not there, or is not text.
    """
    lines = (line.strip() for line in read_text(path).split("\n"))
    return frozenset(
        comparable(line.rstrip("/").removeprefix("./"))
        for line in lines
        if line and not line.startswith("#")
    )


def _cut_and_joined(
    recordings: Sequence[Recording], pieces_s: float, notes: list[str]
) -> list[Recording]:
    pieces: list[Recording] = []
    short: list[tuple[Recording, float]] = []
    for one in recordings:
        seconds = _seconds(one.files[0])
        if seconds is None or pieces_s <= seconds <= 2 * pieces_s:
            pieces.append(one)
        elif seconds > pieces_s:
            pieces += _cut(one, seconds, pieces_s)
        else:
            short.append((one, seconds))
    waiting: dict[tuple[object, ...], list[tuple[Path, float]]] = defaultdict(list)
    for one, seconds in sorted(short, key=_mixed):
        alike = waiting[one.speaker, one.corpus, one.labels]
        alike.append((one.files[0], seconds))
        if sum(length for _, length in alike) >= pieces_s:
            pieces.append(replace(one, files=tuple(file for file, _ in alike)))
            alike.clear()
    left = sum(map(len, waiting.values()))
    if left:
        notes.append(
            f"Left out: {counted(left, 'recording')} shorter than {pieces_s:g} s even when joined "
            "with what else was left of the speaker."
        )
    if not pieces:
        raise UsageError(f"no speaker has {pieces_s:g} s of recordings: ask for shorter pieces")
    return pieces


def _mixed(short: tuple[Recording, float]) -> tuple[str, bytes]:
    """Return the place of a short recording in an order that is random, and always the same.

    Corpora of words are sorted by word: joined in that order, each piece would be one word said
    many times, and no piece would be like another.
    """
    return short[0].speaker, sha256(os.fsencode(short[0].files[0].name)).digest()


def _cut(recording: Recording, seconds: float, pieces_s: float) -> list[Recording]:
    count = round(seconds / pieces_s)
    ends = [seconds * end / count for end in range(1, count)]
    return [
        replace(recording, start_s=start, stop_s=stop)
        for start, stop in zip([0.0, *ends], [*ends, None], strict=True)
    ]


def _seconds(path: Path) -> float | None:
    """Return the length that a file's header tells; None where it cannot be cut by it."""
    import soundfile

    try:
        with quiet():
            header = soundfile.info(os.fsencode(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return None
    known = header.samplerate > 0 and 0 < header.frames < UNKNOWN_LENGTH
    seconds = header.frames / header.samplerate if known else 0.0
    return seconds if 0 < seconds <= LONGEST_S else None


def _alike(files: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Return the groups of two or more files of one key."""
    groups: dict[Hashable, list[Path]] = {}
    for file in files:
        with suppress(OSError, NoSuchFile):
            groups.setdefault(key(file), []).append(file)
    # Files of no bytes hold no recording.
    return [group for value, group in groups.items() if value and len(group) > 1]


def _middle(path: Path) -> bytes:
    """Return some bytes from where speech is likely: many corpora cut all files to one length."""
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return file.read(4096)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").digest()
    except (OSError, ValueError) as error:
        raise NoSuchFile(f"{printable(path)} cannot be read: {reason(error)}") from None
