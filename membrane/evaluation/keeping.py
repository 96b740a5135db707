"""Keeping results between runs, each under a key that names all that decided it."""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import membrane
from membrane.evaluation.parallel import as_they_finish
from membrane.system.atomic import write_whole

PACKAGE = "membrane"
DATA = (".txt", ".dict", ".npz")
"""Endings of data files that code reads from its own folder."""

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
        content = data[32:]
        return self._unpack(content) if hashlib.sha256(content).digest() == data[:32] else None

    def put(self, key: str, result: Any) -> None:
        """Keep something; another process that reads meanwhile finds all of it or nothing."""
        content = self._pack(result)
        if self.problem or content is None:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What a power cut takes is computed again: waiting for the disk would take longer.
            write_whole(path, hashlib.sha256(content).digest(), content, mode=0o600, sync=False)
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


def key_of(*parts: Any) -> str:
    """Return the key of a result: a hash of plain values that decide it."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def source_hash(*modules: str) -> str:
    """Return a hash of all the code that some modules depend on, and of the libraries' versions.

    So a result that another Membrane computed is never taken for one of this. The code is found by
    following the imports, with the data files that lie beside it.

    Parameters
    ----------
    *modules : str
        Such as ``"membrane.evaluation.voices"``. What they load by a name that is put together
        when they run is not found: give it, too.

    Raises
    ------
    ValueError
        If there is no such module.
    """
    sources, libraries = sources_of(*modules)
    digest = hashlib.sha256()
    for library in sorted(libraries):
        digest.update(f"{library} {version(library)}\n".encode())
    for path in sources:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def sources_of(*modules: str) -> tuple[list[Path], set[str]]:
    """Return the files that some modules depend on, and the distributions that these import."""
    waiting, found, names = list(modules), dict[str, Path](), set[str]()
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        path = _source(module)
        if path is None and module in modules:
            raise ValueError(f"there is no source of {module}")
        if path is not None:
            found[module] = path
            imported = _imported(path)
            waiting += [name for name in imported if name.partition(".")[0] == PACKAGE]
            names |= {name.partition(".")[0] for name in imported}
    data = (
        file
        for folder in {path.parent for path in found.values()}
        for file in folder.iterdir()
        if file.suffix in DATA
    )
    distributions = packages_distributions()
    libraries = {one for name in names - {PACKAGE} for one in distributions.get(name, [])}
    return sorted({*found.values(), *data}), libraries


def _source(module: str) -> Path | None:
    """Return the file of a module; None for the name of something else."""
    package, _, rest = module.partition(".")
    if package != PACKAGE:
        spec = find_spec(module)
        return Path(spec.origin) if spec and spec.origin else None
    base = Path(membrane.__file__).parent.joinpath(*rest.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imported(path: Path) -> set[str]:
    """Return what a file imports when it runs: modules, and names that may be modules."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    names = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        waiting += ast.iter_child_nodes(node)
    return names
