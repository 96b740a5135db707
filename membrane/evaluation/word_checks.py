"""Judging: what recognizers decide about claims, computed in parallel and kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from membrane.audio.preparation import prepare
from membrane.audio.quality import find_problem
from membrane.errors import PoorQuality
from membrane.evaluation.claims import Claim
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.keeping import Kept, Progress, results_of, source_hash
from membrane.evaluation.voices import UNREADABLE, cache_folder, sound_of
from membrane.login.voices import words_of
from membrane.models.registry import registry, sha256_of
from membrane.phrase.recognizer import ENGINES, Recognizer
from membrane.settings import ENGINE_OF_FILES, Settings


@dataclass(frozen=True)
class Task:
    """One utterance to be heard once by one recognizer, and all that is claimed about it.

    Parameters
    ----------
    said : Said
    condition : Condition
    recognizer : str
    claims : tuple of Claim
    """

    said: Said
    condition: Condition
    recognizer: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Judged:
    """What became of a task.

    Parameters
    ----------
    accepted : tuple of bool
        The decision about each claim; empty where there is a problem.
    problem : {"", "refused", "unreadable"}
        Refused by the quality gate, or not readable as sound.
    reason : str
        The problem in plain words.
    """

    accepted: tuple[bool, ...] = ()
    problem: str = ""
    reason: str = ""


def kept_decisions(folder: Path | None = None) -> Kept:
    """Return where decisions are kept; by default beside the voices."""
    folder = folder or cache_folder().with_name("phrases")
    return Kept(folder, "decisions about phrases", pack=_packed, unpack=_unpacked)


def recognizer_named(name: str, settings: Settings) -> Recognizer:
    """Return a recognizer, with the files that are chosen for it, loaded once in each process.

    Raises
    ------
    UsageError
        If there is no such recognizer.
    Unavailable
        If it cannot run here.
    """
    return _recognizer(_settings_of(name, settings))


def judge_tasks(
    tasks: Sequence[Task],
    settings: Settings,
    *,
    kept: Kept | None = None,
    progress: Progress | None = None,
    fail_fast: bool = False,
    **how: Any,
) -> list[Judged]:
    """Let recognizers decide about all claims, in parallel, but those whose decisions are kept.

    What finished before an error or Ctrl-C is kept.

    Parameters
    ----------
    tasks : sequence of Task
    settings : Settings
        The way to the recognizer and its strictness are those of a login with these.
    kept : Kept, optional
        Without it nothing is kept.
    progress : callable, optional
        Called with the number of tasks that are done, and of all.
    fail_fast : bool
        Raise the first error of reading instead of returning it.
    **how
        As `parallel.as_they_finish` takes it; nothing of it changes what is found.

    Returns
    -------
    list of Judged
        In the order of `tasks`.

    Raises
    ------
    UsageError, EngineUnavailable
        As `parallel.as_they_finish` and `Condition.apply`.
    Unavailable
        If a recognizer cannot run here, or died.
    NoSuchFile, UnusableRecording
        With `fail_fast`, if a recording cannot be read.
    """
    return results_of(
        partial(_judge, settings=settings, fail_fast=fail_fast),
        [(task,) for task in tasks],
        _keys(tasks, settings),
        kept=kept,
        progress=progress,
        **how,
    )


def _packed(judged: Judged) -> bytes | None:
    return None if judged.problem == "unreadable" else json.dumps(asdict(judged)).encode()


def _unpacked(content: bytes) -> Judged:
    about = json.loads(content)
    return Judged(tuple(about["accepted"]), about["problem"], about["reason"])


def _judge(key: str, task: Task, *, settings: Settings, fail_fast: bool) -> tuple[str, Judged]:
    try:
        return key, _decisions(task, settings)
    except PoorQuality as error:
        return key, Judged(problem="refused", reason=str(error))
    except UNREADABLE as error:
        if fail_fast:
            raise
        return key, Judged(problem="unreadable", reason=str(error))


def _decisions(task: Task, settings: Settings) -> Judged:
    recording = task.said.recording
    seed = int(recording.content_hash()[:16], 16)
    utterance = task.condition.apply(recording.read(), seed=seed, avoid=recording.files)
    prepared = prepare(utterance, denoising=settings.denoise)
    problem = find_problem(prepared.quality)
    if problem:
        return Judged(problem="refused", reason=problem)
    recognizer = recognizer_named(task.recognizer, settings)
    return Judged(
        tuple(
            bool(recognizer.match(prepared.samples, claim.words, strict=settings.strict).accepted)
            for claim in task.claims
        )
    )


@cache
def _recognizer(settings: Settings) -> Recognizer:
    return words_of(settings).recognizer


def _settings_of(name: str, settings: Settings) -> Settings:
    """Return the settings with this recognizer, and without files that are another's."""
    if name == ENGINE_OF_FILES:
        return replace(settings, recognizer=name)
    return replace(settings, recognizer=name, model=None, scorer=None)


def _keys(tasks: Sequence[Task], settings: Settings) -> list[str]:
    """Return a hash of all that decides the outcome of each task."""
    sounds = {
        said: f"{type(said.recording).__name__} {sound_of(said.recording)}"
        for said in dict.fromkeys(task.said for task in tasks)
    }
    engines = {
        name: _engine(name, settings) for name in dict.fromkeys(task.recognizer for task in tasks)
    }
    return [
        hashlib.sha256(
            json.dumps(
                [
                    sounds[task.said],
                    task.condition.content_hash(avoid=task.said.recording.files),
                    *engines[task.recognizer],
                    [claim.words for claim in task.claims],
                ]
            ).encode()
        ).hexdigest()
        for task in tasks
    ]


def _engine(name: str, settings: Settings) -> list[str]:
    """Return what decides with a recognizer: its files, our settings, source and libraries."""
    own = [path for path in (settings.model, settings.scorer) if path and name == ENGINE_OF_FILES]
    return [
        name,
        *map(_file_hash, own),
        *(model.sha256 for model in registry().values()),
        settings.denoise,
        str(settings.strict),
        source_hash(__name__, ENGINES[name][0]),
    ]


@cache
def _file_hash(path: Path) -> str:
    return sha256_of(path)
