"""Reports of a training: its progress on the screen, and tables of its losses and error rates."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from membrane.errors import EngineUnavailable
from membrane.evaluation.corpora.labels import csv_text
from membrane.terminal.console import View
from membrane.training.run_folder import unwritable_explained, write

LINE_EVERY = 100
"""Steps between two lines without a terminal."""

ESTIMATE_S = 600.0
"""The time left is estimated from this many past seconds, as a validation is one slow step."""


@contextmanager
def following(view: View, *, first: int, last: int) -> Iterator[Bar | Lines]:
    """Show the progress of a training: a bar on a terminal, or else a line now and then.

    Parameters
    ----------
    view : View
        Shows nothing if it is quiet.
    first, last : int
        Number of steps already done, and number of steps in all.
    """
    if view.quiet or not view.notes.is_terminal:
        yield Lines(view, first, last)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=view.notes, speed_estimate_period=ESTIMATE_S) as bar:
        yield Bar(bar, bar.add_task("Training", completed=first, total=last, told=""))


class Bar:
    """A bar with the newest loss and error rate beside it."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._error = ""

    def step(self, step: int, loss: float) -> None:
        """Draw a step."""
        self._bar.update(self._task, completed=step, told=f"loss {loss:.3f}{self._error}")

    def validated(self, error: float) -> None:
        """Draw the error rate with the next step."""
        self._error = f" EER {error:.1f} %"


class Lines:
    """A line every `LINE_EVERY` steps, with the mean loss since the last."""

    def __init__(self, view: View, first: int, last: int) -> None:
        self._view = view
        self._first = first
        self._last = last
        self._losses: list[float] = []
        self._error = ""
        self._began = time.monotonic()

    def step(self, step: int, loss: float) -> None:
        """Show a line if it is time for one."""
        self._losses.append(loss)
        if step % LINE_EVERY and step != self._last:
            return
        mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        each_s = (time.monotonic() - self._began) / (step - self._first)
        left = timedelta(seconds=round(each_s * (self._last - step)))
        self._view.note(f"Step {step} of {self._last}: loss {mean:.4f}{self._error}, {left} left")

    def validated(self, error: float) -> None:
        """Show the error rate in the next line."""
        self._error = f", EER {error:.1f} %"


# ---- Tables, for a spreadsheet or TensorBoard


STEP = "step"
"""The first column of every table."""


class Table:
    """A CSV file with a row for some steps.

    Parameters
    ----------
    columns : sequence of str
        Columns after the first, which is the step.
    after : int
        Step to continue from. Later rows, which a killed process may have left, are dropped.

    Raises
    ------
    OutputUnwritable
    """

    def __init__(self, path: Path, columns: Sequence[str], *, after: int = 0) -> None:
        self.path = path
        self.columns = (STEP, *columns)
        kept = [row for row in _rows(path) if int(row[0]) <= after] if after else []
        write(path, csv_text([self.columns, *kept]).encode())

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row. Columns without a value stay empty.

        Raises
        ------
        OutputUnwritable
        """
        row = [
            str(step),
            *(f"{values[name]:.6g}" if name in values else "" for name in self.columns[1:]),
        ]
        with unwritable_explained(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(csv_text([row]))


def _rows(path: Path) -> list[list[str]]:
    """Return the complete rows of a table. A killed process may have cut the last one short."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    whole = io.StringIO(text[: text.rfind("\n") + 1])
    return [row for row in csv.reader(whole) if row and row[0].isdigit()]


class TensorBoard:
    """Curves for TensorBoard.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    after : int
        As in `Table`.

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
        """Write what is still buffered."""
        with unwritable_explained(self._folder):
            self._writer.close()
