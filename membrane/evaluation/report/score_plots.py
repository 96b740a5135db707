"""Plots of scores and of the errors that thresholds on them make.

A DET curve is drawn on normal-deviate axes, on which it is a straight line if the scores are
normal. A rate p stands at the x for which a standard normal variable is below x with probability p:
50 % in the middle, and 0.1 % as far from 1 % as is worth seeing (A. Martin and others, "The DET
curve in assessment of detection task performance", Eurospeech 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from operator import attrgetter
from typing import Any

import numpy as np

from membrane.evaluation.evaluation import Evaluation, Outcome
from membrane.evaluation.metrics import Floats, ScoredTrials, det_curve
from membrane.evaluation.report.canvas import (
    IN_USE,
    OTHER,
    QUIET,
    SAME,
    finished,
    line_look,
    mark_threshold,
    new_axes,
    short,
    thinned,
)
from membrane.evaluation.report.wording import percent

BINS = 60

LOWEST_BOTTOM, HIGHEST_BOTTOM = 1e-5, 5e-4
"""Between these rates is the bottom of a logarithmic axis."""

KINDS = (("same person", SAME, True), ("other person", OTHER, False))

TICKS = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4),
    *(0.6, 0.8, 0.9, 0.95),
)
LOWEST, HIGHEST = 0.001, 0.4
"""The axes reach at least from one to the other."""

MARGIN = 0.12
"""Standard deviations between the outermost ticks and the end of the axes."""


def judged(evaluation: Evaluation) -> list[Outcome]:
    """Return the outcomes of everybody that have trials of both kinds, one a condition."""
    return [
        outcome
        for outcome in evaluation.outcomes
        if not outcome.group and 0 < outcome.scored.same.sum() < len(outcome.scored)
    ]


def det(evaluation: Evaluation) -> Any:
    """Draw what one error costs in the other, a curve a condition, on normal-deviate axes."""
    outcomes = judged(evaluation)
    height = 5.6 + 0.11 * (len(outcomes) + 3)
    axes = new_axes("Detection error trade-off (DET)", width=6.4, height=height)
    ends = set_axes(axes, [outcome.measures["eer"].value for outcome in outcomes])
    axes.plot(ends, ends, color=QUIET, linewidth=0.8)
    for place, outcome in enumerate(outcomes):
        _det_curve(axes, outcome, line_look(place), ends)
    look = {"color": IN_USE, "linestyle": "none"}
    axes.plot([], [], marker="o", markersize=6, label="equal error rate (EER)", **look)
    hollow = {"marker": "D", "markersize": 7, "markerfacecolor": "white"}
    axes.plot([], [], label="threshold in use", **hollow, **look)
    return finished(
        axes,
        columns=2,
        xlabel="false matches: strangers accepted (FMR, %)",
        ylabel="false non-matches: right persons refused (FNMR, %)",
    )


def scores(evaluation: Evaluation) -> Any:
    """Draw how the scores of the same and of other persons are spread, with the threshold."""
    outcome = judged(evaluation)[0]
    axes = new_axes(f"Scores, {short(outcome.condition)}")
    low, high = _range(outcome.scored, evaluation.threshold)
    for name, colour, same in KINDS:
        chosen = np.clip(outcome.scored.scores[outcome.scored.same == same], low, high)
        axes.hist(
            *(chosen, np.linspace(low, high, BINS + 1)),
            weights=np.full(len(chosen), 100 / len(chosen)),
            **{"histtype": "stepfilled", "alpha": 0.55, "color": colour, "edgecolor": colour},
            label=f"{name} ({len(chosen):,} trials)",
        )
    mark_threshold(axes, evaluation.threshold)
    axes.margins(x=0.01)
    xlabel, ylabel = f"score ({evaluation.unit})", "share of the trials of each kind (%)"
    return finished(axes, grid="y", xlabel=xlabel, ylabel=ylabel)


def errors(evaluation: Evaluation) -> Any:
    """Draw both error rates against the threshold, the rate on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    outcome = judged(evaluation)[0]
    axes = new_axes(f"Errors at every threshold, {short(outcome.condition)}")
    curve = det_curve(outcome.scored.scores, outcome.scored.same)
    least = _least_rate(outcome.scored)
    for name, colour, rates in (
        ("strangers accepted (FMR)", OTHER, curve.fmr),
        ("right persons refused (FNMR)", SAME, curve.fnmr),
    ):
        x, y = _rate_curve(curve.thresholds, rates, least)
        # Between two scores a threshold does what it does at the higher one.
        axes.plot(x, y, color=colour, label=name, drawstyle="steps-pre")
    mark_threshold(axes, evaluation.threshold)
    rate = outcome.measures["eer"].value
    threshold = curve.thresholds[:-1][np.abs(curve.fmr - curve.fnmr)[:-1].argmin()]
    axes.plot(
        *(threshold, max(rate, least)),
        **{"color": IN_USE, "linestyle": "none", "marker": "o", "markersize": 7, "zorder": 5},
        label=f"equal error rate: {percent(rate)} at {threshold:.4g}",
        clip_on=False,
    )
    axes.set(yscale="log", ylim=(least, 1.3), ylabel="error rate (%), logarithmic")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    limits = _range(outcome.scored, evaluation.threshold)
    xlabel = f"threshold ({evaluation.unit})"
    return finished(axes, columns=2, grid="both", xlim=limits, xlabel=xlabel)


