"""Logs: tables of figures that grow with the training, for a spreadsheet or TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from membrane.errors import EngineUnavailable
from membrane.training.run_folder import unwritable_explained, write

STEP = "step"
"""The first column of every table."""


class Table:
    """A CSV file with a row for some of the steps.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        After the first, which is the step.
    after : int
        The step that training goes on from: rows of later ones, which a process that was killed
        has left, are dropped.

    Raises
    ------
    OutputUnwritable
    """

    def __init__(self, path: Path, columns: Sequence[str], *, after: int = 0) -> None:
        self.path = path
        self.columns = (STEP, *columns)
        kept = [row for row in _rows(path) if int(row[0]) <= after] if after else []
        write(path, _lines([self.columns, *kept]).encode())

    def add(self, step: int, values: Mapping[str, float | str]) -> None:
        """Add a row; what has no value is left empty.

        Raises
        ------
        OutputUnwritable
        """
        row = [str(step), *(_shown(values.get(name, "")) for name in self.columns[1:])]
        with unwritable_explained(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_lines([row]))


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows(path: Path) -> list[list[str]]:
    """Return the whole rows of a table; a process may have been killed within the last."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.reader(io.StringIO(whole)) if row and row[0].isdigit()]


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


class TensorBoard:
    """Curves for TensorBoard.

    Parameters
    ----------
    folder : Path
        Of the run.
    after : int
        As of `Table`.

    Raises
    ------
    EngineUnavailable
        If TensorBoard is not installed.
    OutputUnwritable
    """

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise EngineUnavailable(
                "TensorBoard is not installed: pip install tensorboard, or leave out --tensorboard"
            ) from None
        self._folder = folder
        with unwritable_explained(folder):
            self._writer: Any = SummaryWriter(os.fspath(folder), purge_step=after + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of some curves."""
        with unwritable_explained(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still to be written."""
        with unwritable_explained(self._folder):
            self._writer.close()
