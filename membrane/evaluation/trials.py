"""Trials: who is compared with which probe, and whether they are the same person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix, isfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.errors import EncoderMismatch, NoSuchFile, UsageError
from membrane.evaluation.corpora.folders import SOUND_ENDINGS
from membrane.evaluation.corpora.labels import (
    Label,
    comparable,
    counted,
    file_names,
    printable,
    read_labels,
    read_text,
)
from membrane.evaluation.corpora.recordings import NAMED, Recording, duplicate_notes
from membrane.login.compare import Compared
from membrane.store.gallery import Gallery
from membrane.store.names import name_key

Pairs = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

MOST_TRIALS = 100_000_000
"""Trials of one evaluation: their scores fill some gigabytes."""


class Form(NamedTuple):
    """How a list writes a trial: the place of the label, what labels mean, and an example."""

    label: int
    same: Mapping[str, bool]
    example: str


KALDI = Form(2, {"target": True, "nontarget": False}, "`enrol test target` (or nontarget)")
VOXCELEB = Form(0, {"1": True, "0": False}, "`1 enrol.wav test.wav` (or 0)")

LONGEST_QUOTE = 60
"""Characters of a line that a message repeats."""


@dataclass(frozen=True, eq=False)
class Enrolled:
    """Somebody whom probes are compared with.

    Parameters
    ----------
    name : str
    speaker : str
    recordings : tuple of Recording
        What their voiceprint is made of; empty where it is a stored one.
    stored : Compared or None
        A stored voiceprint.
    """

    name: str
    speaker: str
    recordings: tuple[Recording, ...] = ()
    stored: Compared | None = None


@dataclass(frozen=True, eq=False)
class Trials:
    """Labelled comparisons.

    Parameters
    ----------
    enrolled : tuple of Enrolled
    probes : tuple of Recording
    pairs : np.ndarray, shape (t, 2), int32
        Index of the enrolled person and of the probe.
    same : np.ndarray, shape (t,), bool
        Whether they are the same person.
    notes : tuple of str
        What was left out and why, a sentence each.
    """

    enrolled: tuple[Enrolled, ...]
    probes: tuple[Recording, ...]
    pairs: npt.NDArray[np.int32]
    same: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def enrol_and_probe(recordings: Sequence[Recording], *, enroll: Sequence[int] = (3,)) -> Trials:
    """Enrol everybody from their first utterances, and compare all with what is left.

    Parameters
    ----------
    recordings : sequence of Recording
    enroll : sequence of int
        Of how many utterances to make a voiceprint; each number makes one of every speaker. The
        probes are what comes after the largest, so that they are the same for all. Who has no
        more utterances than that is a stranger: all of theirs are probes, and nobody is enrolled.

    Raises
    ------
    UsageError
        If nobody has utterances enough, or no corpus has two speakers.
    """
    numbers = sorted(set(enroll))
    if not numbers or numbers[0] < 1:
        raise UsageError("a voiceprint is made of 1 utterance or more: say of how many")
    most = numbers[-1]
    by_speaker = _by_speaker(recordings)
    strangers = sum(len(theirs) <= most for theirs in by_speaker.values())
    if strangers == len(by_speaker):
        raise UsageError(
            f"no speaker has more than {counted(most, 'utterance')}, which leaves no probe: "
            "give more recordings of each, or enrol from fewer"
        )
    enrolled = [
        Enrolled(
            f"{speaker}, {counted(number, 'utterance')}" if len(numbers) > 1 else speaker,
            speaker,
            tuple(theirs[:number]),
        )
        for speaker, theirs in by_speaker.items()
        if len(theirs) > most
        for number in numbers
    ]
    probes = [
        probe
        for theirs in by_speaker.values()
        for probe in (theirs[most:] if len(theirs) > most else theirs)
    ]
    return _checked(enrolled, probes, _grid(enrolled, probes), _strangers_noted(strangers, most))


def all_pairs(recordings: Sequence[Recording]) -> Trials:
    """Compare every recording with every later one of the same corpus.

    Parameters
    ----------
    recordings : sequence of Recording
        Each is enrolled alone.

    Raises
    ------
    UsageError
        If no speaker has two recordings, or no corpus has two speakers.
    """
    enrolled = [Enrolled(one.name, one.speaker, (one,)) for one in recordings]
    corpora = _by_corpus(recordings).values()
    _check_number(sum(len(places) * (len(places) - 1) // 2 for places in corpora))
    blocks = [places[np.stack(np.triu_indices(len(places), 1), axis=1)] for places in corpora]
    alone = sum(len(theirs) == 1 for theirs in _by_speaker(recordings).values())
    return _checked(enrolled, recordings, _stacked(blocks), _strangers_noted(alone, 1))


def read_trial_list(path: Path, root: Path, *, labels: Path | None = None) -> Trials:
    """Read a list of trials.

    Parameters
    ----------
    path : Path
        A trial a line, as VoxCeleb has them, ``1 enrol.wav test.wav`` (0 for two speakers), or as
        Kaldi has them, ``enrol test target`` (or ``nontarget``). Blank lines and those that begin
        with ``#`` are left out.
    root : Path
        The folder that the names are relative to; a name may lack the ending of its file.
    labels : Path or None
        As `membrane.evaluation.corpora.labels.read_labels` reads it. Who speaks is the column
        ``speaker``, else the first folder in which the names differ, else what the trials of one
        speaker join.

    Raises
    ------
    UsageError
        If it cannot be read, has a line of another form, names files that are not there, or has
        trials of one kind only.
    """
    listed = _parsed(path)
    files = _existing(listed.names, Path(root), path)
    notes: list[str] = []
    found: list[Label | None] = [None] * len(files)
    if labels is not None:
        found, notes = read_labels(labels).look_up([_names_of(name) for name in listed.names])
    known = [label or Label() for label in found]
    speakers = _speakers(listed, known)
    recordings = [
        Recording((file,), printable(speaker), labels=label.labels)
        for file, speaker, label in zip(files, speakers, known, strict=True)
    ]
    notes += _contradictions(listed, speakers)
    rows, row = np.unique(listed.pairs[:, 0], return_inverse=True)
    columns, column = np.unique(listed.pairs[:, 1], return_inverse=True)
    first = [recordings[place] for place in rows]
    notes += duplicate_notes(recordings)
    _check_kinds(listed.same)
    return Trials(
        enrolled=tuple(Enrolled(one.name, one.speaker, (one,)) for one in first),
        probes=tuple(recordings[place] for place in columns),
        pairs=np.stack((row, column), axis=1).astype(np.int32),
        same=listed.same,
        notes=tuple(notes),
    )


def against_database(gallery: Gallery, recordings: Sequence[Recording], *, encoder: str) -> Trials:
    """Compare everybody who is enrolled with every recording.

    Parameters
    ----------
    gallery : Gallery
    recordings : sequence of Recording
        The last part of a speaker's name is whose voice it is, compared as names of the enrolled
        are; of other names they are strangers.
    encoder : str
        Whose vectors the probes will be.

    Raises
    ------
    EncoderMismatch
        If all voiceprints come from another encoder.
    UsageError
        If nobody is enrolled, or no recording is of somebody enrolled, or all are of one.
    StoreDamaged
        If a voiceprint is.
    """
    if not len(gallery):
        raise UsageError("nobody is enrolled: enrol somebody, or give folders of speakers")
    rows = np.flatnonzero(gallery.made_by(encoder)).tolist()
    if not rows:
        raise EncoderMismatch(
            f"the voiceprints come from {', '.join(gallery.encoders)}, not from {encoder}: choose "
            "that one with --encoder, or make them anew with `membrane enroll --reencode`"
        )
    _check_number(len(rows) * len(recordings))
    stored = map(gallery.voiceprint, rows)
    enrolled = [Enrolled(one.name, one.name, stored=Compared.of(one)) for one in stored]
    names = {name_key(who.name): who.name for who in enrolled}
    # Speakers are told apart by their names' spelling, which a folder may have in another case.
    probes = [
        replace(
            one, speaker=names.get(name_key(one.speaker.rsplit("/", 1)[-1]), one.speaker), corpus=""
        )
        for one in recordings
    ]
    if not {who.speaker for who in enrolled} & {probe.speaker for probe in probes}:
        raise UsageError(
            "no recording is of anybody enrolled: name the folders of the speakers as "
            f"`membrane list` does, such as {enrolled[0].name}"
        )
    others = len(gallery) - len(rows)
    notes = [f"Left out: {counted(others, 'voiceprint')} of another encoder."] if others else []
    return _checked(enrolled, probes, _grid(enrolled, probes), notes)


def side_by_side(several: Sequence[Trials]) -> Trials:
    """Return several sets of trials as one; nobody is compared across them."""
    enrolled = np.cumsum([0, *(len(trials.enrolled) for trials in several)])
    probes = np.cumsum([0, *(len(trials.probes) for trials in several)])
    shifts = np.stack((enrolled, probes), axis=1).astype(np.int32)
    return Trials(
        enrolled=tuple(who for trials in several for who in trials.enrolled),
        probes=tuple(probe for trials in several for probe in trials.probes),
        pairs=np.concatenate(
            [trials.pairs + shift for trials, shift in zip(several, shifts[:-1], strict=True)]
        ),
        same=np.concatenate([trials.same for trials in several]),
        notes=tuple(dict.fromkeys(note for trials in several for note in trials.notes)),
    )


@dataclass(frozen=True, eq=False)
class _Listed:
    """A list of trials as it stands in its file: names, pairs of their indices, and labels."""

    names: tuple[str, ...]
    pairs: npt.NDArray[np.int64]
    same: Flags


def _parsed(path: Path) -> _Listed:
    numbers: dict[str, int] = {}
    pairs: list[int] = []
    same: list[bool] = []
    form: Form | None = None
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        fields = text.split()
        if not fields or fields[0].startswith("#"):
            continue
        form = form or _form(fields)
        if form is None or len(fields) != 3 or fields[form.label] not in form.same:
            examples = f"{VOXCELEB.example} or {KALDI.example}"
            wanted = f"{form.example}, as the lines before" if form else examples
            begin = printable(text.strip()[:LONGEST_QUOTE])
            raise UsageError(
                f"{printable(path)}, line {line} is not a trial: {begin!r} should be {wanted}"
            )
        same.append(form.same[fields.pop(form.label)])
        pairs += [numbers.setdefault(name, len(numbers)) for name in fields]
    if not same:
        raise UsageError(
            f"{printable(path)} holds no trial: write one a line, as {VOXCELEB.example}"
        )
    _check_number(len(same))
    return _Listed(tuple(numbers), np.reshape(pairs, (-1, 2)), np.array(same, np.bool_))


def _form(fields: Sequence[str]) -> Form | None:
    """Return which form the first trial has."""
    if len(fields) == 3 and fields[2] in KALDI.same:
        return KALDI
    return VOXCELEB if fields[0] in VOXCELEB.same else None


def _existing(names: Sequence[str], root: Path, path: Path) -> list[Path]:
    """Return the files of these names."""
    files = [_file(root, name) for name in names]
    missing = [
        printable(name[:LONGEST_QUOTE])
        for name, file in zip(names, files, strict=True)
        if file is None
    ]
    if missing:
        raise NoSuchFile(
            f"{printable(path)} names {counted(len(missing), 'file')} not to be found below "
            f"{printable(root)}: {', '.join(missing[:NAMED])}{' …' * (len(missing) > NAMED)}"
        )
    return [file for file in files if file is not None]


def _file(root: Path, name: str) -> Path | None:
    files = (Path(f"{root / name}{end}") for end in ("", *SOUND_ENDINGS))
    # `Path.is_file` would raise where a name is too long.
    return next((file for file in files if isfile(file)), None)  # noqa: PTH113


def _names_of(name: str) -> tuple[str, ...]:
    """Return what a file of labels may call a file of a list, the most exact first."""
    parts = PurePosixPath(name).parts
    return (comparable(name), *file_names(parts), *map(comparable, reversed(parts[:-1])))


def _speakers(listed: _Listed, known: Sequence[Label]) -> list[str]:
    """Return who speaks in each file of a list."""
    folders = _first_folders(listed.names)
    alike = _of_one(listed, folders)
    if _mostly(~alike[listed.same]) or _mostly(alike[~listed.same]):
        # Such as one folder to enrol from and one to test: no speakers.
        folders = [""] * len(folders)
    speakers = [label.speaker or folder for label, folder in zip(known, folders, strict=True)]
    if all(speakers):
        return speakers
    first = _joined_by_trials(listed)
    named = {first[place]: speaker for place, speaker in enumerate(speakers) if speaker}
    return [
        speaker or named.get(first[place], listed.names[first[place]])
        for place, speaker in enumerate(speakers)
    ]


def _mostly(flags: Flags) -> bool:
    return int(flags.sum()) * 2 > len(flags)


def _first_folders(names: Sequence[str]) -> list[str]:
    """Return the first folder of each name, without the folders that all of them share."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    shared = len(commonprefix(folders))  # noqa: RUF071 (of parts, not of letters)
    return [parts[shared] if len(parts) > shared else "" for parts in folders]


