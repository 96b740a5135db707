"""Recordings of known speakers: found in folders, labelled, cut and joined."""

from __future__ import annotations

import csv
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha256
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np

from membrane.audio.files import LONGEST_S, UNKNOWN_LENGTH, read_utterance
from membrane.audio.stderr import quiet
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import NoSuchFile, UndecodableAudio, UsageError

SOUND_ENDINGS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc"),
    *(".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".voc"),
)
"""Of files that libsndfile decodes without being told their rate and width."""

LARGEST_LIST = 256 * 1024 * 1024
"""Bytes of a list of labels, speakers or trials that are read: four times VoxCeleb's largest."""

ADULT = 18
"""Years from which a voice counts as grown up."""

MOST_AGES = 6
"""Different ages that are reported each on its own."""

NAMED = 3
"""Files that a message names at most."""

Item = TypeVar("Item")


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
        name = shown(str(self.files[0]))
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
        samples = parts[0].samples
        if len(parts) > 1:
            samples = np.concatenate([part.samples for part in parts])
        stop = None if self.stop_s is None else round(self.stop_s * SAMPLE_RATE)
        stretch = samples[round(self.start_s * SAMPLE_RATE) : stop]
        if not len(stretch):
            raise UndecodableAudio(f"{self.name} holds no samples: the file is shorter")
        return replace(parts[0], samples=stretch, source=self.name)

    def content_hash(self) -> str:
        """Return the SHA-256 of the files' bytes and the stretch, hexadecimal.

        It is that of the files' own digests in their order, so that bytes that move from one file
        to the next make another hash.

        Raises
        ------
        NoSuchFile
            If a file cannot be read.
        """
        whole = sha256(repr((self.start_s, self.stop_s)).encode())
        for file in self.files:
            whole.update(_digest(file))
        return whole.hexdigest()


