"""Keeping results between runs, each under a key that names all that decided it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import membrane
from membrane.atomic import write_whole
from membrane.evaluation.parallel import as_they_finish

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


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
    pack : callable
        Turns a result into bytes, or into None if it is not to be kept.
    unpack : callable
        Turns the bytes into the result.
    """

    def __init__(
        self,
        folder: Path,
        what: str = "results",
        ending: str = "",
        *,
        pack: Callable[[Any], bytes | None] = bytes,
        unpack: Callable[[bytes], Any] = bytes,
    ) -> None:
        self.folder = folder
        self.what = what
        self.ending = ending
        self.problem = ""
        self._pack = pack
        self._unpack = unpack

    def get(self, key: str) -> Any:
        """Return what is kept under a key, or None if there is nothing that is sound."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        digest, content = data[:32], data[32:]
        sound = hashlib.sha256(content).digest() == digest
        return self._unpack(content) if sound else None

    def put(self, key: str, result: Any) -> None:
        """Keep something; another process that reads meanwhile finds all of it or nothing."""
        content = self._pack(result)
        if self.problem or content is None:
            return
        path = self._path(key)
        digest = hashlib.sha256(content).digest()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What a power cut takes is computed again: waiting for the disk would take longer.
            write_whole(path, digest, content, mode=0o600, sync=False)
        except OSError as error:
            self.problem = (
                f"{self.what} cannot be kept in {self.folder} ({error.strerror or error}), so that "
                "the next run computes them again"
            )

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}{self.ending}"


def results_of(
    function: Callable[..., tuple[str, Any]],
    calls: Sequence[tuple[Any, ...]],
    keys: Sequence[str],
    *,
    kept: Kept | None,
    progress: Progress | None = None,
    **how: Any,
) -> list[Any]:
    """Return the result of each call: what is kept, and the rest computed in parallel and kept.

    What finished before an error or Ctrl-C is kept.

    Parameters
    ----------
    function : callable
        Takes the key of a call and its arguments; returns the key and the result.
    calls : sequence of tuple
        The arguments of each call.
    keys : sequence of str
        Of each call. Calls of one key have one result, which is computed once.
    kept : Kept or None
        None keeps nothing.
    progress : callable, optional
    **how
        As `parallel.as_they_finish` takes it.

    Returns
    -------
    list
        In the order of `calls`.
    """
    times = Counter(keys)
    found: dict[str, Any] = {}
    done = 0
    with closing(_results(function, dict(zip(keys, calls, strict=True)), kept, how)) as results:
        for key, result in results:
            found[key] = result
            done += times[key]
            if progress:
                progress(done, len(keys))
    return [found[key] for key in keys]


def _results(
    function: Callable[..., tuple[str, Any]],
    work: Mapping[str, tuple[Any, ...]],
    kept: Kept | None,
    how: Mapping[str, Any],
) -> Generator[tuple[str, Any]]:
    """Yield what is kept, then the rest as it is computed and kept."""
    missing = []
    for key, arguments in work.items():
        known = kept.get(key) if kept else None
        if known is None:
            missing.append((key, *arguments))
        else:
            yield key, known
    with closing(as_they_finish(function, missing, **how)) as computed:
        for key, result in computed:
            if kept:
                kept.put(key, result)
            yield key, result


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
