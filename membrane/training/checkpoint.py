"""Checkpoints: all that a training is at one step, so that it goes on as if nothing had happened.

A file is `MAGIC`, the SHA-256 of the rest, and the rest: what `torch.save` writes of plain values
and tensors. It is read without running anything that it says (``weights_only``).
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from membrane.errors import NoSuchFile, UsageError
from membrane.training.whole_files import write_whole

MAGIC = b"membrane checkpoint 1\n"

DIGEST = hashlib.sha256().digest_size


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, or leave the one before as it was.

    Parameters
    ----------
    path : Path
    state : mapping
        Tensors, numbers, text, and lists and dictionaries of those.

    Raises
    ------
    OutputUnwritable
    """
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    write_whole(path, MAGIC, hashlib.sha256(content).digest(), content)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; its tensors are on the CPU.

    Raises
    ------
    NoSuchFile
        If it is not there or cannot be read.
    UsageError
        If it is no checkpoint, or not the one that was written.
    """
    import torch

    content = io.BytesIO(_content(path))
    try:
        return dict(torch.load(content, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError):
        raise UsageError(f"{path} is no checkpoint of a training: name another file") from None


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NoSuchFile(
            f"the checkpoint {path} cannot be read ({error.strerror}): train without --resume first"
        ) from None
    if not data.startswith(MAGIC):
        raise UsageError(f"{path} is no checkpoint of a training: name another file")
    digest = data[len(MAGIC) : len(MAGIC) + DIGEST]
    content = data[len(MAGIC) + DIGEST :]
    if hashlib.sha256(content).digest() != digest:
        raise UsageError(f"the checkpoint {path} is damaged: train anew, without --resume")
    return content