@dataclass(frozen=True)
class Found:
    """What was found in folders.

    Parameters
    ----------
    recordings : tuple of Recording
        By corpus in the order of the folders, then by path.
    notes : tuple of str
        What was left out and why, and what falsifies error rates; a sentence each.
    skipped : tuple of Path
        The files that were left out.
    """

    recordings: tuple[Recording, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Label:
    """What a file of labels says of a speaker or a file.

    Parameters
    ----------
    speaker : str
        Empty where the file has no column of that name.
    labels : tuple of (str, str)
        Sorted by name; without those that are empty.
    """

    speaker: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Labels:
    """A file of labels that was read.

    Parameters
    ----------
    path : Path
        For messages.
    first : str
        The first cell of the header.
    rows : dict of str to Label
        By the first column: a path below the folder, a file's name or stem, or a speaker.
    """

    path: Path
    first: str
    rows: Mapping[str, Label]

    def of(self, names: Iterable[str]) -> Label | None:
        """Return what is said of the first of these names that is in the file."""
        return next((self.rows[name] for name in names if name in self.rows), None)

    def check(self, names: Iterable[Sequence[str]]) -> None:
        """Refuse a file that says nothing of any recording.

        Raises
        ------
        UsageError
            If its first line is no header, or none of the names is in it.
        """
        known = {name for some in names for name in some}
        if self.first in known:
            raise UsageError(
                f"{self.path} has no header: let its first line name the columns, "
                "such as speaker, gender, age"
            )
        if known.isdisjoint(self.rows):
            raise UsageError(
                f"{self.path} labels none of the recordings: its first column must hold paths "
                "below the folder, file names or speakers"
            )


@dataclass(frozen=True)
class _Sound:
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
    """

    path: Path
    parts: tuple[str, ...]
    prefixes: tuple[str, ...]
    corpus: str
    speaker: str
    label: Label = field(default_factory=Label)

    @property
    def names(self) -> tuple[str, ...]:
        """What a file of labels may call it, the most exact first."""
        return (*self._prefixed(_joined(self.parts)), *file_names(self.parts), *self._by_speaker)

    @property
    def lists(self) -> frozenset[str]:
        """What a list of speakers and files may call it: it, its speaker, a folder it lies in."""
        ends = range(1, len(self.parts) + 1)
        paths = [name for end in ends for name in self._prefixed(_joined(self.parts[:end]))]
        return frozenset([*paths, *self._by_speaker])

    @property
    def _by_speaker(self) -> tuple[str, ...]:
        return self._prefixed(comparable(self.speaker)) if self.speaker else ()

    def _prefixed(self, name: str) -> tuple[str, ...]:
        return (name, *(f"{prefix}/{name}" for prefix in self.prefixes))

    def recording(self) -> Recording:
        speaker = shown(f"{self.corpus}/{self.speaker}" if self.corpus else self.speaker)
        return Recording((self.path,), speaker, shown(self.corpus), self.label.labels)


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
        shorter ones of one speaker and equal labels until they hold it; what then remains is left
        out. Files that cannot be read, or are longer than a recording may be, stay as they are.
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
    sounds = [sound for corpus in _corpora(folders) for sound in _sounds(*corpus, notes)]
    if labels is not None:
        sounds = _labelled(sounds, read_labels(labels), notes)
    kept = _chosen([sound for sound in sounds if sound.speaker], only, without, notes)
    _note_strays(sounds, notes)
    recordings = [sound.recording() for sound in kept]
    if pieces_s is not None:
        recordings = _cut_and_joined(recordings, pieces_s, notes)
    notes += duplicate_notes(recordings)
    used = {file for recording in recordings for file in recording.files}
    skipped = tuple(sound.path for sound in sounds if sound.path not in used)
    return Found(tuple(recordings), tuple(notes), skipped)


def read_labels(path: Path) -> Labels:
    """Read what is known of speakers or files from a table.

    Parameters
    ----------
    path : Path
        TSV or CSV in UTF-8, with a header. The first column names a file by its path below the
        folder, its name or its stem, or a speaker. A further column ``speaker`` says who speaks;
        every other one is a label. Column names are compared without case. An ``age`` of more than
        six different numbers becomes "under 18" or "18 or more".

    Raises
    ------
    UsageError
        If it cannot be read, has no header, or says two things of one.
    """
    lines = read_text(path).splitlines()
    tabs = bool(lines) and "\t" in lines[0]
    # Between tabs a quotation mark is nothing but that.
    table = csv.reader(lines, csv.excel_tab, quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
    try:
        rows = [(table.line_num, [cell.strip() for cell in row]) for row in table if any(row)]
    except csv.Error as error:
        raise UsageError(f"{path}, line {table.line_num} is not a row: {error}") from None
    return _as_labels(path, rows)


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
    for key in (_size, _middle, _digest):
        groups = [part for group in groups for part in _alike(group, key)]
    return [
        (shown(str(first)), shown(str(other)))
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
    more = "" if len(pairs) <= NAMED else f" and {len(pairs) - NAMED} more"
    return [
        f"The same recording lies under two speakers, which falsifies error rates: {named}{more}."
    ]


def read_text(path: Path) -> str:
    """Return the text of a list.

    Raises
    ------
    NoSuchFile
        If it is not there, is a directory, or may not be read.
    UsageError
        If it is not text in UTF-8, or larger than 256 MB.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_LIST + 1)
    except (OSError, ValueError) as error:
        raise NoSuchFile(f"{shown(str(path))} cannot be read: {_reason(error)}") from None
    if len(data) > LARGEST_LIST:
        raise UsageError(f"{path} has more than {LARGEST_LIST >> 20} MB: is it a list?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"{path} is not a text file: save it as UTF-8")
    return text


def file_names(parts: Sequence[str]) -> tuple[str, str]:
    """Return name and stem of a file, as `comparable`."""
    name = comparable(parts[-1])
    return name, PurePath(name).stem


def comparable(name: str) -> str:
    """Return a name in the one form in which names of files and labels are compared (NFC).

    Some systems compose the names of files, some take them apart.
    """
    return unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """Return a name as it may be printed: what is not printable, as an escape."""
    if name.isprintable():
        return name
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in name
    )


