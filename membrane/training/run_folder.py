"""The folder of a run: its recipe, its logs and its checkpoints, and what may go on in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from membrane.errors import UsageError
from membrane.training import checkpoint
from membrane.training.recipe import Recipe
from membrane.training.whole_files import unwritable_explained, write_whole

RECIPE, SPEAKERS = "recipe", "speakers"
"""What a checkpoint says of the run it is of."""


@dataclass(frozen=True)
class RunFolder:
    """Where a training writes.

    Parameters
    ----------
    path : Path
    """

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint that a training goes on from."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The averaged weights that did best in validation."""
        return self.path / "best.pt"

    @property
    def log(self) -> Path:
        """The losses."""
        return self.path / "log.csv"

    @property
    def validations(self) -> Path:
        """The error rates."""
        return self.path / "validation.csv"

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
        write_whole(self.path / "recipe.toml", recipe.as_toml().encode())

    def resumed(self, recipe: Recipe) -> dict[str, Any]:
        """Return the last checkpoint.

        Raises
        ------
        NoSuchFile
            If there is none.
        UsageError
            If it is damaged, or of another recipe.
        """
        state = checkpoint.load(self.last)
        if state.get(RECIPE) != recipe.as_toml():
            raise UsageError(
                f"{self.last} was made by another recipe than this: give that in "
                f"{self.path / 'recipe.toml'}, or another --output"
            )
        return state


def require_same_speakers(state: dict[str, Any], speakers: list[str]) -> None:
    """Refuse to go on with other speech.

    Raises
    ------
    UsageError
    """
    if state[SPEAKERS] != speakers:
        raise UsageError(
            "the checkpoint was made with other speakers than are found now: give the same "
            "folders, or train anew into another --output"
        )