def box(evaluation: Evaluation) -> Any:
    """Draw the scores of the same and of other persons as boxes, a pair a condition."""
    outcomes = judged(evaluation)
    axes = new_axes("Scores of the same and of other persons", height=2.2 + 0.5 * len(outcomes))
    for name, colour, same in KINDS:
        drawn = axes.bxp(
            [_spread(one.scored.scores[one.scored.same == same]) for one in outcomes],
            [place + (-0.2 if same else 0.2) for place in range(len(outcomes))],
            **{"orientation": "horizontal", "widths": 0.32, "showfliers": False},
            **{"patch_artist": True, "boxprops": {"facecolor": colour, "alpha": 0.6}},
            medianprops={"color": IN_USE, "linewidth": 1.6},
        )
        drawn["boxes"][0].set_label(name)
    mark_threshold(axes, evaluation.threshold)
    axes.set_yticks(range(len(outcomes)), [short(one.condition) for one in outcomes])
    axes.invert_yaxis()
    return finished(axes, grid="x", xlabel=f"score ({evaluation.unit})")


def noise(evaluation: Evaluation) -> Any:
    """Draw the equal error rate against the signal-to-noise ratio, a line a kind of noise."""
    axes = new_axes("Errors in noise")
    lines = noisy(evaluation)
    for place, (kind, outcomes) in enumerate(lines.items()):
        value, low, high = (
            100 * np.array([astuple(outcome.measures["eer"]) for outcome in outcomes]).T
        )
        # Lines are set apart a little, or their intervals would hide each other.
        x = np.array([outcome.snr_db for outcome in outcomes], float) + 0.15 * place
        reach = np.nan_to_num(np.maximum([value - low, high - value], 0))
        look = {"marker": "o", "markersize": 5, "capsize": 3, **line_look(place)}
        axes.errorbar(x, value, reach, label=short(kind), **look)
    quiet = [one for one in judged(evaluation) if one.kind == "clean"]
    if quiet:
        axes.axhline(
            100 * quiet[0].measures["eer"].value, color=QUIET, linestyle=":", label="as recorded"
        )
    return finished(
        axes,
        grid="y",
        ylim=(0, None),
        xticks=sorted({one.snr_db for outcomes in lines.values() for one in outcomes}),
        xlabel="signal-to-noise ratio (dB); more noise to the left",
        ylabel="equal error rate (%), with 95 % interval",
    )


