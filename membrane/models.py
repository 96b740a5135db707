"""Model files: find them, and check that they are the ones the registry names."""

from __future__ import annotations

import hashlib
import tomllib
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
        What the code asks for, such as ``"resemblyzer"``.
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
        Where it is fetched from; empty for a shipped file.
    """

    name: str
    file: str
    engine: str
    size: int
    sha256: str
    licence: str
    source: str
    url: str = ""

    @property
    def shipped(self) -> bool:
        """Whether the file travels with Membrane."""
        return not self.url


def shipped_folder() -> Path:
    """Return the folder of the shipped weights: inside the wheel, or the source tree's."""
    package = Path(__file__).resolve().parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


@cache
def registry() -> dict[str, Model]:
    """Return every model of ``registry.toml`` by name.

    Raises
    ------
    ModelUnavailable
        If the registry itself is missing or unreadable.
    """
    path = shipped_folder() / "registry.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
        return {entry["name"]: Model(**entry) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"the list of models {path} cannot be read ({error}): reinstall Membrane"
        ) from None


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(model: Model, path: Path) -> Path:
    """Return `path` if it holds exactly the registered file.

    Raises
    ------
    ModelUnavailable
        If it is missing, unreadable, or another file.
    """
    remedy = "reinstall Membrane" if model.shipped else f"membrane weights fetch {model.engine}"
    try:
        size = path.stat().st_size
        if size != model.size:
            raise ModelUnavailable(
                f"model {path} has {size} bytes instead of {model.size}: {remedy}"
            )
        if model.sha256 and sha256_of(path) != model.sha256:
            raise ModelUnavailable(f"model {path} is not the registered file (sha256): {remedy}")
    except OSError as error:
        raise ModelUnavailable(
            f"model {model.name} cannot be read at {path} ({error.strerror}): {remedy}"
        ) from None
    return path


def path_of(name: str) -> Path:
    """Return the checked path of a registered model.

    Raises
    ------
    ModelUnavailable
        If it is unknown, missing, or not the registered file.
    """
    from membrane.settings import models_folder

    model = registry().get(name)
    if model is None:
        raise ModelUnavailable(f"no model is called {name!r}: see `membrane weights list`")
    folder = shipped_folder() if model.shipped else models_folder()
    return check(model, folder / model.file)
