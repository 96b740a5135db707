"""Plots of the speakers' mean voices: how alike they are, and a map of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from membrane.evaluation.canvas import SAME, new_axes, short
from membrane.evaluation.evaluation import Evaluation
from membrane.evaluation.point_names import name_points
from membrane.evaluation.scores import Floats

MOST_NAMES = 30
"""Speakers whose names a plot has room for."""

MOST_CELLS = 500
"""Speakers of the matrix; of more it takes evenly spaced ones, for it has no more pixels."""


def heard_speakers(evaluation: Evaluation) -> tuple[list[str], Floats]:
    """Return names and mean voices, shape (n, 256), of the speakers that have a voice."""
    heard = np.isfinite(evaluation.vectors).all(axis=1) & evaluation.vectors.any(axis=1)
    vectors = evaluation.vectors[heard].astype(np.float64)
    names = [short(evaluation.speakers[place]) for place in np.flatnonzero(heard)]
    return names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def similarity(evaluation: Evaluation) -> Any:
    """Draw how alike the speakers are, two by two, with those beside each other who are."""
    names, vectors = heard_speakers(evaluation)
    kept = np.unique(np.linspace(0, len(names) - 1, MOST_CELLS).astype(int))
    order = kept[_alike_beside_each_other(vectors[kept])]
    alike = vectors[order] @ vectors[order].T
    # Everybody is like themselves; without that the colours are free for the others.
    np.fill_diagonal(alike, np.nan)
    axes = new_axes(_similarity_title(len(order), len(names)), width=7.0, height=6.2)
    axes.set_facecolor("#d0d0d0")
    image = axes.imshow(alike, cmap="cividis", interpolation="nearest", rasterized=True)
    axes.figure.colorbar(image, label="similarity (cosine)", shrink=0.85)
    _name_rows(axes, [names[place] for place in order])
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
    for label, part, share in zip(("x", "y"), ("first", "second"), shares, strict=True):
        text = f"{part} principal component ({100 * share:.0f} % of the variance)"
        axes.set(**{f"{label}label": text})
    if len(names) <= MOST_NAMES:
        name_points(axes, points, names)
    return axes.figure


def _alike_beside_each_other(vectors: Floats) -> Any:
    """Return an order of the voices: the leaves of their tree of average linkage."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    return leaves_list(linkage(vectors, "average", optimal_ordering=len(vectors) <= 200))


def _similarity_title(shown: int, all_of_them: int) -> str:
    if shown == all_of_them:
        return f"How alike {shown:,} speakers are"
    return f"How alike {shown:,} of {all_of_them:,} speakers are"


def _name_rows(axes: Any, names: list[str]) -> None:
    if len(names) > MOST_NAMES:
        axes.set(xticks=[], yticks=[], xlabel="speakers, alike ones together")
        return
    size = 9 if len(names) <= 20 else 7.5
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)


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
