"""Names of points on a map, each where it hides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from membrane.evaluation.canvas import QUIET
from membrane.evaluation.scores import Floats

SIZE = 8.5
DISTANCES = (0, 10, 24, 42, 64, 90)
"""From a point to its name, beyond what keeps them apart; in points of type."""

DIRECTIONS = 16

MARK = 6.0
"""Width of a point, in points of type."""

LINE_FROM = 10
"""Distance at which a line must tell whose name it is."""


def name_points(axes: Any, points: Floats, names: Sequence[str]) -> None:
    """Write the name of each point at the nearest free place, with a line where that is far.

    Parameters
    ----------
    axes : matplotlib axes
        With its points drawn and its limits final.
    points : np.ndarray, shape (n, 2)
    names : sequence of str
    """
    figure = axes.figure
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    marks = axes.transData.transform(points) / scale
    taken = [_box(mark, np.array([MARK, MARK])) for mark in marks]
    room = np.array(axes.get_window_extent().extents) / scale
    for point, mark, name in zip(points, marks, names, strict=True):
        size = _size(axes, name) / scale
        offset, distance = _free_place(mark, size, taken, room)
        taken.append(_box(mark + offset, size))
        _write(axes, name, point, offset, line=distance >= LINE_FROM)


def _size(axes: Any, name: str) -> Floats:
    """Return width and height of a name, in pixels."""
    text = axes.text(0, 0, name, fontsize=SIZE)
    extent = text.get_window_extent()
    text.remove()
    return np.array([extent.width, extent.height])


def _write(axes: Any, name: str, point: Floats, offset: Floats, *, line: bool) -> None:
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SIZE}
    if line:
        look["arrowprops"] = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.6, "shrinkA": 0}
    text = axes.annotate(name, point, tuple(offset), textcoords="offset points", **look)
    # The layout is final: names were placed in it.
    text.set_in_layout(False)


def _free_place(
    mark: Floats, size: Floats, taken: Sequence[Floats], room: Floats
) -> tuple[Floats, int]:
    """Return the offset of the first place that is free, or of that which meets the fewest."""
    least, best = float("inf"), (np.zeros(2), 0)
    for offset, distance in _places(size):
        box = _box(mark + offset, size)
        outside = (box[:2] < room[:2]).any() or (box[2:] > room[2:]).any()
        met = float(len(taken) * outside) + sum(_overlap(box, other) for other in taken)
        if met < least:
            least, best = met, (offset, distance)
        if not met:
            break
    return best


def _places(size: Floats) -> Iterator[tuple[Floats, int]]:
    """Yield offsets of a name's middle, and how far the name is from its point."""
    for distance in DISTANCES:
        for turn in range(DIRECTIONS):
            angle = 2 * np.pi * turn / DIRECTIONS
            direction = np.array([np.cos(angle), np.sin(angle)])
            # So far that the name, which is wider than high, just clears the point.
            reach = (size + MARK) / 2 + 1
            clear = (reach / np.maximum(np.abs(direction), 1e-9)).min()
            yield direction * (clear + distance), distance


def _box(middle: Floats, size: Floats) -> Floats:
    return np.concatenate([middle - size / 2, middle + size / 2])


def _overlap(one: Floats, other: Floats) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())
