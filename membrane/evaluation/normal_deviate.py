"""Normal-deviate axes: on them the DET curve of normal scores is a straight line.

Conventions
-----------
A rate p stands at the x for which a standard normal variable is below x with probability p: 50 %
in the middle, and 0.1 % as far from 1 % as is worth seeing (A. Martin and others, "The DET curve in
assessment of detection task performance", Eurospeech 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from membrane.evaluation.scores import Floats

TICKS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4),
    *(0.6, 0.8, 0.9, 0.95),
)
LOWEST, HIGHEST = 0.001, 0.4
"""The axes reach at least from one to the other."""

MARGIN = 0.12
"""Standard deviations between the outermost ticks and the end of the axes."""


def deviate(rates: Floats | float) -> Floats:
    """Return where rates stand; 0 and 1, which stand nowhere, are put far outside any axes.

    Parameters
    ----------
    rates : np.ndarray or float, in [0, 1]
    """
    from scipy.special import ndtri

    positions: Floats = ndtri(np.clip(rates, 1e-7, 1 - 1e-7))
    return positions


def set_axes(axes: Any, rates: Sequence[float]) -> tuple[float, float]:
    """Make both axes of a square plot normal-deviate, with ticks in per cent; return their ends.

    Parameters
    ----------
    axes : matplotlib axes
    rates : sequence of float
        To be within the ticks, except for 0 and 1.
    """
    inner = [rate for rate in rates if 0 < rate < 1]
    low = max((tick for tick in TICKS if tick <= min([*inner, LOWEST])), default=TICKS[0])
    high = min((tick for tick in TICKS if tick >= max([*inner, HIGHEST])), default=TICKS[-1])
    ticks = [tick for tick in TICKS if low <= tick <= high]
    labels = [f"{100 * tick:g}" for tick in ticks]
    ends = float(deviate(low)) - MARGIN, float(deviate(high)) + MARGIN
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        axis.set_ticks(deviate(np.array(ticks)), labels)
        limit(*ends)
    axes.set_aspect("equal")
    axes.grid(visible=True)
    return ends
