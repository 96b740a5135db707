"""Voices: every recording's embedding, computed in parallel and kept by content."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache as cached
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from membrane.audio.preparation import prepare
from membrane.audio.quality import Quality, find_problem
from membrane.audio.utterance import Utterance
from membrane.errors import EngineUnavailable, NoSuchFile, PoorQuality, UnusableRecording
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.keeping import Kept, Progress, key_of, results_of, source_hash
from membrane.login.examine import Examiner, enrolled_utterance
from membrane.login.voices import Voices
from membrane.models.registry import registry
from membrane.settings import Settings, home
from membrane.store.voiceprint import EnrolledUtterance
from membrane.voice.encoder import Embedding, load_encoder

UNREADABLE = (NoSuchFile, UnusableRecording)


@dataclass(frozen=True)
class Job:
    """One recording to be heard.

    Parameters
    ----------
    recording : Recording
    condition : Condition
    enrolling : bool
        Hear it as an enrolment does (`Examiner.examine`).
    """

    recording: Recording
    condition: Condition = CLEAN
    enrolling: bool = False


@dataclass(frozen=True, eq=False)
class Heard:
    """What became of a job.

    Parameters
    ----------
    embedding : Embedding or None
        None where there is none.
    quality : Quality or None
        None where the file could not be read.
    denoised : bool
        Whether the voice was taken from denoised sound.
    problem : {"", "refused", "unreadable"}
        Refused by the quality gate, or not readable as sound.
    reason : str
        The problem in plain words.
    """

    embedding: Embedding | None
    quality: Quality | None
    denoised: bool = False
    problem: str = ""
    reason: str = ""

    def enrolled(self) -> EnrolledUtterance | None:
        """Return what an enrolment counts of it; None where there is no voice."""
        if self.embedding is None or self.quality is None:
            return None
        return enrolled_utterance(self.embedding, self.quality)


def cache_folder() -> Path:
    """Return where voices are kept: the user's cache folder, or in ``MEMBRANE_HOME`` if set."""
    if os.environ.get("MEMBRANE_HOME"):
        return home() / "cache" / "voices"
    from platformdirs import user_cache_path

    return user_cache_path("membrane", appauthor=False) / "voices"


