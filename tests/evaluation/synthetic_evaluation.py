"""Evaluations of voices that never were, for the tests of what is made of an evaluation."""

import numpy as np

from membrane.evaluation.evaluation import Evaluation, Outcome
from membrane.evaluation.intervals import Estimate
from membrane.evaluation.metrics import (
    MEASURES,
    ScoredTrials,
    curve_measures,
    decision_measures,
    det_curve,
)

THRESHOLD = 3.0
CONDITIONS = (
    *(("clean", "clean", None, 7.0), ("noise 10 dB", "noise", 10.0, 4.5)),
    *(("noise 0 dB", "noise", 0.0, 2.5), ("babble 10 dB", "babble", 10.0, 4.0)),
    *(("babble 0 dB", "babble", 0.0, 1.5), ("telephone", "codec", None, 4.8)),
)


def outcome(
    condition="clean", kind="clean", snr_db=None, apart=7.0, *, group="", speakers=12, per_pair=4
):
    """Return one outcome; the scores of both kinds are `apart` from each other."""
    generator = np.random.default_rng(int(100 * apart))
    enrolled, probes = np.meshgrid(np.arange(speakers), np.arange(speakers * per_pair))
    enrolled, probes = enrolled.ravel().astype(np.int32), probes.ravel().astype(np.int32)
    same = enrolled == probes // per_pair
    scores = generator.normal(np.where(same, apart - 1, -3.0), np.where(same, 2.2, 1.8))
    accepted = scores >= THRESHOLD
    scored = ScoredTrials(
        scores=scores,
        similarities=0.7 + scores / 40,
        accepted=accepted,
        same=same,
        enrolled=enrolled,
        probes=probes,
        enrolled_speakers=enrolled,
        probe_speakers=(probes // per_pair).astype(np.int32),
    )
    counts = {
        "speakers": speakers,
        "enrolled": speakers,
        "probes": speakers * per_pair,
        "genuine": int(same.sum()),
        "impostor": int((~same).sum()),
        "refused": 3,
        "unreadable": 1,
    }
    return Outcome(condition, kind, snr_db, group, counts, _measures(scored), scored)


def _measures(scored):
    values = curve_measures(det_curve(scored.scores, scored.same))
    values |= decision_measures(scored.accepted, scored.same)
    return {key: _estimate(values.get(key, float("nan"))) for key in MEASURES}


def _estimate(value):
    return Estimate(value, 0.7 * value, min(1.4 * value, 1.0) if value <= 1 else 1.4 * value)


def evaluation(*, outcomes=None, names=None, speakers=12, **others):
    """Return an evaluation in six conditions, unless other outcomes are given."""
    if outcomes is None:
        outcomes = tuple(outcome(*one, speakers=speakers) for one in CONDITIONS)
    generator = np.random.default_rng(4)
    families = generator.normal(size=(4, 256))[generator.integers(0, 4, speakers)]
    vectors = np.abs(families + 0.8 * generator.normal(size=(speakers, 256)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Evaluation(
        outcomes=outcomes,
        threshold=THRESHOLD,
        unit="log-likelihood ratio",
        speakers=tuple(names or (f"speaker {number}" for number in range(speakers))),
        vectors=vectors.astype(np.float32),
        **others,
    )
