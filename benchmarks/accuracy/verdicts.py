"""What a bar is, whether it is met, and how that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import Literal

from benchmarks.accuracy.ratios import Measured
from membrane.evaluation.intervals import Estimate

PLAIN, DENOISED = 1, 2
"""Places of the reference without denoising, and with it, after the encoder under test."""

NO_WORSE = ("librispeech", "clean")
"""Corpus and condition so easy for both that no worse, beyond the interval, is enough."""

NO_RATIO = Estimate(nan)


@dataclass(frozen=True)
class Bar:
    """What a ratio to the reference must not exceed.

    Parameters
    ----------
    condition : str
    most : float
    measure : {"EER", "minDCF"}
    """

    condition: str
    most: float
    measure: str = "EER"


Verdict = Literal["met", "not met", "cannot be told"]


@dataclass(frozen=True)
class Line:
    """One line of the table: a bar on one corpus, on one group of speakers, or on average.

    Parameters
    ----------
    what, where : str
    values : tuple of str
        Of the encoder under test and of the reference, as they are shown.
    compared : Estimate
        The ratio; the difference where `most` is 0.
    most : float
    to_denoised : Estimate
    average : bool
        Whether it is the mean of the corpora.
    """

    what: str
    where: str
    values: tuple[str, str]
    compared: Estimate
    most: float
    to_denoised: Estimate = NO_RATIO
    average: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether the bar is met, as far as the interval tells."""
        if self.compared.high <= self.most:
            return "met"
        if self.most == 0:  # no worse beyond the interval
            return "not met" if self.compared.low > 0 else "met"
        return "not met" if self.compared.low > self.most else "cannot be told"

    @property
    def would_meet(self) -> bool:
        """Whether the value itself meets the bar."""
        return self.compared.value <= self.most or self.verdict == "met"


def line_of(what: str, where: str, found: Measured, bar: Bar, *, average: bool = False) -> Line:
    """Return the line of a bar."""
    no_worse = (where, bar.condition) == NO_WORSE
    shown = [number(value, bar.measure) for value in found.values]
    return Line(
        what=what,
        where=where,
        values=(shown[0], shown[PLAIN]),
        compared=found.difference(PLAIN) if no_worse else found.ratio(PLAIN),
        most=0.0 if no_worse else bar.most,
        to_denoised=found.ratio(DENOISED),
        average=average,
    )


def number(value: float, measure: str) -> str:
    """Return a rate in per cent, a cost as it is."""
    return f"{100 * value:.2f} %" if measure == "EER" else f"{value:.3f}"


def table_of(lines: Sequence[Line], tested: str, reference: str) -> str:
    """Return the lines as a Markdown table."""
    headings = ["condition", "speakers", tested, reference, "ratio", "at most", "verdict"]
    headings.append(f"ratio to {reference}, denoised")
    rows = [headings, ["---"] * len(headings), *map(row_of, lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def row_of(line: Line) -> list[str]:
    """Return the cells of a line."""
    shown = difference_shown(line.compared) if line.most == 0 else ratio_shown(line.compared)
    return [
        line.what,
        line.where,
        *line.values,
        f"**{shown}**" if line.would_meet else shown,
        "no worse" if line.most == 0 else f"{line.most:g}",
        line.verdict,
        ratio_shown(line.to_denoised),
    ]


def ratio_shown(estimate: Estimate) -> str:
    """Return a ratio with its interval."""
    if isnan(estimate.value):
        return "–"
    value, low, high = (
        f"{number:.2f}" if isfinite(number) else "∞"
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return value if isnan(estimate.low) else f"{value} ({low}–{high})"


def difference_shown(estimate: Estimate) -> str:
    """Return a difference of rates or costs with its interval, signed."""
    if isnan(estimate.low):
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f})"


def summary(lines: Sequence[Line]) -> str:
    """Return how many bars are met."""
    counts = {
        verdict: sum(line.verdict == verdict for line in lines)
        for verdict in ("met", "not met", "cannot be told")
    }
    likely = sum(line.would_meet for line in lines)
    told = ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
    return f"Of {len(lines)} lines: {told}. By the values alone {likely} would be met."
