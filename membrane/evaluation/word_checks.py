"""Word checks: what the words of a login decide about utterances, in parallel, kept by content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from membrane.audio.preparation import prepare
from membrane.audio.quality import find_problem
from membrane.evaluation.asked import Asked
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.keeping import Kept, Progress, key_of, results_of, source_hash
from membrane.evaluation.voices import UNREADABLE, cache_folder, sounds_of, utterance_in
from membrane.login.voices import words_of
from membrane.models.registry import registry, sha256_of
from membrane.phrase.recognizer import ENGINES
from membrane.phrase.words import Words
from membrane.settings import ENGINE_OF_FILES, Settings


@dataclass(frozen=True)
class WordCheck:
    """One utterance to be heard once by one recognizer, and all phrases to check it for.

    Parameters
    ----------
    said : Said
    condition : Condition
    recognizer : str
    asked : tuple of Asked
    """

    said: Said
    condition: Condition
    recognizer: str
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Checked:
    """What became of a word check.

    Parameters
    ----------
    accepted : tuple of bool
        The decision about each phrase; empty where there is a problem.
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


def words_by(recognizer: str, settings: Settings) -> Words:
    """Return what checks words at a login, by this recognizer, loaded once in each process.

    The settings' files are left out where they are another recognizer's.

    Raises
    ------
    UsageError
        If there is no such recognizer.
    """
    if recognizer != ENGINE_OF_FILES:
        settings = replace(settings, model=None, scorer=None)
    return _words(replace(settings, recognizer=recognizer))


_words = cache(words_of)


def check_words(
    checks: Sequence[WordCheck],
    settings: Settings,
    *,
    kept: Kept | None = None,
    progress: Progress | None = None,
    fail_fast: bool = False,
    **how: Any,
) -> list[Checked]:
    """Let recognizers decide about all phrases, in parallel, but those whose decisions are kept.

    What finished before an error or Ctrl-C is kept.

    Parameters
    ----------
    checks : sequence of WordCheck
    settings : Settings
        The way to the recognizer and its strictness are those of a login with these.
    kept : Kept, optional
        Without it nothing is kept.
    progress : callable, optional
        Called with the number of checks that are done, and of all.
    fail_fast : bool
        Raise the first error of reading instead of returning it.
    **how
        As `parallel.as_they_finish` takes it; nothing of it changes what is found.

    Returns
    -------
    list of Checked
        In the order of `checks`.

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
        partial(_check, settings=settings, fail_fast=fail_fast),
        [(check,) for check in checks],
        _keys(checks, settings),
        kept=kept,
        progress=progress,
        **how,
    )


def _packed(checked: Checked) -> bytes | None:
    return None if checked.problem == "unreadable" else json.dumps(asdict(checked)).encode()


def _unpacked(content: bytes) -> Checked:
    about = json.loads(content)
    return Checked(tuple(about.pop("accepted")), **about)


def _check(
    key: str, check: WordCheck, *, settings: Settings, fail_fast: bool
) -> tuple[str, Checked]:
    try:
        utterance = utterance_in(check.condition, check.said.recording)
    except UNREADABLE as error:
        if fail_fast:
            raise
        return key, Checked(problem="unreadable", reason=str(error))
    prepared = prepare(utterance, denoising=settings.denoise)
    problem = find_problem(prepared.quality)
    if problem:
        return key, Checked(problem="refused", reason=problem)
    words = words_by(check.recognizer, settings)
    found = [words.check(prepared.samples, one.words).accepted for one in check.asked]
    return key, Checked(tuple(map(bool, found)))


def _keys(checks: Sequence[WordCheck], settings: Settings) -> list[str]:
    """Return a hash of all that decides the outcome of each check."""
    sounds = sounds_of([(one.said.recording, one.condition) for one in checks])
    engines = {name: _engine(name, settings) for name in {one.recognizer for one in checks}}
    return [
        key_of(
            type(one.said.recording).__name__,
            *sound,
            *engines[one.recognizer],
            [asked.words for asked in one.asked],
        )
        for one, sound in zip(checks, sounds, strict=True)
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


_file_hash = cache(sha256_of)
