"""The similarity at which a voice is accepted: chosen once per encoder, shipped with its weights.

`benchmarks/thresholds.py` chooses them and writes ``weights/thresholds.toml``, which also says
what they were chosen on and how many honest trials they refuse.
"""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any

from membrane import models
from membrane.errors import ModelUnavailable, UsageError


@cache
def _chosen() -> dict[str, Any]:
    path = models.shipped_folder() / "thresholds.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the thresholds in {path} cannot be read ({error}): reinstall Membrane"
        ) from None


def threshold_for(encoder: str, security: str) -> float:
    """Return the least cosine similarity that is accepted.

    Parameters
    ----------
    encoder : str
        Name of the encoder.
    security : {"convenient", "balanced", "strict", "enrolment", "stretch"}
        False match rate of 1 %, 0.1 % or 0.01 %; or what phrases of one enrolment must reach, or
        every stretch of a probe.

    Raises
    ------
    UsageError
        If none was chosen for this encoder and level.
    ModelUnavailable
        If the shipped thresholds cannot be read.
    """
    try:
        return float(_chosen()[encoder][security]["similarity"])
    except KeyError:
        raise UsageError(
            f"no threshold was chosen for {encoder} at {security}: give one with --threshold"
        ) from None
