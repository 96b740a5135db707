"""Keeping results between runs, each under a key that names all that decided it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import membrane


class Kept:
    """Results in a folder: a small file for each, its own SHA-256 before what it holds.

    A file that is damaged counts as missing. Where the folder cannot be written, nothing is kept
    and `problem` says why.

    Parameters
    ----------
    folder : Path
    what : str
        What is kept, in the plural, for the message.
    ending : str
        Of the files' names.
    """

    def __init__(self, folder: Path, what: str = "results", ending: str = "") -> None:
        self.folder = folder
        self.what = what
        self.ending = ending
        self.problem = ""

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None if there is nothing that is sound."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        digest, content = data[:32], data[32:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, key: str, content: bytes) -> None:
        """Keep something; another process that reads meanwhile finds all of it or nothing."""
        if self.problem:
            return
        try:
            self._write(self._path(key), hashlib.sha256(content).digest() + content)
        except OSError as error:
            self.problem = (
                f"{self.what} cannot be kept in {self.folder} ({error.strerror or error}), so that "
                "the next run computes them again"
            )

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}{self.ending}"

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


@cache
def source_hash(patterns: Sequence[str], libraries: Sequence[str]) -> str:
    """Return a hash of source files of this package and of the versions of libraries.

    So a result that another Membrane computed is never taken for one of this.

    Parameters
    ----------
    patterns : tuple of str
        Of paths below the package, such as ``"audio/*.py"``.
    libraries : tuple of str
        Names of distributions.
    """
    package = Path(membrane.__file__).parent
    digest = hashlib.sha256()
    for library in libraries:
        digest.update(f"{library} {version(library)}\n".encode())
    for path in sorted(path for pattern in patterns for path in package.glob(pattern)):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()
