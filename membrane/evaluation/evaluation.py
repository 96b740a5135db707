"""Evaluation: from trials and conditions to error rates with intervals.

Every recording takes the way that a login takes: condition, denoising, quality gate, encoder. What
the gate refuses is counted and not scored, as at a login.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from membrane.errors import UsageError
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.labels import counted
from membrane.evaluation.intervals import Estimate, estimates
from membrane.evaluation.metrics import ScoredTrials
from membrane.evaluation.scoring import Voiceprints, compare, mean_voices, score
from membrane.evaluation.trials import Trials
from membrane.evaluation.voices import Heard, Job
from membrane.voice.encoder import Vector
from membrane.voice.voice import Voice

NAMED = 3
"""Files that a note names at most."""

Listen = Callable[[Sequence[Job]], list[Heard]]
"""Hears jobs, in their order (`voices.hear` with everything else decided)."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The error rates of one condition, of all speakers or of one group of them.

    Parameters
    ----------
    condition : str
        Name of the condition.
    kind : str
        Kind of the condition, as in `Condition`.
    snr_db : float or None
    group : str
        Such as ``"gender=f"``; empty for everybody.
    counts : dict of str to int
        ``speakers``, ``enrolled``, ``probes``, ``genuine``, ``impostor`` (trials), ``refused``
        (probes that the quality gate refused), ``unreadable``.
    measures : dict of str to Estimate
        As `metrics.MEASURES` names them; empty where a kind of trial is missing.
    scored : ScoredTrials
    """

    condition: str
    kind: str
    snr_db: float | None
    group: str
    counts: Mapping[str, int]
    measures: Mapping[str, Estimate]
    scored: ScoredTrials


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that one evaluation found.

    Parameters
    ----------
    outcomes : tuple of Outcome
        The first is of everybody, in the first condition.
    threshold : float
        The score that accepts, in the unit of the scores.
    unit : str
        What the scores are: ``"log-likelihood ratio"`` or ``"similarity"``.
    speakers : tuple of str
        By their index in `ScoredTrials`.
    vectors : np.ndarray, shape (speakers, 256), float32, unit length
        The mean voice of each speaker; not-a-number where none was heard.
    provenance : dict of str to Any
        What was measured on what: folders, files, hashes, versions, settings, command, date.
    notes : tuple of str
        What was left out and why, and what falsifies the figures.
    """

    outcomes: tuple[Outcome, ...]
    threshold: float
    unit: str
    speakers: tuple[str, ...]
    vectors: Vector
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return counts and measures as plain values; not-a-number as None."""
        return {
            "threshold": self.threshold,
            "unit": self.unit,
            "speakers": len(self.speakers),
            "outcomes": [
                {
                    "condition": outcome.condition,
                    "group": outcome.group or None,
                    "counts": dict(outcome.counts),
                    "measures": measures_as_json(outcome.measures),
                }
                for outcome in self.outcomes
            ],
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }


def evaluate(  # noqa: PLR0913 (each is a choice of its own)
    trials: Trials,
    voice: Voice,
    listen: Listen,
    *,
    conditions: Sequence[Condition],
    enrolling: bool = True,
    by: Sequence[str] = (),
    resamples: int = 200,
) -> Evaluation:
    """Hear every recording, score every trial, and measure the errors of each condition.

    Parameters
    ----------
    trials : Trials
    voice : Voice
        Turns vectors into scores, and scores into decisions, as at a login.
    listen : callable
    conditions : sequence of Condition
        What is done to the probes; voiceprints are made of the recordings as they are.
    enrolling : bool
        Hear what is enrolled as `membrane enroll` does; False compares as `compare` does.
    by : sequence of str
        Labels to report each value of apart.
    resamples : int
        Of the speakers, for the intervals.

    Raises
    ------
    UsageError
        If a label does not exist, or nothing was left to compare.
    """
    groups = _groups(trials, by)
    heard = hear_trials(trials, listen, conditions, enrolling=enrolling)
    voiceprints = Voiceprints.of(trials, heard, enrolling=enrolling)
    outcomes = []
    for condition in conditions:
        probes = probes_in(condition, trials, heard)
        scored = score(compare(trials, voiceprints, probes, voice.judge.normalisation), voice)
        for group, chosen in groups.items():
            part = _of_group(scored, chosen, voiceprints)
            both_kinds = part.same.any() and not part.same.all()
            outcomes.append(
                Outcome(
                    condition=condition.name,
                    kind=condition.kind,
                    snr_db=condition.snr_db,
                    group=group,
                    counts=_counts(part, probes, chosen),
                    measures=estimates(part, resamples=resamples) if both_kinds else {},
                    scored=part,
                )
            )
    if not any(len(outcome.scored) for outcome in outcomes):
        reasons = Counter(one.reason for one in heard.values() if one.problem).most_common(1)
        why = reasons[0][0] if reasons else "nobody has both an enrolment and a probe"
        raise UsageError(
            f"no trial could be scored: {len(heard)} recordings, most often because {why}"
        )
    probes = probes_in(conditions[0], trials, heard)
    return Evaluation(
        outcomes=tuple(outcomes),
        threshold=voice.judge.threshold,
        unit=voice.judge.unit,
        speakers=voiceprints.speakers,
        vectors=mean_voices(voiceprints.probe_speakers, probes, len(voiceprints.speakers)),
        notes=(*trials.notes, *_problems(heard)),
    )


def hear_trials(
    trials: Trials, listen: Listen, conditions: Sequence[Condition], *, enrolling: bool
) -> dict[Job, Heard]:
    """Hear what is enrolled as it is, and every probe in every condition, each once."""
    jobs = [Job(one, enrolling=enrolling) for who in trials.enrolled for one in who.recordings]
    jobs += [Job(probe, condition) for condition in conditions for probe in trials.probes]
    jobs = list(dict.fromkeys(jobs))
    return dict(zip(jobs, listen(jobs), strict=True))


def probes_in(condition: Condition, trials: Trials, heard: Mapping[Job, Heard]) -> list[Heard]:
    """Return the probes as they were heard in a condition, in their order."""
    return [heard[Job(probe, condition)] for probe in trials.probes]


def _groups(trials: Trials, by: Sequence[str]) -> dict[str, list[bool]]:
    """Return which probes belong to everybody (``""``) and to each value of each label."""
    labels = [dict(probe.labels) for probe in trials.probes]
    known = sorted({name for one in labels for name in one})
    groups = {"": [True] * len(labels)}
    for name in by:
        if name not in known:
            raise UsageError(
                f"no recording has the label {name!r}: "
                + (f"choose from {', '.join(known)}" if known else "give a file with --labels")
            )
        for value in sorted({one[name] for one in labels if name in one}):
            groups[f"{name}={value}"] = [one.get(name) == value for one in labels]
    return groups


def _of_group(
    scored: ScoredTrials, chosen: Sequence[bool], voiceprints: Voiceprints
) -> ScoredTrials:
    """Return the trials between people of one group: strangers of another are told too easily."""
    inside = np.asarray(chosen, bool)
    if inside.all():
        return scored
    speakers = np.zeros(len(voiceprints.speakers), bool)
    speakers[voiceprints.probe_speakers[inside]] = True
    return scored.where(inside[scored.probes] & speakers[scored.enrolled_speakers])


def _counts(
    scored: ScoredTrials, probes: Sequence[Heard], chosen: Sequence[bool]
) -> dict[str, int]:
    of_group = [one for one, inside in zip(probes, chosen, strict=True) if inside]
    speakers = np.union1d(scored.enrolled_speakers, scored.probe_speakers)
    return {
        "speakers": len(speakers),
        "enrolled": len(np.unique(scored.enrolled)),
        "probes": len(of_group),
        "genuine": int(scored.same.sum()),
        "impostor": int((~scored.same).sum()),
        "refused": sum(one.problem == "refused" for one in of_group),
        "unreadable": sum(one.problem == "unreadable" for one in of_group),
    }


def _problems(heard: Mapping[Job, Heard]) -> list[str]:
    """Return what could not be read, and what of the enrolment was refused, a sentence each."""
    notes = []
    if unreadable := _named(heard, "unreadable"):
        first = "; ".join(list(unreadable.values())[:NAMED])
        notes.append(f"{counted(len(unreadable), 'recording')} could not be read: {first}.")
    enrolment = {job: one for job, one in heard.items() if job.enrolling}
    if refused := _named(enrolment, "refused"):
        notes.append(
            f"{len(refused)} of {len(enrolment)} recordings to enrol from were refused by the "
            f"quality gate: {', '.join(list(refused)[:NAMED])}."
        )
    return notes


def _named(heard: Mapping[Job, Heard], problem: str) -> dict[str, str]:
    return {job.recording.name: one.reason for job, one in heard.items() if one.problem == problem}


def measures_as_json(measures: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return measures as plain values; not-a-number as None."""
    return {
        name: {part: value if isfinite(value) else None for part, value in vars(estimate).items()}
        for name, estimate in measures.items()
    }
