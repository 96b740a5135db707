"""What a command does with a file, and whether the way it ended is one that it may end in."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from benchmarks.hostile_files.stored import DATABASE, ENDINGS, HEAD, LOG, LOGINS, SEALED
from membrane.audio.files import read_utterance
from membrane.audio.fingerprint import fingerprint_of
from membrane.audio.preparation import prepare
from membrane.audio.quality import require
from membrane.console import View
from membrane.errors import LockedOut, MembraneError, StoreError, UnusableRecording
from membrane.record.decision_log import DecisionLog
from membrane.store.joblib_store import JoblibStore
from membrane.store.sqlite_login_state import SqliteLoginState

FINE = "fine"

LONGEST_MESSAGE = 400
"""Characters of the line that is shown, less the path; a hostile file must not write it."""


def hear(path: Path) -> None:
    """Read a recording and find the speech, as every command does that is given one."""
    utterance = read_utterance(path)
    prepared = prepare(utterance)
    require(prepared.quality, source=str(path))
    fingerprint_of(utterance.samples)


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


def look_up_logins(path: Path) -> None:
    """Read the record of logins, and count one, as `verify` and `export` do."""
    logins = SqliteLoginState(_database_of(path, LOGINS))
    for name in ("Anna", "somebody else"):
        logins.state_of(name)
        logins.recent_prompts(name)
        logins.recent_recordings(name)
        with suppress(LockedOut):
            logins.withdraw(logins.begin(name))


def look_through_the_log(path: Path) -> None:
    """Show and check the decision log, and write a line, as `log` and `verify` do."""
    log = DecisionLog(path.with_name(path.name.removesuffix(".head")))
    text = io.StringIO()
    for as_json in (False, True):
        view = View(answers=Console(file=text), as_json=as_json)
        view.log_entries(log.entries(), {})
        view.log_check(log.verify())
    if not text.getvalue().replace("\n", "").replace("\t", "").isprintable():
        raise ValueError(f"a terminal would obey {text.getvalue()[:100]!r}")
    log.append({"event": "verify", "accepted": False})


def _database_of(path: Path, kind: str) -> Path:
    return path.with_name(path.name.removesuffix(ENDINGS[kind]))


TASKS: dict[str, Callable[[Path], None]] = {
    DATABASE: look_up_everybody,
    SEALED: look_up_everybody,
    LOGINS: look_up_logins,
    LOG: look_through_the_log,
    HEAD: look_through_the_log,
}
"""What is done with a file that is no recording."""


def outcome_of(kind: str, path: Path) -> tuple[str, str]:
    """Put a file through what a command does with it.

    Parameters
    ----------
    kind : str
        One of `TASKS`, or any other for a recording.
    path : Path

    Returns
    -------
    outcome : str
        `FINE`, or the name of the error that refused it.
    problem : str
        What is wrong with that; empty if such a file may end so.
    """
    allowed = StoreError if kind in TASKS else UnusableRecording
    try:
        TASKS[kind](path) if kind in TASKS else hear(path)
    except MembraneError as error:
        return type(error).__name__, _problem_of(error, allowed, path)
    except BaseException as error:  # noqa: BLE001 - to find any is what this is for
        return type(error).__name__, f"{type(error).__name__}: {error}"
    return FINE, ""


def _problem_of(error: MembraneError, allowed: type[MembraneError], path: Path) -> str:
    message = str(error)
    if error.exit_code != allowed.exit_code:
        return f"exit code {error.exit_code}: {message}"
    if not message.isprintable() or not message:
        return f"not one line that can be shown: {message!r}"
    if len(message.replace(str(path), "")) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters"
    return ""