def _joined_by_trials(listed: _Listed) -> list[int]:
    """Return for each file the first that trials of one speaker join it with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = tuple(listed.pairs[listed.same].T)
    joins = coo_array((np.ones(len(ends[0])), ends), shape=[len(listed.names)] * 2)
    _, group = connected_components(joins, directed=False)
    _, first = np.unique(group, return_index=True)
    return list(first[group].tolist())


def _contradictions(listed: _Listed, speakers: Sequence[str]) -> list[str]:
    """Return sentences on the trials that cannot be what the list says."""
    alike = _of_one(listed, speakers)
    wrong_ones = {
        "listed as one speaker's, of files of two": listed.same & ~alike,
        "listed as two speakers', of files of one": ~listed.same & alike,
        "of a recording with itself": listed.pairs[:, 0] == listed.pairs[:, 1],
    }
    return [
        f"Error rates are falsified by {counted(int(wrong.sum()), 'trial')} {what}, "
        "such as "
        f"{' and '.join(printable(listed.names[place]) for place in listed.pairs[wrong.argmax()])}."
        for what, wrong in wrong_ones.items()
        if wrong.any()
    ]


def _of_one(listed: _Listed, speakers: Sequence[str]) -> Flags:
    """Return which trials are of files of one speaker."""
    one, other = _numbered(speakers)[listed.pairs].T
    return np.asarray(one == other)


def _numbered(names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return numbers that are equal where the names are."""
    return np.unique(names, return_inverse=True)[1]


