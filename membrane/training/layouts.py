"""Layouts of corpora: who speaks in each file, according to the folders of known corpora."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import StringIO
from itertools import groupby
from pathlib import Path, PurePath

from membrane.errors import UsageError
from membrane.evaluation.corpora.folders import SoundFile, find_sounds
from membrane.evaluation.corpora.labels import counted, printable, read_text
from membrane.evaluation.corpora.recordings import Recording, duplicate_notes, without_listed

COMMON_VOICE_TABLES = ("validated.tsv", "train.tsv")
"""The first existing one is used: ``validated`` holds all clips that listeners confirmed."""

NO_SPEECH = "_background_noise_"
"""The folder of Speech Commands that holds noises."""

SUBSET = re.compile(
    r"(train|dev|test|eval|valid|validation|wavs?\d*|flac|audio|clips|data)([-_. ].*)?", re.I
)
"""Folders around those of the speakers, such as ``train-clean-100``, ``wav48`` or ``dev``."""

LIBRISPEECH = re.compile(r"(\d+)-\d+-\d{4}")
SPEECH_COMMANDS = re.compile(r"([0-9a-f]{8})_nohash_\d+")
VOXCELEB = re.compile(r"id\d{5}")

Parts = tuple[str, ...]


def find_speech(
    folders: Sequence[Path], *, without: Path | None, notes: list[str]
) -> tuple[Recording, ...]:
    """Find the recordings of one or several corpora, and who speaks in them.

    Known are: LibriSpeech (``speaker-chapter-utterance`` is the file's name), VoxCeleb
    (``id10001/video/utterance``), Common Voice (``clips`` beside ``validated.tsv`` or
    ``train.tsv``), Speech Commands (``word/speaker_nohash_number``), each with any folders around;
    a folder for each speaker, also within ``train``, ``wav48`` and the like; single files, each
    with its own speaker.

    Parameters
    ----------
    folders : sequence of Path
        A corpus each.
    without : Path or None
        A list of what to leave out: ``speaker``, ``corpus/speaker``, ``corpus/file.flac`` or a
        folder, one a line.
    notes : list of str
        Receives a sentence on each thing that is left out or doubtful.

    Returns
    -------
    tuple of Recording
        Recordings, with speakers named ``corpus/speaker``.

    Raises
    ------
    NoSuchFile
        If a folder or the list is missing.
    UsageError
        If a folder holds no recording, or no recording is left.
    """
    sounds = [
        replace(sound, speaker=speaker)
        for root, corpus in groupby(find_sounds(folders, notes), _root)
        for sound, speaker in _named(root, list(corpus))
    ]
    strays = [sound for sound in sounds if not sound.speaker]
    if strays:
        notes.append(
            f"Left out: {counted(len(strays), 'recording')} that no speaker is known of, "
            f"such as {printable(strays[0].path)}."
        )
    speech = [sound for sound in sounds if sound.speaker]
    kept = without_listed(speech, without, notes)
    if not kept:
        raise UsageError(
            "no recording of a known speaker is left: give a folder with a folder for each speaker"
        )
    recordings = tuple(
        Recording((sound.path,), printable(f"{_corpus(sound)}/{sound.speaker}"), _corpus(sound))
        for sound in kept
    )
    notes += duplicate_notes(recordings)
    return recordings


def _corpus(sound: SoundFile) -> str:
    """Return the name of a corpus, even if it is the only one."""
    return printable(sound.corpus or _root(sound).resolve().name or "speech")


def _root(sound: SoundFile) -> Path:
    return sound.path.parents[len(sound.parts) - 1]


def _named(root: Path, sounds: Sequence[SoundFile]) -> Iterator[tuple[SoundFile, str]]:
    """Return the sounds of a corpus, each with its speaker."""
    tables = _common_voice_tables(root, sounds)
    if tables:
        clients = {clip: client for table in tables for clip, client in _clips(table)}
        return ((sound, clients.get(sound.path, "")) for sound in sounds)
    for layout in (_librispeech, _voxceleb, _speech_commands):
        speakers = [layout(sound.parts) for sound in sounds]
        if None not in speakers and any(speakers):
            return zip(sounds, (speaker or "" for speaker in speakers), strict=True)
    level = _subset_levels(sounds)
    return ((sound, sound.parts[level] if level else sound.speaker) for sound in sounds)


def _librispeech(parts: Parts) -> str | None:
    match = LIBRISPEECH.fullmatch(PurePath(parts[-1]).stem)
    return match and match[1]


def _voxceleb(parts: Parts) -> str | None:
    return next((part for part in parts[:-1] if VOXCELEB.fullmatch(part)), None)


def _speech_commands(parts: Parts) -> str | None:
    if NO_SPEECH in parts[:-1]:
        return ""
    match = SPEECH_COMMANDS.fullmatch(PurePath(parts[-1]).stem)
    return match and match[1]


def _subset_levels(sounds: Sequence[SoundFile]) -> int:
    """Return how many levels of subset folders enclose the speakers' folders."""
    level = 0
    while all(
        len(sound.parts) > level + 2 and SUBSET.fullmatch(sound.parts[level]) for sound in sounds
    ):
        level += 1
    return level


def _common_voice_tables(root: Path, sounds: Iterable[SoundFile]) -> list[Path]:
    """Return the tables beside folders of clips."""
    homes = {sound.path.parent.parent for sound in sounds if sound.path.parent.name == "clips"}
    found = (
        next((table for name in COMMON_VOICE_TABLES if (table := home / name).is_file()), None)
        for home in sorted(homes)
    )
    return [table for table in found if table and root in table.parents]


def _clips(table: Path) -> Iterator[tuple[Path, str]]:
    """Return the path of each clip of a table, and its client."""
    rows = csv.DictReader(
        StringIO(read_text(table), newline=""), dialect=csv.excel_tab, quoting=csv.QUOTE_NONE
    )
    if not {"client_id", "path"} <= set(rows.fieldnames or ()):
        raise UsageError(
            f"{printable(table)} is no table of Common Voice: it needs the columns client_id and "
            "path"
        )
    for row in rows:
        if row["client_id"] and row["path"]:
            yield table.parent / "clips" / row["path"], row["client_id"]
