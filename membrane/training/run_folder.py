"""The folder of a run: its recipe, its logs and its checkpoints, and which run may continue in it.

A checkpoint is the whole state of a training at one step, so that it can continue unchanged.
Its file is `MAGIC`, the SHA-256 of the rest, and the rest: what `torch.save` writes of plain values
and tensors. It is read without running anything that it says (``weights_only``).
"""

from __future__ import annotations

import hashlib
import io
import pickle
import signal
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from membrane.errors import NoSuchFile, OutputUnwritable, UsageError
from membrane.system.atomic import write_whole
from membrane.training.recipe import Recipe

RECIPE, SPEAKERS = "recipe", "speakers"
"""What a checkpoint says of the run it is of."""

MAGIC = b"membrane checkpoint 1\n"

DIGEST = hashlib.sha256().digest_size

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class RunFolder:
    """The folder that a training writes to.

    Attributes
    ----------
    last : Path
        The checkpoint to continue from.
    best : Path
        The averaged weights with the best validation.
    log, validations : Path
        The losses, and the error rates.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last, self.best = path / "last.pt", path / "best.pt"
        self.log, self.validations = path / "log.csv", path / "validation.csv"

    def require_free(self) -> None:
        """Refuse a folder that holds a training, and create a missing one.

        Raises
        ------
        UsageError, OutputUnwritable
        """
        if self.last.exists():
            raise UsageError(
                f"{self.path} holds a training already: go on with --resume, or name another folder"
            )
        with unwritable_explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def keep(self, recipe: Recipe) -> None:
        """Write the recipe.

        Raises
        ------
        OutputUnwritable
        """
        write(self.path / "recipe.toml", recipe.as_toml().encode())

    def resumed(self, recipe: Recipe) -> dict[str, Any]:
        """Return the last checkpoint.

        Raises
        ------
        NoSuchFile
            If there is none.
        UsageError
            If it is damaged, or of another recipe.
        """
        state = load_checkpoint(self.last)
        # Do not compare the texts: two may say the same in different lines.
        if tomllib.loads(state.get(RECIPE, "")) != tomllib.loads(recipe.as_toml()):
            raise UsageError(
                f"{self.last} was made by another recipe than this: give that in "
                f"{self.path / 'recipe.toml'}, or another --output"
            )
        return state


@contextmanager
def unwritable_explained(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk or missing permissions into one line.

    Raises
    ------
    OutputUnwritable
    """
    try:
        yield
    except OSError as error:
        raise OutputUnwritable(
            f"{path} cannot be written ({error.strerror or error}): check the space and the "
            "permissions there"
        ) from None


def write(path: Path, *parts: bytes) -> None:
    """Write a file as `membrane.system.atomic.write_whole` does.

    Raises
    ------
    OutputUnwritable
    """
    with unwritable_explained(path):
        write_whole(path, *parts)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, or leave the previous one as it was. An interrupt waits for it.

    Parameters
    ----------
    state : mapping
        Tensors, numbers, text, and lists and dictionaries of those.

    Raises
    ------
    OutputUnwritable
    """
    buffer = io.BytesIO()
    with deferred():
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        write(path, MAGIC, hashlib.sha256(content).digest(), content)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint. Its tensors are on the CPU.

    Raises
    ------
    NoSuchFile
        If it is not there or cannot be read.
    UsageError
        If it is not a checkpoint, or its content has changed.
    """
    try:
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise NoSuchFile(
            f"the checkpoint {path} cannot be read ({error.strerror}): train without --resume first"
        ) from None
    foreign = UsageError(f"{path} is no checkpoint of a training: name another file")
    if file.read(len(MAGIC)) != MAGIC:
        raise foreign
    digest, content = file.read(DIGEST), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise UsageError(f"the checkpoint {path} is damaged: train anew, without --resume")
    try:
        return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError):
        raise foreign from None


@contextmanager
def deferred() -> Iterator[None]:
    """Delay Ctrl-C and requests to terminate until after this block.

    This does nothing outside the main thread, where Python handles no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {it: signal.signal(it, lambda number, _: came.append(number)) for it in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