def noisy(evaluation: Evaluation) -> dict[str, list[Outcome]]:
    """Return the outcomes that have a signal-to-noise ratio, by kind of noise, noisiest first."""
    lines: dict[str, list[Outcome]] = {}
    for outcome in judged(evaluation):
        if outcome.snr_db is not None:
            words = outcome.condition.split()
            named = words[:-2] if words[-1:] == ["dB"] else words
            lines.setdefault(" ".join(named) or outcome.kind, []).append(outcome)
    return {name: sorted(line, key=attrgetter("snr_db")) for name, line in lines.items()}


def deviate(rates: Floats | float) -> Floats:
    """Return where rates stand; 0 and 1, which stand nowhere, are put far outside any axes.

    Parameters
    ----------
    rates : np.ndarray or float, in [0, 1]
    """
    from scipy.special import ndtri

    return np.asarray(ndtri(np.clip(rates, 1e-7, 1 - 1e-7)))


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
    ends = float(deviate(low)) - MARGIN, float(deviate(high)) + MARGIN
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        axis.set_ticks(deviate(np.array(ticks)), [f"{100 * tick:g}" for tick in ticks])
        limit(*ends)
    axes.set_aspect("equal")
    axes.grid(visible=True)
    return ends


def _det_curve(
    axes: Any, outcome: Outcome, look: dict[str, str], ends: tuple[float, float]
) -> None:
    curve = det_curve(outcome.scored.scores, outcome.scored.same)
    equal = outcome.measures["eer"]
    # The curve leaves the axes a little, so that its ends are seen to go on.
    x, y = (np.clip(deviate(rates), ends[0] - 1, ends[1] + 1) for rates in (curve.fmr, curve.fnmr))
    label = f"{short(outcome.condition)}: EER {percent(equal.value)}"
    axes.plot(*thinned(x, y), **look, label=label)
    front = {"color": look["color"], "clip_on": False, "zorder": 5, "linestyle": "none"}
    middle = np.clip(deviate(equal.value), *ends)
    axes.plot(middle, middle, marker="o", markersize=6, **front)
    point = [np.clip(deviate(outcome.measures[key].value), *ends) for key in ("fmr", "fnmr")]
    axes.plot(*point, marker="D", markersize=7, markerfacecolor="white", **front)


def _range(scored: ScoredTrials, threshold: float) -> tuple[float, float]:
    """Return the ends of an axis of scores that a few far ones of either kind do not stretch."""
    kinds = [scored.scores[scored.same == same] for same in (True, False)]
    # Not interpolated: of few scores the second is the end, however far off the last one is.
    low = float(min(threshold, *(np.quantile(one, 0.002, method="higher") for one in kinds)))
    high = float(max(threshold, *(np.quantile(one, 0.998, method="lower") for one in kinds)))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _least_rate(scored: ScoredTrials) -> float:
    """Return half of the lowest rate that these trials can show, the bottom of the axis."""
    most = max(int(scored.same.sum()), int((~scored.same).sum()))
    return max(LOWEST_BOTTOM, min(HIGHEST_BOTTOM, 0.5 / most))


def _rate_curve(thresholds: Floats, rates: Floats, least: float) -> tuple[Floats, Floats]:
    """Thin a curve of which the rates will be logarithmic; a rate of 0 runs below the bottom."""
    finite = np.append(thresholds[:-1], np.nextafter(thresholds[-2], np.inf))
    width = finite[-1] - finite[0]
    depth = -np.log10(least / 10)
    heights = np.log10(np.maximum(rates, least / 10))
    x, y = thinned((finite - finite[0]) / width, heights / depth)
    return x * width + finite[0], 10 ** (y * depth)


def _spread(values: Floats) -> dict[str, Any]:
    parts = np.quantile(values, [0.01, 0.25, 0.5, 0.75, 0.99])
    return dict(zip(("whislo", "q1", "med", "q3", "whishi"), parts, strict=True)) | {"fliers": []}
