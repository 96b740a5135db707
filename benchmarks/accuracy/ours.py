"""Membrane itself: every sound takes the way of `membrane evaluate`, but nothing is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.systems import Floats, Task
from membrane import __version__
from membrane.audio.quality import find_problem
from membrane.errors import MembraneError
from membrane.evaluation.scoring import Voiceprints, compare, score
from membrane.evaluation.voices import Heard, Job, VoiceCache, hear
from membrane.login.voices import Voices
from membrane.models.registry import path_of
from membrane.settings import Settings
from membrane.voice.judge import Judge


class Ours:
    """What a login holds against its threshold: denoised where need be, normalised, calibrated.

    Short and noisy probes, which a login refuses to judge, are judged here, because every other
    system judges them.

    Parameters
    ----------
    folder : Path
        Where voices are kept.
    encoder : str
        One of `membrane.voice.encoder.ENCODERS`.
    """

    sources = ("membrane/**/*.py", "weights/*")

    def __init__(self, folder: Path, encoder: str) -> None:
        self.folder = folder
        self.settings = Settings(encoder=encoder)

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"Membrane ({self.settings.encoder})"

    @property
    def problem(self) -> str:
        """Why it cannot run here; empty if it can: with a model, a calibration and a cohort."""
        try:
            path_of(self.settings.encoder)
            _ = self.about
        except MembraneError as error:
            return str(error)
        return ""

    @property
    def about(self) -> str:
        """What was measured, in one line."""
        encoder = self.settings.encoder
        normalisation = Judge(encoder).normalisation.name
        return f"Membrane {__version__}: encoder {encoder}, normalisation {normalisation}."

    def scores(self, task: Task) -> Floats:
        """Score every enrolled speaker against every probe."""
        trials = task.corpus.trials
        enrolment = [Job(one, enrolling=True) for who in trials.enrolled for one in who.recordings]
        heard = dict(zip(enrolment, self.hear(enrolment), strict=True))
        voiceprints = Voiceprints.of(trials, heard, enrolling=True)
        voice = replace(Voices(self.settings).own, judge=Judge(self.settings.encoder))
        normalisation = voice.judge.normalisation
        compared = compare(trials, voiceprints, self.hear(probes_of(task)), normalisation)
        scores = np.full((len(trials.enrolled), len(trials.probes)), np.nan)
        scores[compared.enrolled, compared.probes] = score(compared, voice).scores
        return scores

    def refused(self, task: Task) -> int:
        """Return how many of the probes the quality gate of a login would refuse."""
        heard = self.hear(probes_of(task))
        return sum(one.quality is None or bool(find_problem(one.quality)) for one in heard)

    def hear(self, jobs: Sequence[Job]) -> list[Heard]:
        """Return the voice of each recording, whatever its quality."""
        cache = VoiceCache(self.folder)
        return hear(jobs, self.settings, cache=cache, workers=1, gate=False)


def probes_of(task: Task) -> list[Job]:
    """Return the probes of a task, as `hear` takes them."""
    return [Job(probe, task.condition) for probe in task.corpus.trials.probes]
