"""What is measured where: how much, in how many processes, in which folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.attacks.door import DEFAULT, Door, Knock, Outcome, outcomes
from membrane.evaluation.parallel import as_they_finish

BATCH = 8
"""Sounds that a process is given at once."""


@dataclass(frozen=True)
class Work:
    """How attacks are tried.

    Parameters
    ----------
    folder : Path
        An empty one for databases.
    quick : bool
        Try little of everything.
    jobs : int
        Processes.
    """

    folder: Path
    quick: bool = False
    jobs: int = 1

    def door(self, encoder: str = DEFAULT) -> Door:
        """Return the door to the database of an encoder."""
        return Door(self.folder, encoder)

    def outcomes(self, doors: Sequence[Door], knocks: Sequence[Sequence[Knock]]) -> list[Outcome]:
        """Return what all doors decide, in the order of the knocks.

        Parameters
        ----------
        doors : sequence of Door
        knocks : sequence of sequence of Knock
            Those with the same sound together.
        """
        batches = [
            (number, doors, [knock for sound in knocks[at : at + BATCH] for knock in sound])
            for number, at in enumerate(range(0, len(knocks), BATCH))
        ]
        finished = as_they_finish(_numbered, batches, workers=self.jobs)
        shown = track(finished, total=len(batches), console=Console(stderr=True))
        found = dict(shown)
        return [outcome for number in sorted(found) for outcome in found[number]]


def _numbered(
    number: int, doors: Sequence[Door], knocks: Sequence[Knock]
) -> tuple[int, list[Outcome]]:
    return number, outcomes(doors, knocks)
