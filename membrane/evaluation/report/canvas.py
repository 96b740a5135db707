"""Canvas: one look for all plots, and plots as bytes that are the same every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from membrane.evaluation.metrics import Floats

SAME = "#0072b2"
OTHER = "#d55e00"
IN_USE = "#000000"
QUIET = "#767676"
COLOURS = (SAME, OTHER, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart with any colour vision (Okabe and Ito, Color Universal Design, 2008)."""

DASHES = ("-", "--", "-.", ":")
"""Tell apart what has one colour, where there are more lines than colours."""

MOST_POINTS = 2000
"""Points of a curve: more make a file large and no line finer."""

LONGEST_NAME = 18
"""Characters of a name that a plot has room for."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    # A name may hold a dollar, and nothing that is written here is a formula.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "svg.hashsalt": "membrane",
    "svg.fonttype": "path",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save within this: the look of the plots, which is the caller's again afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A name may be in a script that the font lacks; a box stands for each such letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def new_axes(title: str, *, width: float = 7.0, height: float = 4.6) -> Any:
    """Return the axes of a new figure of that size in inches; the figure is its ``.figure``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    return axes


def as_bytes(figure: Any, form: str) -> bytes:
    """Return a figure as a ``"png"`` or ``"svg"`` file, without the date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


def line_look(place: int) -> dict[str, str]:
    """Return colour and dashes of the nth line of a plot."""
    dashes = DASHES[place // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": dashes}


def printable(text: str) -> str:
    """Return a text without what breaks a line or a file: controls and halves of characters."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that can be drawn: printable, and not too long.

    The middle is left out, and more of the end kept: names of one corpus begin alike.
    """
    clean, begin = printable(name), longest // 3
    cut = f"{clean[:begin]}…{clean[begin + 1 - longest :]}"
    return clean if len(clean) <= longest else cut


def thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return at most `MOST_POINTS` points of a curve, evenly along its way.

    Parameters
    ----------
    x, y : np.ndarray, shape (n,)
        Finite, and scaled alike.
    """
    if len(x) <= MOST_POINTS:
        return x, y
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    places = np.searchsorted(way, np.linspace(0.0, way[-1], MOST_POINTS))
    kept = np.unique(np.append(np.clip(places, 0, len(x) - 1)[:-1], len(x) - 1))
    return x[kept], y[kept]


def mark_threshold(axes: Any, threshold: float) -> None:
    """Draw the threshold in use as an upright line, with a legend entry that names its value."""
    label = f"threshold in use: {threshold:.4g}"
    axes.axvline(threshold, color=IN_USE, linestyle="--", linewidth=1.3, label=label)


def finished(axes: Any, *, columns: int = 3, grid: str = "", **properties: Any) -> Any:
    """Return the figure of these axes with its properties, and the legend where it hides nothing.

    Parameters
    ----------
    axes : matplotlib axes
    columns : int
        Of the legend, at most.
    grid : {"", "x", "y", "both"}
        Lines to draw.
    **properties
        As ``Axes.set`` takes them: labels, limits, ticks.
    """
    if grid:
        axes.grid(visible=True, axis=grid)
    axes.set(**properties)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = min(columns, len(handles))
        axes.figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return axes.figure
