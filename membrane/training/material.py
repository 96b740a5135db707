"""Material: the speech, noises and rooms to learn from, decoded once and cached."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from membrane.audio.files import read_utterance
from membrane.audio.level import at_level
from membrane.audio.preparation import VOICE_LEVEL_DBFS, at_voice_level, prepare
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import NoSuchFile, UnusableRecording, UsageError
from membrane.evaluation.corpora.folders import find_sounds
from membrane.evaluation.corpora.labels import counted, printable
from membrane.evaluation.corpora.recordings import Recording, without_listed
from membrane.evaluation.keeping import Kept, Progress, results_of, source_hash
from membrane.evaluation.voices import cache_folder
from membrane.models.registry import registry
from membrane.training.layouts import find_speech
from membrane.training.synthesis import measured_response
from membrane.voice.frontends.trimming import raise_volume, trim_silences

SHORTEST_S = 0.25
"""Shorter utterances, in seconds of speech, are left out: less than a syllable or two."""

SHORT_S = 1.0
"""Seconds of speech in half of a speaker's utterances below which they are single words."""


HalfSamples = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Spoken:
    """One utterance, at the level of a voice.

    Parameters
    ----------
    whole : np.ndarray, shape (n,), float16, 16 kHz
        From just before the first word to just after the last.
    speech : np.ndarray, shape (m,), float16, 16 kHz
        The same without its long silences, as the encoder hears it.
    """

    whole: HalfSamples
    speech: HalfSamples


