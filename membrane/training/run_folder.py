"""The folder of a run: its recipe, its logs and its checkpoints, and what may go on in it.

A checkpoint is all that a training is at one step, so that it goes on as if nothing had happened.
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
    """Where a training writes.

    Attributes
    ----------
    last : Path
        The checkpoint that a training goes on from.
    best : Path
        The averaged weights that did best in validation.
    log, validations : Path
        The losses, and the error rates.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last, self.best = path / "last.pt", path / "best.pt"
        self.log, self.validations = path / "log.csv", path / "validation.csv"

    def require_free(self) -> None:
        """Refuse a folder that holds a training, and make one that is not there.

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
        # Not the texts: two may say the same in other lines.
        if tomllib.loads(state.get(RECIPE, "")) != tomllib.loads(recipe.as_toml()):
            raise UsageError(
                f"{self.last} was made by another recipe than this: give that in "
                f"{self.path / 'recipe.toml'}, or another --output"
            )
        return state


@contextmanager
def unwritable_explained(path: Path) -> Iterator[None]:
    """Turn what a full disk or missing permissions raise into one line.

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
    """Write a checkpoint, or leave the one before as it was; an interrupt waits for it.

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
    """Read a checkpoint; its tensors are on the CPU.

    Raises
    ------
    NoSuchFile
        If it is not there or cannot be read.
    UsageError
        If it is no checkpoint, or not the one that was written.
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
    """Answer Ctrl-C, or the wish that the process ends, only after this block.

    In a thread other than the main one, where Python answers no signal, nothing is changed.
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
