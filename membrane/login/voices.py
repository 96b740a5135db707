"""The voices that logins are judged by, one for each encoder."""

from __future__ import annotations

import shlex

from membrane.errors import EncoderMismatch, Unavailable, UsageError
from membrane.login.claim import Claim
from membrane.models import registry as models
from membrane.phrase.words import Words
from membrane.settings import Settings, calibration_file
from membrane.store.gallery import Gallery
from membrane.voice.encoder import load_encoder
from membrane.voice.judge import Judge
from membrane.voice.projection import Projected, Projection
from membrane.voice.scoring import metric_named
from membrane.voice.voice import Voice


class Voices:
    """One `Voice` for each encoder, made when it is first asked for.

    Voiceprints of several encoders may lie side by side. Each is compared by the voice of the
    encoder that made it, with its calibration and its thresholds. Vectors of two encoders are never
    compared; what joins them are the scores, which are log-likelihood ratios.

    Parameters
    ----------
    projection : Projection, optional
        Into the space that the voiceprints of a protected database are in.
    """

    def __init__(self, settings: Settings, projection: Projection | None = None) -> None:
        self._settings = settings
        self.projection = projection
        self._made: dict[str, Voice] = {}

    @property
    def own(self) -> Voice:
        """The voice of the encoder that the settings name."""
        return self._of(self._settings.encoder)

    def of(self, encoder: str, *, whose: str) -> Voice:
        """Return the voice of an encoder.

        Parameters
        ----------
        whose : str
            Name of somebody who was enrolled with it.

        Raises
        ------
        EncoderMismatch
            If that encoder cannot run here.
        UsageError
            If there is no encoder of the name in the settings.
        """
        own = self.own  # a name in the settings that no encoder has is refused for everybody
        if encoder == own.name:
            return own
        try:
            models.path_of(encoder)
            return self._of(encoder)
        except (Unavailable, UsageError) as error:
            raise EncoderMismatch(_migration(whose, encoder, error)) from None

    def of_claim(self, claim: Claim) -> Voice:
        """Return the voice that judges a login; raises as `of` does."""
        return self.of(claim.encoder, whose=claim.name) if claim.encoder else self.own

    def native(self, gallery: Gallery) -> Voice:
        """Return the voice that hears a probe first: of an encoder that made a voiceprint."""
        made = gallery.by_encoder()
        if not made or self._settings.encoder in made:
            return self.own
        encoder, rows = next(iter(made.items()))
        return self.of(encoder, whose=gallery.name(int(rows.argmax())))

    def _of(self, encoder: str) -> Voice:
        made = self._made.get(encoder)
        return made or self._made.setdefault(encoder, self._make(encoder))

    def _make(self, encoder: str) -> Voice:
        settings, metric = self._settings, metric_named(self._settings.metric)
        plain = load_encoder(encoder)
        judge = Judge(
            encoder=plain.name,
            level=settings.security,
            cosine=None if settings.threshold is None else metric.to_similarity(settings.threshold),
            normalise=settings.normalise,
            calibration_file=calibration_file(),
            projection=self.projection,
        )
        return Voice(Projected(plain, self.projection) if self.projection else plain, judge, metric)


def words_of(settings: Settings, *, processes: int = 0) -> Words:
    """Return what checks words, as the settings want it.

    Parameters
    ----------
    processes : int
        Processes that check words; 0 checks them in this one.
    """
    files = {"model": settings.model, "scorer": settings.scorer}
    return Words(
        settings.recognizer,
        strict=settings.strict,
        processes=processes,
        files={name: path for name, path in files.items() if path is not None},
    )


def _migration(whose: str, encoder: str, error: Exception) -> str:
    """Return how to get on where a voiceprint's encoder cannot run."""
    why = str(error).partition(": ")[0]
    command = f"membrane enroll -u {shlex.quote(whose)} --reencode -f RECORDING"
    return (
        f"{whose} was enrolled with the encoder {encoder}, which cannot run here ({why}): use "
        f"`{command}` where both encoders can, or enrol again with --replace"
    )