@dataclass(frozen=True, eq=False)
class Speaker:
    """One speaker.

    Parameters
    ----------
    speaker : str
        ``corpus/name``.
    corpus : str
        Name of the corpus.
    utterances : tuple of Spoken
        At least one.
    """

    speaker: str
    corpus: str
    utterances: tuple[Spoken, ...]

    @property
    def brief(self) -> bool:
        """Whether most utterances are single words."""
        return median(len(one.speech) for one in self.utterances) < SHORT_S * SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Material:
    """Data to learn from, about 200 MB per hour of speech.

    Parameters
    ----------
    voices : tuple of Speaker
        By corpus, then by speaker.
    noises : tuple of np.ndarray, shape (n,), float16, 16 kHz
        Recordings of noise.
    rooms : tuple of np.ndarray, shape (n,), float32, 16 kHz
        Impulse responses; the direct sound is the first sample, and 1.
    notes : tuple of str
        One sentence on each thing that was left out, and why.
    """

    voices: tuple[Speaker, ...]
    noises: tuple[HalfSamples, ...] = ()
    rooms: tuple[Samples, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How much speech there is, without its silences."""
        return sum(len(o.speech) for v in self.voices for o in v.utterances) / SAMPLE_RATE


@dataclass(frozen=True)
class Sources:
    """Where the material comes from.

    Parameters
    ----------
    speech : tuple of Path
        Folders, a corpus each, as `membrane.training.layouts.find_speech` reads them.
    noises, rooms : tuple of Path
        Folders of noises, and of the impulse responses of rooms.
    without : Path or None
        A list of speakers and files to leave out, so that they can be used to measure.
    """

    speech: tuple[Path, ...]
    noises: tuple[Path, ...] = ()
    rooms: tuple[Path, ...] = ()
    without: Path | None = None


def gather(
    sources: Sources, *, workers: int | None = None, progress: Progress | None = None
) -> Material:
    """Find all sound, decode it in parallel and cache it, so that the next start is quick.

    What was decoded before an error or Ctrl-C is kept.

    Parameters
    ----------
    workers : int, optional
        Processes that decode; by default one for each core.
    progress : callable, optional
        Told how many recordings of speech are ready, and of how many.

    Raises
    ------
    NoSuchFile
        If a folder or the list is not there.
    UsageError
        If a folder holds no sound that can be used, or there are fewer than two speakers.
    EngineUnavailable, ModelUnavailable
        If a worker died, or the voice activity detector is missing.
    """
    notes: list[str] = []
    recordings = find_speech(sources.speech, without=sources.without, notes=notes)
    # The short work comes first, so a mistyped folder shows at once.
    noises = _heard(_paths(sources.noises, sources.without, notes), "noise", notes)
    rooms = _heard(_paths(sources.rooms, sources.without, notes), "room response", notes)
    voices = _voices(_spoken(recordings, workers, progress, notes))
    if len(voices) < 2:
        raise UsageError(
            f"the speech is of {counted(len(voices), 'speaker')} only: an encoder learns from "
            "telling several apart, so give a folder with more"
        )
    return Material(
        voices,
        tuple(at_level(noise, VOICE_LEVEL_DBFS).astype(np.float16) for noise in noises),
        tuple(map(measured_response, rooms)),
        tuple(notes),
    )


def split(material: Material, seed: int, share: float) -> tuple[Material, Material]:
    """Split the material by speakers and by noises, so that the parts share none.

    Parameters
    ----------
    share : float
        Share of the speakers of each corpus, and of the noises, for the second part: at least one
        if there are two or more. Rooms go to both.

    Returns
    -------
    training, validation : Material
    """
    chance = np.random.default_rng(seed)
    apart: set[int] = set()
    for _, group in groupby(range(len(material.voices)), lambda v: material.voices[v].corpus):
        apart |= _drawn(list(group), share, chance)
    silent = _drawn(range(len(material.noises)), share, chance)
    first, second = (
        replace(
            material,
            voices=tuple(v for n, v in enumerate(material.voices) if (n in apart) is validation),
            noises=tuple(x for n, x in enumerate(material.noises) if (n in silent) is validation),
        )
        for validation in (False, True)
    )
    return first, second


def _drawn(places: Sequence[int], share: float, chance: np.random.Generator) -> set[int]:
    """Return a random share of some indices: at least one, if one remains."""
    count = max(1, round(share * len(places))) if share else 0
    return set(chance.permutation(places)[: min(count, len(places) - 1)].tolist())


def _paths(folders: Sequence[Path], without: Path | None, notes: list[str]) -> list[Path]:
    if not folders:
        return []
    kept = without_listed(find_sounds(folders, notes), without)
    if not kept:
        raise UsageError(
            f"{printable(without or '')} leaves nothing of {printable(folders[0])}: "
            "give another folder"
        )
    return [sound.path for sound in kept]


def _heard(paths: Sequence[Path], what: str, notes: list[str]) -> list[Samples]:
    """Return the sound of each file that has any."""
    problems: list[str] = []
    found = []
    for path in paths:
        try:
            samples = read_utterance(path).samples
        except (NoSuchFile, UnusableRecording) as error:
            problems.append(str(error))
            continue
        if samples.any():
            found.append(samples)
        else:
            problems.append(f"{printable(path)} is silent")
    _note_problems(problems, what, notes)
    if paths and not found:
        raise UsageError(f"no {what} can be used, such as {problems[0]}: give others")
    return found


def _note_problems(problems: Sequence[str], what: str, notes: list[str]) -> None:
    if problems:
        notes.append(
            f"Left out: {counted(len(problems), what)} that cannot be used, such as {problems[0]}."
        )


def kept_speech() -> Kept:
    """Return where prepared speech is kept, beside the voices."""
    folder = cache_folder().with_name("speech")
    return Kept(folder, "prepared speech", ".speech", pack=_packed, unpack=_unpacked)


def _spoken(
    recordings: Sequence[Recording],
    workers: int | None,
    progress: Progress | None,
    notes: list[str],
) -> Mapping[Recording, Spoken]:
    """Return the recordings that are long enough, prepared."""
    problems: list[str] = []
    keys = _keys(recordings, problems)
    unread = len(problems)
    kept = kept_speech()

    def tell(done: int, _total: int) -> None:
        if progress:
            progress(unread + done, len(recordings))

    prepared = results_of(
        _decoded,
        [(recording,) for recording in keys],
        list(keys.values()),
        kept=kept,
        progress=tell,
        workers=workers,
    )
    problems += [one for one in prepared if isinstance(one, str)]
    found = {it: one for it, one in zip(keys, prepared, strict=True) if isinstance(one, Spoken)}
    least = SHORTEST_S * SAMPLE_RATE
    long = {it: one for it, one in found.items() if len(one.speech) >= least}
    if kept.problem:
        notes.append(f"{kept.problem[0].upper()}{kept.problem[1:]}.")
    _note_problems(problems, "recording", notes)
    if len(long) < len(found):
        notes.append(
            f"Left out: {counted(len(found) - len(long), 'recording')} of less than "
            f"{SHORTEST_S:g} s of speech."
        )
    return long


def _voices(spoken: Mapping[Recording, Spoken]) -> tuple[Speaker, ...]:
    found = defaultdict[tuple[str, str], list[Spoken]](list)
    for recording, one in spoken.items():
        found[recording.corpus, recording.speaker].append(one)
    return tuple(
        Speaker(speaker, corpus, tuple(found[corpus, speaker])) for corpus, speaker in sorted(found)
    )


def _keys(recordings: Iterable[Recording], problems: list[str]) -> dict[Recording, str]:
    """Return the cache key of each recording: a hash of all that decides the result."""
    way = [source_hash(__name__), registry()["silero-vad"].sha256]
    keys: dict[Recording, str] = {}
    for recording in recordings:
        try:
            parts = json.dumps([*way, recording.content_hash()])
            keys[recording] = hashlib.sha256(parts.encode()).hexdigest()
        except NoSuchFile as error:
            problems.append(str(error))
    return keys


def _decoded(key: str, recording: Recording) -> tuple[str, Spoken | str]:
    """Return an utterance, or the reason why there is none."""
    try:
        prepared = prepare(recording.read(), denoising="never")
    except (NoSuchFile, UnusableRecording) as error:
        return key, str(error)
    whole = at_voice_level(prepared.samples)
    speech = trim_silences(raise_volume(whole))
    return key, Spoken(whole.astype(np.float16), speech.astype(np.float16))


def _packed(spoken: Spoken | str) -> bytes | None:
    if isinstance(spoken, str):
        return None
    both = np.concatenate([spoken.whole, spoken.speech])
    return len(spoken.whole).to_bytes(8, "little") + both.astype("<f2").tobytes()


def _unpacked(content: bytes) -> Spoken:
    length = int.from_bytes(content[:8], "little")
    both = np.frombuffer(content, "<f2", offset=8).astype(np.float16, copy=False)
    return Spoken(both[:length], both[length:])
