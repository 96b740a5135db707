"""What a similarity is worth: its log-likelihood ratio in the given circumstances.

Conventions
-----------
A *log-likelihood ratio* (llr, natural logarithm) says how many times likelier such a similarity is
between two recordings of one person than between strangers. It is linear in the similarity; the
line's height and slope depend on how much speech there was and how noisy it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MEASURES = ("speech", "snr", "enrolled")
"""Measures that may change what a similarity is worth: net speech and noise of the probe, and net
speech of the enrolment."""

LIMITS = {"speech": (0.1, 600.0), "snr": (0.0, 40.0), "enrolled": (0.1, 3600.0)}
"""Widest range (seconds, dB, seconds) that each measure is clipped to."""


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What two recordings were like when they were compared.

    Parameters
    ----------
    speech_s : float or np.ndarray, shape (t,), seconds
        Net speech of the probe.
    snr_db : float or np.ndarray, shape (t,), dB
        Its signal-to-noise ratio.
    enrolled_speech_s : float or np.ndarray, shape (t,), seconds
        Net speech that the voiceprint is made of.
    """

    speech_s: float | Floats
    snr_db: float | Floats
    enrolled_speech_s: float | Floats

    def of(self, measure: str) -> Floats:
        """Return one of `MEASURES` in its own unit, float64."""
        values = {
            "speech": self.speech_s,
            "snr": self.snr_db,
            "enrolled": self.enrolled_speech_s,
        }
        return np.asarray(values[measure], dtype=np.float64)

    def where(self, chosen: npt.NDArray[Any]) -> Circumstances:
        """Return the circumstances of some comparisons, by index or flag."""
        return Circumstances(*(self.of(measure)[chosen] for measure in MEASURES))


@dataclass(frozen=True)
class Influence:
    """How one measure changes height and slope of the line.

    Parameters
    ----------
    measure : {"speech", "snr", "enrolled"}
        Name of the measure.
    low, high : float
        The range that was seen, in the measure's unit; values beyond it count as its ends.
    weight : float
        Change of the height per unit of the feature.
    interaction : float
        Change of the slope per unit of the feature.
    """

    measure: str
    low: float
    high: float
    weight: float
    interaction: float

    def feature(self, values: Floats) -> Floats:
        """Return the feature: decibels as they are, the logarithm of seconds."""
        clipped = np.clip(values, self.low, self.high)
        return clipped if self.measure == "snr" else np.log(clipped)

    @property
    def slopes(self) -> tuple[float, float]:
        """The least and the most that it adds to the slope within its range."""
        ends = self.interaction * self.feature(np.array([self.low, self.high]))
        return float(ends.min()), float(ends.max())


@dataclass(frozen=True)
class Line:
    """Log-likelihood ratio as a linear function of the similarity.

    Parameters
    ----------
    intercept, slope : float
        Both where every feature is 0.
    influences : tuple of Influence
        How each measure changes the line.
    """

    intercept: float
    slope: float
    influences: tuple[Influence, ...] = ()

    def llr(self, similarities: float | Floats, circumstances: Circumstances) -> Floats:
        """Return the log-likelihood ratios (natural log) of similarities.

        Parameters
        ----------
        similarities : float or np.ndarray, shape (t,)
            Similarity of each comparison.
        circumstances : Circumstances
            Of each, or the same for all.

        Returns
        -------
        np.ndarray, shape (t,) or (), float64
        """
        height, slope = np.asarray(self.intercept), np.asarray(self.slope)
        for influence in self.influences:
            feature = influence.feature(circumstances.of(influence.measure))
            height = height + influence.weight * feature
            slope = slope + influence.interaction * feature
        return np.asarray(height + slope * np.asarray(similarities, dtype=np.float64))

    @property
    def least_slope(self) -> float:
        """The slope under the least favourable circumstances."""
        return self.slope + sum(influence.slopes[0] for influence in self.influences)


def ratio_as_number(llr: float) -> str:
    """Return the ratio of a log-likelihood ratio to two significant digits, as in "2,300"."""
    if llr > math.log(1e6):
        return "more than a million"
    if llr < -math.log(1e6):
        return "less than a millionth"
    ratio = float(f"{math.exp(llr):.2g}")
    return f"{ratio:,.{max(0, 1 - math.floor(math.log10(ratio)))}f}"


def ratio_in_words(llr: float, one: str = "yours", other: str = "a stranger's") -> str:
    """Return a log-likelihood ratio as a person would say it.

    Parameters
    ----------
    llr : float
        The log-likelihood ratio.
    one, other : str
        Whose voice is likelier if the ratio is positive, and whose if it is negative.
    """
    number = ratio_as_number(abs(llr))
    if number == "1.0":
        return f"as likely {other} as {one}"
    if llr > 0:
        return f"{number} times likelier {one} than {other}"
    return f"{number} times likelier {other} than {one}"