def _corpora(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Return the folders and what the corpora are called; nothing where there is only one."""
    real = [os.path.realpath(folder) for folder in folders]
    taken: set[str] = set()
    for folder, place in zip(folders, real, strict=True):
        if real.count(place) > 1:
            raise UsageError(f"the folder {shown(str(folder))} is given twice: give it once")
        name = PurePath(place).name or "root"
        corpus = name
        number = 2
        while corpus in taken:
            corpus, number = f"{name}-{number}", number + 1
        taken.add(corpus)
        yield Path(folder), corpus if len(folders) > 1 else ""


def _sounds(folder: Path, corpus: str, notes: list[str]) -> list[_Sound]:
    """Return the recordings of one folder, by path."""
    found = sorted(_sound_files(folder, notes))
    if not found:
        raise UsageError(
            f"the folder {shown(str(folder))} holds no recording: give one with "
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
        _Sound(folder.joinpath(*parts), parts, prefixes, corpus, speaker(parts)) for parts in found
    ]


def _sound_files(folder: Path, notes: list[str]) -> Iterator[tuple[str, ...]]:
    """Return the parts below `folder` of every sound file, in no order."""
    pending: list[tuple[str, ...]] = [()]
    # A link may lead to where one came from. Each speaker sees each folder once.
    seen = {("", *_identity(folder.stat()))} if folder.is_dir() else set()
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
            elif _is_sound(name) and (status is None or stat.S_ISREG(status.st_mode)):
                yield below


def _listed(folder: Path, parts: tuple[str, ...], notes: list[str]) -> list[str]:
    """Return what lies in a folder and is not hidden."""
    place = folder.joinpath(*parts)
    try:
        names = [entry.name for entry in place.iterdir()]
    except (OSError, ValueError) as error:
        problem = f"{shown(str(place))} cannot be read: {_reason(error)}"
        if not parts:
            raise NoSuchFile(problem) from None
        notes.append(f"{problem}. What lies in it is left out.")
        return []
    return sorted(name for name in names if not name.startswith("."))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_sound(name: str) -> bool:
    return PurePath(name).suffix.lower() in SOUND_ENDINGS


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _joined(parts: Sequence[str]) -> str:
    return comparable("/".join(parts))


def _as_labels(path: Path, rows: Sequence[tuple[int, list[str]]]) -> Labels:
    header = [shown(cell.lower()) for cell in rows[0][1]] if rows else []
    if len(header) < 2 or not all(header):
        raise UsageError(
            f"{path} has no header of two columns or more: let its first line name them, "
            "such as speaker and gender, between tabs or commas"
        )
    if len(set(header[1:])) < len(header) - 1:
        raise UsageError(f"{path} has two columns of one name: give each its own")
    found: dict[str, Label] = {}
    for line, cells in rows[1:]:
        if len(cells) > len(header):
            raise UsageError(
                f"{path}, line {line} has {len(cells)} columns, the header {len(header)}"
            )
        label = _label(header[1:], cells[1:])
        key = comparable(cells[0]).removeprefix("./")
        if found.setdefault(key, label) != label:
            raise UsageError(f"{path}, line {line} says something else of {shown(cells[0])!r}")
    return Labels(path, comparable(rows[0][1][0]), _with_ages_grouped(found))


def _label(columns: Sequence[str], cells: Sequence[str]) -> Label:
    values = {column: shown(cell) for column, cell in zip(columns, cells, strict=False) if cell}
    return Label(values.pop("speaker", ""), tuple(sorted(values.items())))


def _with_ages_grouped(rows: Mapping[str, Label]) -> Mapping[str, Label]:
    """Return the labels with children and adults for ages, if there are too many ages."""
    ages = {value for label in rows.values() for name, value in label.labels if name == "age"}
    if len(ages) <= MOST_AGES or not all(map(_is_number, ages)):
        return rows
    return {
        key: replace(
            label,
            labels=tuple(
                (name, _age_group(value) if name == "age" else value)
                for name, value in label.labels
            ),
        )
        for key, label in rows.items()
    }


def _age_group(age: str) -> str:
    return f"under {ADULT}" if float(age) < ADULT else f"{ADULT} or more"


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def _labelled(sounds: Sequence[_Sound], labels: Labels, notes: list[str]) -> list[_Sound]:
    names = [sound.names for sound in sounds]
    labels.check(names)
    found = [labels.of(some) for some in names]
    missing = found.count(None)
    if missing:
        notes.append(f"{missing} of {len(sounds)} recordings have no labels in {labels.path}.")
    return [
        sound
        if label is None
        else replace(sound, label=label, speaker=label.speaker or sound.speaker)
        for sound, label in zip(sounds, found, strict=True)
    ]


def _chosen(
    sounds: list[_Sound], only: Path | None, without: Path | None, notes: list[str]
) -> list[_Sound]:
    if only is not None:
        listed = _entries(only)
        sounds = [sound for sound in sounds if not listed.isdisjoint(sound.lists)]
    if without is not None:
        listed = _entries(without)
        before = len(sounds)
        sounds = [sound for sound in sounds if listed.isdisjoint(sound.lists)]
        if len(sounds) == before:
            notes.append(f"{without} leaves nothing out: it names none of the recordings.")
    if not sounds:
        raise UsageError(
            f"no recording is left by {' and '.join(str(path) for path in (only, without) if path)}"
            ": list speakers, corpus/speaker or corpus/file.flac, one a line"
            if only or without
            else "no recording has a speaker: put each into a folder of its speaker's name"
        )
    return sounds


def _entries(path: Path) -> frozenset[str]:
    lines = (line.strip() for line in read_text(path).split("\n"))
    return frozenset(
        comparable(line.rstrip("/").removeprefix("./"))
        for line in lines
        if line and not line.startswith("#")
    )


def _note_strays(sounds: Sequence[_Sound], notes: list[str]) -> None:
    strays = [shown(str(sound.path)) for sound in sounds if not sound.speaker]
    if strays:
        notes.append(
            f"{len(strays)} recordings lie beside the folders of the speakers and are left out, "
            f"such as {strays[0]}."
        )


def _cut_and_joined(
    recordings: Sequence[Recording], pieces_s: float, notes: list[str]
) -> list[Recording]:
    pieces: list[Recording] = []
    waiting: dict[tuple[object, ...], _Joining] = {}
    for one in recordings:
        seconds = _seconds(one.files[0])
        if seconds is None or pieces_s <= seconds <= 2 * pieces_s:
            pieces.append(one)
        elif seconds > pieces_s:
            pieces += _cut(one, seconds, pieces_s)
        else:
            joining = waiting.setdefault((one.speaker, one.corpus, one.labels), _Joining())
            joining.add(one, seconds)
            if joining.seconds >= pieces_s:
                pieces.append(joining.take())
    left = sum(len(joining.files) for joining in waiting.values())
    if left:
        notes.append(
            f"{left} recordings are left out: joined with what else is left of their speaker, "
            f"they are shorter than {pieces_s:g} s."
        )
    if not pieces:
        raise UsageError(f"no speaker has {pieces_s:g} s of recordings: ask for shorter pieces")
    return pieces


@dataclass
class _Joining:
    """Short recordings of one speaker, on their way to be one."""

    files: list[Recording] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, recording: Recording, seconds: float) -> None:
        self.files.append(recording)
        self.seconds += seconds

    def take(self) -> Recording:
        """Return them as one, and begin again."""
        joined = replace(self.files[0], files=tuple(one.files[0] for one in self.files))
        self.files, self.seconds = [], 0.0
        return joined


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
            header = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return None
    if header.samplerate <= 0 or not 0 < header.frames < UNKNOWN_LENGTH:
        return None
    seconds = header.frames / header.samplerate
    return seconds if seconds <= LONGEST_S else None


def _alike(files: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Return the groups of two or more files of one key."""
    groups: dict[Hashable, list[Path]] = {}
    for file in files:
        try:
            groups.setdefault(key(file), []).append(file)
        except (OSError, NoSuchFile):
            continue
    return [group for group in groups.values() if len(group) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


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
        raise NoSuchFile(f"{shown(str(path))} cannot be read: {_reason(error)}") from None
