"""What Membrane keeps, as valid files: the database, plain and encrypted, and what is beside it."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from membrane.protection import protect
from membrane.record.decision_log import DecisionLog
from membrane.store.joblib_store import JoblibStore
from membrane.store.keys import KEY_BYTES, VARIABLE
from membrane.store.sqlite_login_state import ENDING, SqliteLoginState
from membrane.store.voiceprint import VECTOR_SIZE, EnrolledUtterance, RecordedQuality, Voiceprint

DATABASE, SEALED, LOGINS, LOG, HEAD = "joblib", "sealed", "logins", "log", "log head"

ENDINGS = {DATABASE: "", SEALED: "", LOGINS: ENDING, LOG: ".log", HEAD: ".log.head"}
"""What the name of each file ends in, after that of the database."""

KEY = {VARIABLE: "0" * 2 * KEY_BYTES}
"""What must stand in the environment of whoever reads the encrypted one."""

PEOPLE = ("Anna", "Zoë", "Max")
NOW = 1_800_000_000.0
WHEN = "2026-11-21T10:00:00+00:00"
ENTRY = {"event": "verify", "who": "0" * 32, "accepted": False, "refused_by": ["voice"]}


def stored() -> dict[str, bytes]:
    """Return the valid files, by kind, the same in every run."""
    with tempfile.TemporaryDirectory() as folder, _without_chance():
        path = Path(folder) / "voiceprints.joblib"
        store = JoblibStore(path)
        for number, name in enumerate(PEOPLE):
            store.add(_person(name, number))
        _log_in(path)
        files = {kind: path.with_name(path.name + ending) for kind, ending in ENDINGS.items()}
        contents = {kind: file.read_bytes() for kind, file in files.items()}
        protect(store, "environment")
        return {**contents, SEALED: path.read_bytes()}


def _log_in(path: Path) -> None:
    logins = SqliteLoginState(path, clock=lambda: NOW)
    for name in (*PEOPLE, "nobody"):
        turn = logins.begin(name)
        logins.remember_prompt(name, "3 1 4 1 5 9")
    logins.withdraw(turn)
    log = DecisionLog(path.with_name(path.name + ENDINGS[LOG]), clock=lambda: NOW)
    for _ in range(5):
        log.append(ENTRY)


@contextmanager
def _without_chance() -> Iterator[None]:
    """Let salts, secrets and numbers be zeros, so that two runs damage the same files."""
    with (
        mock.patch.dict(os.environ, KEY),
        mock.patch.object(os, "urandom", bytes),
        mock.patch.object(secrets, "token_bytes", bytes),
        mock.patch.object(secrets, "token_hex", lambda length: "00" * length),
    ):
        yield


def _person(name: str, number: int) -> Voiceprint:
    chance = np.random.default_rng(number)
    vectors = chance.normal(size=(2, VECTOR_SIZE))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    utterances = [
        EnrolledUtterance(
            vector=vector.astype(np.float32),
            norm=0.9,
            partials=3,
            recorded_at=WHEN,
            quality=RecordedQuality(2.5, 20.0, -23.5, 0.0),
            fingerprint=chance.bytes(200),
        )
        for vector in vectors
    ]
    person = Voiceprint.of(name, "resemblyzer", utterances)
    passphrase = "open the green door"
    return replace(person, passphrase=passphrase, created_at=WHEN, updated_at=WHEN)
