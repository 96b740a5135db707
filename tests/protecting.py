"""Changes how a database is protected, and is killed at every step: what the crash test starts.

``protecting.py DATABASE STRIDE`` protects, renews, re-keys and unprotects, each time in a process
that is killed just before one of the things that it does to the folder, at every STRIDE-th of them,
until one gets through; after every kill it looks whether database and the file beside it open and
hold what they held. It prints how many kills each change had, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import joblib  # noqa: F401 (or every child would import it)
import numpy as np

from membrane.login import protect as protection
from membrane.protection import keys
from membrane.protection.sealing import Seal, is_sealed
from membrane.store.database_file import previous_of
from membrane.store.joblib_store import JoblibStore

EVENTS = {"open", "os.rename", "os.remove", "os.link", "os.chmod", "os.truncate"}
"""What Python tells before it happens to a file."""

SECRET = b"three failures of Anna"
OLD, NEW = "ab" * 32, "cd" * 32


class Beside:
    """A file beside the database that is as well protected, and read as strictly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, seal: Seal | None) -> bytes:
        content = self.path.read_bytes()
        if is_sealed(content):
            if seal is None:
                raise SystemExit("sealed beside a plain database")
            return seal.unseal(content, "beside")
        if seal is not None and not seal.accepts_plain:
            raise SystemExit("plain beside a sealed database")
        return content

    def write(self, content: bytes, seal: Seal | None) -> None:
        new = self.path.with_suffix(".new")
        new.write_bytes(content if seal is None else seal.seal(content, "beside"))
        new.replace(self.path)

    def reseal(self, old: Seal | None, new: Seal | None) -> None:
        self.write(self.read(old), new)


def in_a_killed_child(work: Callable[[], None], folder: Path, life: int) -> bool:
    """Do something in a child that is killed after so many events; return whether it was."""
    child = os.fork()
    if not child:
        try:
            _count_down(folder, life)
            work()
        except BaseException as error:  # noqa: BLE001 (a child must not go on as its parent)
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the change failed, and was not killed")
    return os.WIFSIGNALED(status)


def _count_down(folder: Path, life: int) -> None:
    left = life

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and str(arguments[0]).startswith(str(folder)):
            step()

    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        step()
        real_fsync(descriptor)

    os.fsync = fsync
    sys.addaudithook(hear)


def opened(database: Path) -> JoblibStore:
    """Return the store under whichever of the two keys opens it."""
    for key in (OLD, NEW):
        keys.forget()
        os.environ[keys.VARIABLE] = key
        store = JoblibStore(database)
        try:
            store.gallery()
        except keys.WrongKey:
            continue
        return store
    raise SystemExit("no key opens the database")


def check(database: Path, beside: Beside, names: list[str], alike: np.ndarray) -> None:
    store = opened(database)
    gallery = store.gallery()
    found = gallery.matrix @ gallery.matrix.T
    if list(gallery.names()) != names or np.abs(found - alike).max() > 1e-5:
        raise SystemExit("the database holds something else")
    if beside.read(store.seal) != SECRET:
        raise SystemExit("the file beside it holds something else")
    # A copy that is left is one of a database that was sealed.
    copy = previous_of(store.path)
    if store.seal and not store.seal.accepts_plain and b"Anna" in copy.read_bytes():
        raise SystemExit("a plain copy is left")


def kills(
    database: Path, stride: int, change: Callable[[JoblibStore, Beside], None], done: str
) -> int:
    """Kill a change at many steps of it, from the same start; then let it through."""
    beside = Beside(database.with_name("beside"))
    gallery = opened(database).gallery()
    names, alike = list(gallery.names()), gallery.matrix @ gallery.matrix.T
    start = database.parent.with_name("start")
    shutil.copytree(database.parent, start)
    life = 0
    while in_a_killed_child(lambda: change(opened(database), beside), database.parent, life):
        check(database, beside, names, alike)
        again(database, beside, change, done)
        check(database, beside, names, alike)
        shutil.rmtree(database.parent)
        shutil.copytree(start, database.parent)
        life += stride
    shutil.rmtree(start)
    check(database, beside, names, alike)
    return life // stride


def again(
    database: Path, beside: Beside, change: Callable[[JoblibStore, Beside], None], done: str
) -> None:
    """Do what a person does after a crash: the same once more, unless it was done."""
    try:
        change(opened(database), beside)
    except keys.UsageError as error:
        if done not in str(error):
            raise
    if not protection.status(opened(database)).finished:
        raise SystemExit("doing it again did not finish it")


def rekey(store: JoblibStore, beside: Beside) -> None:
    # From whichever key there is to the other.
    now = os.environ[keys.VARIABLE]
    os.environ[keys.NEW_VARIABLE] = NEW if now == OLD else OLD
    protection.rekey(store, "environment", others=[beside.reseal])


def main(database: Path, stride: int) -> dict[str, int]:
    Beside(database.with_name("beside")).write(SECRET, None)
    changes: dict[str, tuple[Callable[[JoblibStore, Beside], None], str]] = {
        "protect": (
            lambda store, beside: protection.protect(store, "environment", others=[beside.reseal]),
            "protected already",
        ),
        "renew": (
            lambda store, beside: protection.renew(store, others=[beside.reseal]),
            "never",
        ),
        "rekey": (rekey, "never"),
        "unprotect": (
            lambda store, beside: protection.unprotect(store, others=[beside.reseal]),
            "is not protected",
        ),
    }
    return {name: kills(database, stride, *change) for name, change in changes.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
