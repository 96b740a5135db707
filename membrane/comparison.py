"""Comparing a probe with voiceprints, each by the encoder that made it.

Conventions
-----------
Voiceprints of several encoders may lie side by side. Each is judged with the encoder that made it,
its calibration and its thresholds, by a `Comparer` of that encoder (`Comparer.by`). Vectors of two
encoders are never compared; what joins them are the scores, which are log-likelihood ratios.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Self

import numpy as np

from membrane import models
from membrane.decision import VoiceMatch
from membrane.errors import EncoderMismatch, Unavailable, UsageError
from membrane.evidence import Examined, Examiner
from membrane.explanation import Compared
from membrane.settings import Settings
from membrane.store.gallery import Gallery, Rows
from membrane.store.voiceprint import Voiceprint
from membrane.voice.calibration import Circumstances
from membrane.voice.encoder import Vector
from membrane.voice.judge import RATIO
from membrane.voice.scoring import metric_named, similarities, similarity, top

INCOMPARABLE = np.float32(-2)
"""Stands for the similarity of voiceprints that are not looked at: below every cosine."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """Somebody enrolled who was compared with a probe.

    Parameters
    ----------
    who : Voiceprint
    examined : Examined
        The probe, by the encoder that made their voiceprint.
    match : VoiceMatch
    """

    who: Voiceprint
    examined: Examined
    match: VoiceMatch

    @property
    def worth(self) -> float:
        """The score, or the similarity where a threshold of one's own decides."""
        return self.match.similarity if self.match.score is None else self.match.score


class Comparer(Examiner):
    """Compares what it examined with voiceprints.

    Parameters
    ----------
    settings, processes
        As of `Examiner`.
    """

    def __init__(self, settings: Settings | None = None, *, processes: int = 0) -> None:
        super().__init__(settings, processes=processes)
        self._by_encoder: dict[str, Self] = {}

    def by(self, encoder: str, *, whose: str) -> Self:
        """Return who judges voiceprints of an encoder: this one, or one like it.

        Parameters
        ----------
        encoder : str
        whose : str
            Name of somebody who was enrolled with it.

        Raises
        ------
        EncoderMismatch
            If that encoder cannot run here.
        """
        self._by_encoder.setdefault(self.encoder.name, self)
        if encoder not in self._by_encoder:
            try:
                self._by_encoder[encoder] = self._with(encoder)
            except (Unavailable, UsageError) as error:
                raise EncoderMismatch(_migration(whose, encoder, error)) from None
        return self._by_encoder[encoder]

    def _with(self, encoder: str) -> Self:
        """Return a copy of another encoder that shares everything else."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.settings = replace(self.settings, encoder=encoder)
        for made_for_this_one in ("encoder", "judge"):
            vars(other).pop(made_for_this_one, None)
        self._others[encoder] = other.encoder  # its network is loaded once
        models.path_of(encoder)
        return other

    def _native(self, gallery: Gallery) -> Self:
        """Return who examines a probe: of an encoder that made somebody's voiceprint."""
        made = gallery.by_encoder()
        if not made or self.encoder.name in made:
            return self
        encoder, rows = next(iter(made.items()))
        return self.by(encoder, whose=gallery.name(int(rows.argmax())))

    def _heard_by(self, encoder: str, examined: Examined) -> Examined:
        """Return the evidence as another encoder has it."""
        if encoder == self.encoder.name:
            return examined
        started = perf_counter()
        embedding = self.voice_of(examined, encoder)
        timings = dict(examined.timings)
        timings["voice"] += perf_counter() - started
        return replace(
            examined,
            prepared=examined.prepared.for_encoder(self._others[encoder].denoise_below_db),
            embedding=embedding,
            timings=timings,
        )

    def _most_alike(
        self, gallery: Gallery, among: Mapping[str, Rows], examined: Examined, count: int
    ) -> list[Likeness]:
        """Return whom a probe is most like, each by the encoder that made their voiceprint.

        People of one encoder are in the order of their normalised similarity; those of several
        have only the scores in common.
        """
        found: list[Likeness] = []
        for encoder, people in among.items():
            judging = self.by(encoder, whose=gallery.name(int(people.argmax())))
            heard = self._heard_by(encoder, examined)
            found += judging._likenesses(gallery, people, heard, count)
        if len(among) > 1:
            found.sort(key=lambda one: one.worth, reverse=True)
        return found[:count]

    def _likenesses(
        self, gallery: Gallery, people: Rows, examined: Examined, count: int
    ) -> list[Likeness]:
        # Reading a voiceprint checks the row that the decision rests on.
        best = self._top(gallery, people, examined.embedding.vector, count)
        voiceprints = [gallery.voiceprint(row) for row in best]
        return [
            Likeness(who, examined, self._voice_match(Compared.of(who), examined))
            for who in voiceprints
        ]

    def _top(self, gallery: Gallery, people: Rows, probe: Vector, count: int) -> list[int]:
        """Return the rows of those of some people who are most alike."""
        alike = self.judge.ranking.similarities(gallery.matrix, probe)
        alike = np.where(people, alike, INCOMPARABLE)
        return [int(row) for row in top(alike, count) if people[row]]

    def _score(
        self, vector: Vector, probe: Vector, circumstances: Circumstances
    ) -> tuple[float, float]:
        """Return how alike a voiceprint and a probe are, and what that is worth."""
        alike = similarity(vector, probe)
        normalised = self.judge.normalisation.similarities(vector[np.newaxis], probe)
        scores = self.judge.scores(np.array([alike]), normalised.astype(np.float64), circumstances)
        return alike, float(scores[0])

    def _voice_match(self, compared: Compared, examined: Examined) -> VoiceMatch:
        """Compare a voiceprint with a whole probe, and with every stretch of it.

        Otherwise somebody could say the words and play any recording of the person after them.
        """
        metric = metric_named(self.settings.metric)
        embedding, quality = examined.embedding, examined.prepared.quality
        circumstances = Circumstances(quality.speech_s, quality.snr_db, compared.speech_s)
        alike, score = self._score(compared.vector, embedding.vector, circumstances)
        stretch = float(similarities(embedding.partials, compared.vector).min())
        calibrated = self.judge.unit == RATIO
        threshold = self.judge.threshold
        return VoiceMatch(
            metric=metric.name,
            similarity=alike,
            value=metric.from_similarity(alike),
            threshold=None if calibrated else metric.from_similarity(threshold),
            score=score if calibrated else None,
            score_threshold=threshold if calibrated else None,
            stretch=stretch,
            stretch_threshold=self.judge.stretch_threshold,
            accepted=bool(self.judge.accepts(np.array(score), np.array(stretch))),
        )


def _migration(whose: str, encoder: str, error: Exception) -> str:
    """Return how to get on where a voiceprint's encoder cannot run."""
    why = str(error).partition(": ")[0]
    command = f"membrane enroll -u {shlex.quote(whose)} --reencode -f RECORDING"
    return (
        f"{whose} was enrolled with the encoder {encoder}, which cannot run here ({why}): use "
        f"`{command}` where both encoders can, or enrol again with --replace"
    )
