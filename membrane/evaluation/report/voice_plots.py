"""Plots of the speakers' mean voices: how alike they are, and a map of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from membrane.evaluation.evaluation import Evaluation
from membrane.evaluation.metrics import Floats
from membrane.evaluation.report.canvas import QUIET, SAME, new_axes, short

MOST_NAMES = 30
"""Speakers whose names a plot has room for."""

MOST_CELLS = 500
"""Speakers of the matrix; of more it takes evenly spaced ones, for it has no more pixels."""

NAME_SIZE = 8.5
MARK = 6.0
"""Of the letters, and width of a point; in points of type, as all lengths of names are."""

DISTANCES = (0, 10, 24, 42, 64, 90)
"""From a point to its name, beyond what keeps them apart."""

LINE_FROM = 10
"""Distance at which a line must tell whose name it is."""

DIRECTIONS = 16


def heard_speakers(evaluation: Evaluation) -> tuple[list[str], Floats]:
    """Return names and mean voices, shape (n, 256), of the speakers that have a voice."""
    heard = np.isfinite(evaluation.vectors).all(axis=1) & evaluation.vectors.any(axis=1)
    vectors = evaluation.vectors[heard].astype(np.float64)
    names = [short(evaluation.speakers[place]) for place in np.flatnonzero(heard)]
    return names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def similarity(evaluation: Evaluation) -> Any:
    """Draw how alike the speakers are, two by two, with those beside each other who are."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    names, vectors = heard_speakers(evaluation)
    kept = np.unique(np.linspace(0, len(names) - 1, MOST_CELLS).astype(int))
    tree = linkage(vectors[kept], "average", optimal_ordering=len(kept) <= 200)
    order = kept[leaves_list(tree)]
    alike = vectors[order] @ vectors[order].T
    # Everybody is like themselves; without that the colours are free for the others.
    np.fill_diagonal(alike, np.nan)
    shown = f"{len(order):,}" + f" of {len(names):,}" * (len(order) < len(names))
    axes = new_axes(f"How alike {shown} speakers are", width=7.0, height=6.2)
    axes.set_facecolor("#d0d0d0")
    image = axes.imshow(alike, cmap="cividis", interpolation="nearest", rasterized=True)
    axes.figure.colorbar(image, label="similarity (cosine)", shrink=0.85)
    if len(order) > MOST_NAMES:
        axes.set(xticks=[], yticks=[], xlabel="speakers, alike ones together")
    else:
        ordered, size = [names[place] for place in order], 9 if len(order) <= 20 else 7.5
        axes.set_yticks(range(len(order)), ordered, fontsize=size)
        axes.set_xticks(range(len(order)), ordered, rotation=90, fontsize=size)
    return axes.figure


def speaker_map(evaluation: Evaluation) -> Any:
    """Draw the speakers on the plane that keeps most of the distances between their voices."""
    names, vectors = heard_speakers(evaluation)
    points, shares = _principal_plane(vectors)
    axes = new_axes(f"Map of {len(names):,} speakers", width=6.6, height=6.0)
    axes.scatter(*points.T, s=28, color=SAME, alpha=0.8, linewidths=0, rasterized=len(names) > 500)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    axes.grid(visible=True)
    axes.set(
        xlabel=f"first principal component ({100 * shares[0]:.0f} % of the variance)",
        ylabel=f"second principal component ({100 * shares[1]:.0f} % of the variance)",
    )
    if len(names) <= MOST_NAMES:
        _name_points(axes, points, names)
    return axes.figure


def _principal_plane(vectors: Floats) -> tuple[Floats, Floats]:
    """Return points, shape (n, 2), and the share of the variance along each direction.

    Principal components (Pearson 1901), which on Euclidean distances are what classical
    multidimensional scaling gives (Torgerson 1952).
    """
    centred = vectors - vectors.mean(axis=0)
    left, stretches, _ = np.linalg.svd(centred, full_matrices=False)
    # A direction has no sign; this one makes the same map everywhere.
    signs = np.sign(left[np.abs(left[:, :2]).argmax(axis=0), [0, 1]])
    total = (stretches**2).sum() or 1.0
    return left[:, :2] * stretches[:2] * signs, stretches[:2] ** 2 / total


def _name_points(axes: Any, points: Floats, names: list[str]) -> None:
    """Write the name of each point at the nearest free place, with a line where that is far.

    The points must be drawn and the limits of the axes final. A box is (left, bottom, right, top).
    Where no place is free, it is the one that hides the least.
    """
    axes.figure.draw_without_rendering()
    scale = axes.figure.dpi / 72
    marks = axes.transData.transform(points) / scale
    room = np.array(axes.get_window_extent().extents) / scale
    taken = np.hstack([marks - MARK / 2, marks + MARK / 2])
    for point, mark, name in zip(points, marks, names, strict=True):
        size = _size(axes, name) / scale
        offsets, distances = _places(size)
        boxes = np.hstack([mark + offsets - size / 2, mark + offsets + size / 2])
        outside = (boxes[:, :2] < room[:2]).any(axis=1) | (boxes[:, 2:] > room[2:]).any(axis=1)
        overlap = (boxes[:, None, :2] < taken[:, 2:]) & (taken[:, :2] < boxes[:, None, 2:])
        best = int((overlap.all(axis=2).sum(axis=1) + len(taken) * outside).argmin())
        taken = np.vstack([taken, boxes[best]])
        line = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.6, "shrinkA": 0}
        text = axes.annotate(
            *(name, point, tuple(offsets[best])),
            **{"textcoords": "offset points", "ha": "center", "va": "center"},
            fontsize=NAME_SIZE,
            arrowprops=line if distances[best] >= LINE_FROM else None,
        )
        # The layout is final: names were placed in it.
        text.set_in_layout(False)


def _size(axes: Any, name: str) -> Floats:
    """Return width and height of a name, in pixels."""
    text = axes.text(0, 0, name, fontsize=NAME_SIZE)
    extent = text.get_window_extent()
    text.remove()
    return np.array([extent.width, extent.height])


def _places(size: Floats) -> tuple[Floats, Floats]:
    """Return offsets of a name's middle, the nearest first, and how far it is from its point."""
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # So far that the name, which is wider than high, just clears the point.
    reach = (size + MARK) / 2 + 1
    clear = (reach / np.maximum(np.abs(directions), 1e-9)).min(axis=1)
    distances = np.repeat(np.array(DISTANCES, np.float64), DIRECTIONS)
    steps = np.tile(clear, len(DISTANCES)) + distances
    return np.tile(directions, (len(DISTANCES), 1)) * steps[:, None], distances