class VoiceCache(Kept):
    """What was heard, kept in a folder.

    An entry is a line of JSON, and the vectors as little-endian float32: first the voice, then its
    partials.

    Parameters
    ----------
    folder : Path, optional
        By default `cache_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(
            folder or cache_folder(), "voices", ".voice", pack=_packed, unpack=_unpacked
        )


def _packed(heard: Heard) -> bytes | None:
    if heard.problem == "unreadable":
        return None
    about = {
        "quality": asdict(heard.quality) if heard.quality else None,
        "denoised": heard.denoised,
        "problem": heard.problem,
        "reason": heard.reason,
        "dimension": len(heard.embedding.vector) if heard.embedding else 0,
    }
    rows = [heard.embedding.vector, *heard.embedding.partials] if heard.embedding else []
    return json.dumps(about).encode() + b"\n" + np.array(rows, "<f4").tobytes()


def _unpacked(content: bytes) -> Heard:
    line, _, vectors = content.partition(b"\n")
    about = json.loads(line)
    dimension = about.pop("dimension")
    embedding = None
    if dimension:
        rows = np.frombuffer(vectors, "<f4").reshape(-1, dimension).astype(np.float32)
        embedding = Embedding(vector=rows[0], partials=rows[1:])
    quality = about.pop("quality")
    return Heard(embedding, Quality(**quality) if quality else None, **about)


def hear(  # noqa: PLR0913 (each is a choice of its own)
    jobs: Sequence[Job],
    settings: Settings,
    *,
    cache: VoiceCache | None = None,
    progress: Progress | None = None,
    gate: bool = True,
    fail_fast: bool = False,
    **how: Any,
) -> list[Heard]:
    """Hear every job, in parallel, but those that the cache knows.

    The cache knows a job by what decides its vector: the content of the recording and of the
    condition's files, the encoder, denoising, and the program itself. It keeps the voices of
    refused recordings, too, so that `gate` changes nothing that is kept. What finished before an
    error or Ctrl-C is kept.

    Parameters
    ----------
    jobs : sequence of Job
    settings : Settings
    cache : VoiceCache, optional
        Without one nothing is kept.
    progress : callable, optional
        Called with the number of jobs that are done, and of all.
    gate : bool
        Refuse what a login refuses; else only what holds no voice at all.
    fail_fast : bool
        Raise the first error of reading instead of returning it.
    **how
        As `parallel.as_they_finish` takes it.

    Returns
    -------
    list of Heard
        In the order of `jobs`.

    Raises
    ------
    UsageError, EngineUnavailable
        As `parallel.as_they_finish`; of noises, as `Condition.apply`; if the workers of a cluster
        run another Membrane.
    ModelUnavailable
        If an engine's model is missing.
    NoSuchFile, UnusableRecording
        With `fail_fast`, if a recording cannot be read.
    """
    way = pipeline(settings.encoder)
    heard = results_of(
        partial(_hear_one, settings=settings, fail_fast=fail_fast, way=way),
        [(job,) for job in jobs],
        _keys(jobs, settings),
        kept=cache,
        progress=progress,
        **how,
    )
    return [_judged(one) if gate else one for one in heard]


def _hear_one(
    key: str, job: Job, *, settings: Settings, fail_fast: bool, way: str
) -> tuple[str, Heard]:
    if pipeline(settings.encoder) != way:
        raise EngineUnavailable(
            "a worker runs another Membrane, or other versions of its libraries: install the same"
        )
    try:
        utterance = utterance_in(job.condition, job.recording)
    except UNREADABLE as error:
        if fail_fast:
            raise
        return key, Heard(None, None, problem="unreadable", reason=str(error))
    try:
        examined = _examiner(settings).examine(utterance, enrolling=job.enrolling, gate=False)
    except PoorQuality as error:
        quality = prepare(utterance, denoising="never").quality
        problem = find_problem(quality) or str(error)
        return key, Heard(None, quality, problem="refused", reason=problem)
    prepared = examined.prepared
    return key, Heard(examined.embedding, prepared.quality, prepared.voice_denoised)


def utterance_in(condition: Condition, recording: Recording) -> Utterance:
    """Return a recording as it is heard in a condition; raises as reading and `apply` do."""
    seed = int(recording.content_hash()[:16], 16)
    return condition.apply(recording.read(), seed=seed, avoid=recording.files)


@cached
def _examiner(settings: Settings) -> Examiner:
    """Return what hears voices in this process."""
    return Examiner(Voices(settings).own, settings.denoise)


def _judged(heard: Heard) -> Heard:
    """Return what the quality gate leaves of it."""
    problem = find_problem(heard.quality) if heard.embedding and heard.quality else ""
    return replace(heard, embedding=None, problem="refused", reason=problem) if problem else heard


def _keys(jobs: Sequence[Job], settings: Settings) -> list[str]:
    """Return the name of each job's entry in the cache: a hash of all that decides its vector."""
    way = [
        pipeline(settings.encoder),
        settings.encoder,
        *(
            model.sha256
            for model in registry().values()
            if model.name in (settings.encoder, "silero-vad")
        ),
        settings.denoise,
    ]
    sounds = sounds_of([(job.recording, job.condition) for job in jobs])
    return [key_of(*way, *sound, job.enrolling) for job, sound in zip(jobs, sounds, strict=True)]


def sounds_of(heard: Sequence[tuple[Recording, Condition]]) -> list[tuple[str, str]]:
    """Return what decides how each recording sounds in a condition: hashes of both."""
    contents = {one: _content_of(one) for one in {recording for recording, _ in heard}}
    return [(contents[one], condition.content_hash(avoid=one.files)) for one, condition in heard]


def _content_of(recording: Recording) -> str:
    try:
        return recording.content_hash()
    except UNREADABLE:
        return repr(recording)  # whoever reads it will say why it cannot be


def pipeline(encoder: str) -> str:
    """Return a hash of what turns sound into vectors: our source and the libraries' versions.

    Of the encoders' source it knows one only: a change of another keeps the voices of this one.

    Raises
    ------
    UsageError
        If there is no such encoder.
    """
    return source_hash(__name__, type(load_encoder(encoder)).__module__)
