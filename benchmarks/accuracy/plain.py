"""An encoder by itself: the cosine of voiceprint and probe, no gate, nothing normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy.systems import Corpus, Floats
from membrane.audio.preparation import Denoising
from membrane.evaluation.conditions import Condition
from membrane.evaluation.scoring import Voiceprints, compare
from membrane.evaluation.voices import Heard, Job, VoiceCache, hear
from membrane.settings import Settings
from membrane.voice.normalisation import normalisation_named


@dataclass(frozen=True)
class Plain:
    """An encoder, and whether noise is taken out of what it hears.

    Parameters
    ----------
    encoder : str
        One of `membrane.voice.encoder.ENCODERS`.
    denoise : {"auto", "always", "never"}
    """

    encoder: str
    denoise: Denoising

    def similarities(
        self,
        corpus: Corpus,
        conditions: Sequence[Condition],
        *,
        cache: Path,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Floats]:
        """Return the cosine of every enrolled speaker and every probe, in each condition.

        Returns
        -------
        list of np.ndarray, shape (enrolled, probes)
            Not-a-number where there is no voice.
        """
        trials = corpus.trials
        enrolment = [Job(one, enrolling=True) for who in trials.enrolled for one in who.recordings]
        probes = [Job(one, condition) for condition in conditions for one in trials.probes]
        heard = hear(
            [*enrolment, *probes],
            Settings(encoder=self.encoder, denoise=self.denoise),
            cache=VoiceCache(cache),
            workers=workers,
            progress=progress,
            gate=False,
        )
        enrolled = dict(zip(enrolment, heard, strict=False))
        rest = heard[len(enrolment) :]
        count = len(trials.probes)
        return [
            cosines(corpus, enrolled, rest[at : at + count]) for at in range(0, len(rest), count)
        ]


def cosines(corpus: Corpus, enrolled: dict[Job, Heard], probes: Sequence[Heard]) -> Floats:
    """Return the cosine of every enrolled speaker and every probe; not-a-number without a voice."""
    trials = corpus.trials
    voiceprints = Voiceprints.of(trials, enrolled, enrolling=True)
    compared = compare(trials, voiceprints, probes, normalisation_named("none", ""))
    found = np.full((len(trials.enrolled), len(trials.probes)), np.nan)
    found[compared.enrolled, compared.probes] = compared.alike.similarities
    return found
