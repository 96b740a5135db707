"""Thresholds for parts of a voice: chosen once per encoder, shipped with its weights.

The calibration judges the whole (`membrane.voice.judge`).

`benchmarks/thresholds.py` chooses them and writes ``weights/thresholds.toml``, which also says
what they were chosen on and how many honest trials they refuse.
"""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any

from membrane.errors import ModelUnavailable, UsageError
from membrane.models import registry as models


@cache
def _chosen() -> dict[str, Any]:
    path = models.shipped_folder() / "thresholds.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the thresholds in {path} cannot be read ({error}): reinstall Membrane"
        ) from None


def threshold_for(encoder: str, part: str) -> float:
    """Return the cosine similarity from which a part is accepted.

    Parameters
    ----------
    encoder : str
        Name of the encoder.
    part : {"enrolment", "stretch"}
        A phrase of an enrolment, compared with the others; or every stretch of a probe.

    Raises
    ------
    UsageError
        If this encoder has no threshold.
    ModelUnavailable
        If the shipped thresholds cannot be read.
    """
    try:
        return float(_chosen()[encoder][part]["similarity"])
    except KeyError:
        raise UsageError(
            f"no threshold was chosen for {part} with {encoder}: choose an encoder that is shipped"
        ) from None
