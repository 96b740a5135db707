"""How alike two voices are, or one voice and a whole gallery.

Conventions
-----------
Every decision uses the *similarity*, the cosine of two d-vectors: larger is more alike. The vectors
have unit length, so the Euclidean distance says the same in other numbers,
``d = sqrt(2 - 2 cos)``: smaller is more alike. A `Metric` turns a similarity into the number shown,
and a threshold given in such numbers into a similarity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from membrane.errors import EncoderMismatch, PoorQuality, StoreDamaged, UsageError
from membrane.voice.encoder import Vector


def cosine_to_distance(cosine: float) -> float:
    """Return the Euclidean distance of two unit vectors from their cosine.

    From ``|a - b|² = |a|² + |b|² - 2 a·b``; a cosine that rounding pushed past 1 counts as 1.
    """
    return float(np.sqrt(max(0.0, 2.0 - 2.0 * cosine)))


def distance_to_cosine(distance: float) -> float:
    """Return the cosine of two unit vectors from their Euclidean distance."""
    return 1.0 - distance * distance / 2.0


@dataclass(frozen=True)
class Metric:
    """The numbers in which a similarity is shown and a threshold is given.

    Parameters
    ----------
    name : str
        As in ``--metric``.
    from_similarity, to_similarity : callable, float -> float
        The number for a cosine, and the cosine for a number.
    """

    name: str
    from_similarity: Callable[[float], float]
    to_similarity: Callable[[float], float]


METRICS = {
    "cosine": Metric("cosine", float, float),
    "euclidean": Metric("euclidean", cosine_to_distance, distance_to_cosine),
}
"""Every metric by name. The first is the default."""


def metric_named(name: str) -> Metric:
    """Return the metric of that name.

    Raises
    ------
    UsageError
        If no metric has that name.
    """
    if name not in METRICS:
        raise UsageError(f"no metric is called {name!r}: choose from {', '.join(METRICS)}")
    return METRICS[name]


def similarities(gallery: Vector, probe: Vector) -> Vector:
    """Return how alike each voice of a gallery is to a probe.

    Parameters
    ----------
    gallery : np.ndarray, shape (p, dimension), float32, rows of unit length
        May be memory-mapped; it is read once and never copied.
    probe : np.ndarray, shape (dimension,), float32, unit length
        The voice to compare the gallery with.

    Returns
    -------
    np.ndarray, shape (p,), float32 in [-1, 1] but for rounding
        Cosines.

    Raises
    ------
    EncoderMismatch
        If the vectors have different lengths.
    PoorQuality
        If the probe holds numbers that are not finite.
    StoreDamaged
        If the gallery does.
    """
    if gallery.shape[1:] != probe.shape:
        raise EncoderMismatch(
            f"voiceprints of shape {gallery.shape[1:]} and a probe of shape {probe.shape} come "
            "from different encoders: enrol again with this one"
        )
    if not np.isfinite(probe).all():
        raise PoorQuality("this recording's voice is not a number: record it again")
    with np.errstate(over="ignore", invalid="ignore"):
        cosines = np.asarray(np.asarray(gallery) @ probe)
    if not np.isfinite(cosines).all():
        raise StoreDamaged(
            f"voiceprint {np.isfinite(cosines).argmin()} holds numbers that are not finite: "
            "restore the good copy"
        )
    return cosines


def similarity(one: Vector, other: Vector) -> float:
    """Return how alike two voices are, as `similarities` does.

    Parameters
    ----------
    one, other : np.ndarray, shape (dimension,), float32, unit length
        The two voices.
    """
    return float(similarities(one[np.newaxis], other)[0])


def top(scores: Vector, n: int) -> npt.NDArray[np.intp]:
    """Return the indices of the `n` largest scores, the largest first.

    Parameters
    ----------
    scores : np.ndarray, shape (p,)
        Score of each voice.
    n : int
        Number of indices. If there are fewer scores, all are returned.

    Returns
    -------
    np.ndarray, shape (min(n, p),), int
        Equal scores keep their order. Which of them are among the `n` is undefined.
    """
    if n <= 0:
        return np.zeros(0, dtype=np.intp)
    best = np.argpartition(scores, -n)[-n:] if n < len(scores) else np.arange(len(scores))
    return best[np.lexsort((best, -scores[best]))]
