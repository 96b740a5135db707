"""Progress: how far a training is, how well it goes, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from membrane.console import View

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_EVERY = 100
"""Steps between two lines where there is no terminal."""

ESTIMATE_S = 600.0
"""Seconds of the past that the time left is estimated from: a validation is one slow step."""


@contextmanager
def shown(view: View, *, first: int, last: int) -> Iterator[Bar | Lines]:
    """Show the progress of a training: a bar on a terminal, else a line now and then.

    Parameters
    ----------
    view : View
        Shows nothing if it is quiet.
    first, last : int
        Steps that are done already, and all that are to be done.
    """
    if view.quiet or not view.notes.is_terminal:
        yield Lines(view, first, last)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (
        TextColumn("{task.description}"),
        BarColumn(None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeLeft(),
    )
    with Progress(*columns, console=view.notes, speed_estimate_period=ESTIMATE_S) as bar:
        yield Bar(bar, bar.add_task("Training", completed=first, total=last, told=""))


class Bar:
    """A bar with the newest loss and error rate beside it."""

    def __init__(self, bar: RichProgress, task: TaskID) -> None:
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
        self._view.note(
            f"Step {step} of {self._last}: loss {mean:.4f}{self._error}, {self._left(step)} left"
        )

    def validated(self, error: float) -> None:
        """Show the error rate in the next line."""
        self._error = f", EER {error:.1f} %"

    def _left(self, step: int) -> timedelta:
        each = (time.monotonic() - self._began) / (step - self._first)
        return timedelta(seconds=round(each * (self._last - step)))
