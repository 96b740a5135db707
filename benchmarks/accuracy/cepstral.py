"""Verifiers without a network: Gaussian mixtures of cepstral coefficients, and their mean."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.accuracy.mfcc import mfcc
from benchmarks.accuracy.systems import Floats, Task, cosines
from membrane.audio.utterance import Samples

SOURCES = (
    "benchmarks/accuracy/cepstral.py",
    "benchmarks/accuracy/mfcc.py",
    "membrane/voice/frontends/mels.py",
)
"""The files that decide the scores."""

COMPONENTS = 5
"""Gaussians of a mixture, each with a full covariance, as in the REST demo."""

VARIANCE_ADDED = 0.1
"""To every coefficient, so that a few seconds are enough for full covariances; chosen on speakers
of speechocean762 that are not held back."""


def mixture_of(sounds: list[Samples]) -> Any:
    """Return a mixture of the cepstral coefficients of some recordings.

    Reynolds and Rose, "Robust text-independent speaker identification using Gaussian mixture
    speaker models", IEEE Trans. Speech and Audio Processing 3 (1995).
    """
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        COMPONENTS, covariance_type="full", reg_covar=VARIANCE_ADDED, random_state=0
    )
    return model.fit(np.concatenate([mfcc(sound) for sound in sounds]))


class Mixtures:
    """Mean log-likelihood of a probe in the mixture of the claimed speaker.

    Parameters
    ----------
    background : bool
        Subtract the log-likelihood in a mixture of other speakers, who are not held back.
    """

    sources = SOURCES

    def __init__(self, *, background: bool) -> None:
        self.background = background
        self.name = "MFCC mixtures, background" if background else "MFCC mixtures"

    @property
    def problem(self) -> str:
        """Why it cannot run here; empty if it can."""
        return "" if find_spec("sklearn") else "needs scikit-learn: make check installs it"

    def scores(self, task: Task) -> Floats:
        """Score every enrolled speaker against every probe."""
        models = [mixture_of(sounds) for sounds in task.corpus.enrolments]
        probes = [mfcc(probe) for probe in task.probes]
        likely: Floats = np.array([[model.score(probe) for probe in probes] for model in models])
        if not self.background:
            return likely
        background = mixture_of(task.corpus.background_sounds)
        ratios: Floats = likely - [background.score(probe) for probe in probes]
        return ratios


class MeanCepstra:
    """Cosine of mean cepstral coefficients: the floor."""

    name = "mean MFCC"
    problem = ""
    sources = SOURCES

    def scores(self, task: Task) -> Floats:
        """Score every enrolled speaker against every probe."""
        voiceprints = [
            np.concatenate([mfcc(sound) for sound in sounds]).mean(axis=0)
            for sounds in task.corpus.enrolments
        ]
        return cosines(voiceprints, np.stack([mfcc(probe).mean(axis=0) for probe in task.probes]))
