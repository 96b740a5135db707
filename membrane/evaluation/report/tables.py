"""The figures of an evaluation as rows: for a terminal and for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from membrane.evaluation.calibrating import Calibrated
from membrane.evaluation.corpora.labels import csv_text
from membrane.evaluation.evaluation import Evaluation, Outcome, measures_as_json
from membrane.evaluation.intervals import Estimate
from membrane.evaluation.metrics import MEASURES
from membrane.evaluation.report.wording import MISSING, as_text, percent
from membrane.voice.levels import COUNTED, EXTRAPOLATED, LEVELS, supported
from membrane.voice.ratio import ratio_as_number

HEADS = ("condition", "genuine", "refused", "EER", "FMR", "FNMR")
"""Of `in_short`."""

BEFORE_AND_AFTER = ("fmr", "fnmr", "cllr", "min_cllr", "min_dcf_01", "eer")
"""Measures that a calibration shows."""

IN_SHORT = ("eer", "fmr", "fnmr")
"""Measures of the table of conditions; everything else fits no terminal beside them."""


def counts(outcome: Outcome) -> list[tuple[str, str]]:
    """Return what was measured on, a row each."""
    names = {
        "speakers": "speakers",
        "enrolled": "voiceprints",
        "probes": "probes",
        "refused": "… refused by the quality gate",
        "unreadable": "… unreadable",
        "genuine": "trials of one person",
        "impostor": "trials of two people",
    }
    return [(title, f"{outcome.counts[name]:,}") for name, title in names.items()]


def measured(outcome: Outcome) -> list[tuple[str, str]]:
    """Return every measure of one outcome with its interval, a row each."""
    return [
        (MEASURES[name].title, as_text(name, estimate))
        for name, estimate in outcome.measures.items()
    ]


def in_short(evaluation: Evaluation, *, intervals: bool) -> list[tuple[str, ...]]:
    """Return a row for each condition and group: what was counted, and three rates."""
    return [
        (
            " ".join(part for part in (outcome.condition, outcome.group) if part),
            f"{outcome.counts['genuine']:,}",
            str(outcome.counts["refused"]),
            *(
                as_text(name, estimate if intervals else Estimate(estimate.value))
                if (estimate := outcome.measures.get(name))
                else MISSING
                for name in IN_SHORT
            ),
        )
        for outcome in evaluation.outcomes
    ]


def as_csv(evaluation: Evaluation) -> str:
    """Return a line for each condition, group and measure."""
    heads = ("condition", "group", "measure", "value", "low", "high")
    return csv_text((heads, *_cells(evaluation)))


def _cells(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    for outcome in evaluation.outcomes:
        for name, count in outcome.counts.items():
            yield outcome.condition, outcome.group, name, str(count), "", ""
        for name, estimate in outcome.measures.items():
            numbers = (estimate.value, estimate.low, estimate.high)
            yield outcome.condition, outcome.group, name, *(f"{number:.6g}" for number in numbers)


def choice(calibrated: Calibrated) -> list[tuple[str, str]]:
    """Return the circumstances that were tried, and what each cost, a row each."""
    names = {"speech": "seconds of speech", "snr": "noise", "enrolled": "seconds enrolled"}
    return [
        (
            ", ".join(("similarity", *(names[measure] for measure in measures)))
            + " (chosen)" * (measures == calibrated.choice.measures),
            f"{cost:.4f} bit",
        )
        for measures, cost in calibrated.choice.costs
    ]


def levels(calibrated: Calibrated) -> list[tuple[str, ...]]:
    """Return a row for each security level: its rate, its threshold, and what that rests on."""
    thresholds = calibrated.calibration.thresholds
    least = f"{calibrated.pairs:,} pairs show {percent(supported(calibrated.pairs))} at best"
    rests = {COUNTED: "counted on", EXTRAPOLATED: "extrapolated from"}
    return [
        (
            level,
            percent(found.fmr),
            f"{ratio_as_number(found.llr)} times",
            f"{rests[found.support]} {found.trials:,} trials, {found.pairs:,} pairs",
        )
        if (found := thresholds.get(level))
        else (level, "–", "–", least)
        for level in LEVELS
    ]


def compared(calibrated: Calibrated) -> list[tuple[str, str, str]]:
    """Return the measures before and after, a row each."""
    return [
        (MEASURES[name].title, as_text(name, calibrated.before[name]), as_text(name, estimate))
        for name, estimate in calibrated.after.items()
        if name in BEFORE_AND_AFTER
    ]


def calibrated_as_json(calibrated: Calibrated) -> dict[str, Any]:
    """Return a calibration and what it changes as plain values."""
    return {
        "encoder": calibrated.calibration.encoder,
        "normalisation": calibrated.calibration.normalisation,
        "measures": list(calibrated.choice.measures),
        "costs": [
            {"measures": list(measures), "cllr": cost} for measures, cost in calibrated.choice.costs
        ],
        "pairs": calibrated.pairs,
        "supported_fmr": supported(calibrated.pairs),
        "thresholds": {
            level: vars(threshold) for level, threshold in calibrated.calibration.thresholds.items()
        },
        "reported_on": calibrated.reported_on,
        "before": measures_as_json(calibrated.before),
        "after": measures_as_json(calibrated.after),
    }