def _strangers_noted(strangers: int, most: int) -> list[str]:
    shown = f"{counted(strangers, 'speaker')} of no more than {counted(most, 'utterance')}"
    return [f"Strangers only: {shown}."] if strangers else []


def _by_speaker(recordings: Iterable[Recording]) -> Mapping[str, list[Recording]]:
    found: dict[str, list[Recording]] = {}
    for one in recordings:
        found.setdefault(one.speaker, []).append(one)
    return found


def _by_corpus(recordings: Iterable[Recording]) -> Mapping[str, Pairs]:
    found: dict[str, list[int]] = {}
    for place, one in enumerate(recordings):
        found.setdefault(one.corpus, []).append(place)
    return {corpus: np.array(places, np.int32) for corpus, places in found.items()}


def _grid(enrolled: Sequence[Enrolled], probes: Sequence[Recording]) -> Pairs:
    """Return every enrolled with every probe of the same corpus; the stored have none."""
    firsts = [who.recordings[0] if who.recordings else probes[0] for who in enrolled]
    rows, columns = _by_corpus(firsts), _by_corpus(probes)
    shared = [corpus for corpus in rows if corpus in columns]
    _check_number(sum(len(rows[corpus]) * len(columns[corpus]) for corpus in shared))
    places = ((rows[corpus], columns[corpus]) for corpus in shared)
    return _stacked(
        np.stack((np.repeat(row, len(column)), np.tile(column, len(row))), axis=1)
        for row, column in places
    )


