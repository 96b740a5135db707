"""What a command does with a file, and whether the way it ended is one that it may end in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.hostile_files.seeds import DATABASE
from membrane.audio.files import read_utterance
from membrane.audio.preparation import prepare
from membrane.audio.quality import require
from membrane.errors import MembraneError, StoreError, UnusableRecording
from membrane.store.joblib_store import JoblibStore

FINE = "fine"

LONGEST_MESSAGE = 400
"""Characters of the line that is shown, less the path; a hostile file must not write it."""


def hear(path: Path) -> None:
    """Read a recording and find the speech, as every command does that is given one."""
    prepared = prepare(read_utterance(path))
    require(prepared.quality, source=str(path))


def look_up_everybody(path: Path) -> None:
    """Read all that a database holds, as `list`, `verify`, `identify` and `export` do."""
    gallery = JoblibStore(path).gallery()
    list(gallery.summaries())
    list(gallery.passphrases())
    for row, name in enumerate(gallery.names()):
        gallery.voiceprint(row).as_json()
        gallery.encoder_of(row)
        gallery.index_of(name)
    gallery.by_encoder()
    gallery.index_of("anna")


def outcome_of(kind: str, path: Path) -> tuple[str, str]:
    """Put a file through what a command does with it.

    Parameters
    ----------
    kind : str
        `DATABASE`, or any other for a recording.
    path : Path

    Returns
    -------
    outcome : str
        `FINE`, or the name of the error that refused it.
    problem : str
        What is wrong with that; empty if such a file may end so.
    """
    task, allowed = _task_of(kind)
    try:
        task(path)
    except MembraneError as error:
        return type(error).__name__, _problem_of(error, allowed, path)
    except BaseException as error:  # noqa: BLE001 - to find any is what this is for
        return type(error).__name__, f"{type(error).__name__}: {error}"
    return FINE, ""


def _task_of(kind: str) -> tuple[Callable[[Path], None], type[MembraneError]]:
    return (look_up_everybody, StoreError) if kind == DATABASE else (hear, UnusableRecording)


def _problem_of(error: MembraneError, allowed: type[MembraneError], path: Path) -> str:
    message = str(error)
    if error.exit_code != allowed.exit_code:
        return f"exit code {error.exit_code}: {message}"
    if not message.isprintable() or not message:
        return f"not one line that can be shown: {message!r}"
    if len(message.replace(str(path), "")) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters"
    return ""