def _stacked(blocks: Iterable[Pairs]) -> Pairs:
    return np.concatenate([np.zeros((0, 2), np.int32), *blocks])


def _checked(
    enrolled: Sequence[Enrolled], probes: Sequence[Recording], pairs: Pairs, notes: Sequence[str]
) -> Trials:
    """Return the trials, which are of the same person where the speakers are of one name."""
    speakers = [*(who.speaker for who in enrolled), *(probe.speaker for probe in probes)]
    number = _numbered(speakers)
    same = np.asarray(number[pairs[:, 0]] == number[len(enrolled) + pairs[:, 1]])
    _check_kinds(same)
    return Trials(tuple(enrolled), tuple(probes), pairs, same, tuple(notes))


def _check_kinds(same: Flags) -> None:
    """Refuse trials that leave one of the two error rates without a meaning."""
    if not same.any():
        raise UsageError(
            "no trial is of one speaker: give more than one recording of somebody, "
            "in a folder of their name"
        )
    if same.all():
        raise UsageError(
            "no trial is of two speakers, so nobody could be taken for another: "
            "give the recordings of a second speaker, too"
        )


def _check_number(trials: int) -> None:
    if trials > MOST_TRIALS:
        raise UsageError(
            f"{trials:,} trials are too many: give fewer recordings, {MOST_TRIALS:,} trials at most"
        )
