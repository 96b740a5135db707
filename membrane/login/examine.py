"""Evidence: what can be said of one utterance before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from membrane.audio.fingerprint import Fingerprint, fingerprint_of
from membrane.audio.preparation import Denoising, Prepared, at_voice_level, prepare
from membrane.audio.quality import Quality, require
from membrane.audio.utterance import Recorded, Samples, Utterance
from membrane.phrase.recognizer import PhraseMatch
from membrane.phrase.words import Words
from membrane.store.voiceprint import EnrolledUtterance, RecordedQuality, utc_now
from membrane.voice.calibration import Circumstances
from membrane.voice.encoder import Embedding
from membrane.voice.voice import Voice


@dataclass(frozen=True, eq=False)
class Examined:
    """An utterance whose quality, words and voice have been looked at; nothing is decided yet.

    Parameters
    ----------
    words : PhraseMatch or None
        None where nothing was expected.
    encoder : str
        Which one made it.
    timings : dict of str to float, seconds
        What each step took.
    enrolling : bool
        Whether the voice is to be stored, see `Membrane.examine`.
    """

    utterance: Utterance
    prepared: Prepared
    words: PhraseMatch | None
    embedding: Embedding
    encoder: str
    timings: dict[str, float]
    enrolling: bool = False

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """By which this very recording is known again."""
        return fingerprint_of(self.utterance.samples)

    @property
    def denoised_for(self) -> tuple[str, ...]:
        """What was taken from the sound without its noise: ``words``, ``voice``, both, neither."""
        found = {
            "words": self.words is not None and self.prepared.words_denoised,
            "voice": self.prepared.voice_denoised,
        }
        return tuple(name for name, denoised in found.items() if denoised)

    def by(self, voice: Voice) -> Examined:
        """Return the same evidence as the encoder of another voice hears it.

        Raises
        ------
        PoorQuality
            If that encoder finds no voice in it.
        Unavailable
            If it cannot run here.
        """
        if voice.name == self.encoder:
            return self
        started = perf_counter()
        prepared = self.prepared.for_encoder(voice.encoder.denoise_below_db)
        sounds = _sounds(voice, self.utterance, prepared, enrolling=self.enrolling)
        embedding = voice.embed(sounds)
        timings = dict(self.timings)
        timings["voice"] += perf_counter() - started
        return replace(
            self, prepared=prepared, embedding=embedding, encoder=voice.name, timings=timings
        )

    def circumstances(self, enrolled_speech_s: float) -> Circumstances:
        """Return what the score of a comparison with so much enrolled speech depends on."""
        quality = self.prepared.quality
        return Circumstances(quality.speech_s, quality.snr_db, enrolled_speech_s)

    def enrolled(self) -> EnrolledUtterance:
        """Return what is stored of it."""
        return enrolled_utterance(
            self.embedding,
            self.prepared.quality,
            source_rate=self.utterance.source_rate,
            device=self.utterance.device,
            source=self.utterance.source,
            fingerprint=self.fingerprint.to_bytes(),
        )

    def without_secret(self) -> Examined:
        """Return it without a passphrase, which whoever failed to say it must not learn."""
        words = self.words and replace(self.words, expected="", heard="")
        return replace(self, words=words)


@dataclass(frozen=True, eq=False)
class Examiner:
    """Looks at utterances, and decides nothing.

    Parameters
    ----------
    denoising : {"auto", "always", "never"}
        When to remove noise.
    words : Words or None
        None where no words are ever expected.
    """

    voice: Voice
    denoising: Denoising = "auto"
    words: Words | None = None

    def examine(
        self,
        utterance: Utterance,
        *,
        expected: str = "",
        enrolling: bool = False,
        gate: bool = True,
    ) -> Examined:
        """Judge the quality of an utterance, then its words, then its voice.

        Parameters, errors and what is returned are those of `Membrane.examine`.
        """
        started = perf_counter()
        prepared = prepared_for_judging(utterance, self.denoising, gate=gate)
        prepared = prepared.for_encoder(self.voice.encoder.denoise_below_db)
        sounds = _sounds(self.voice, utterance, prepared, enrolling=enrolling)
        heard = perf_counter()
        match = self.words.check(prepared.samples, expected) if self.words and expected else None
        worded = perf_counter()
        embedding = self.voice.embed(sounds)
        timings = {
            "sound": heard - started,
            "words": worded - heard,
            "voice": perf_counter() - worded,
        }
        name = self.voice.name
        return Examined(utterance, prepared, match, embedding, name, timings, enrolling)


def enrolled_utterance(embedding: Embedding, quality: Quality, **origin: Any) -> EnrolledUtterance:
    """Return what an enrolment counts of an utterance.

    Parameters
    ----------
    **origin
        Where the recording comes from, as `EnrolledUtterance` takes it.
    """
    return EnrolledUtterance(
        vector=embedding.vector,
        norm=float(np.linalg.norm(embedding.partials.mean(axis=0))),
        partials=len(embedding.partials),
        recorded_at=utc_now(),
        quality=RecordedQuality(**asdict(quality)),
        **origin,
    )


def prepared_for_judging(
    utterance: Utterance, denoising: Denoising, *, gate: bool = True
) -> Prepared:
    """Return an utterance ready to be judged.

    Raises
    ------
    PoorQuality
        If it holds too little clear speech, and there is a gate.
    """
    prepared = prepare(utterance, denoising=denoising)
    if gate:
        require(prepared.quality, source=utterance.source)
    return prepared


def _sounds(
    voice: Voice, utterance: Utterance, prepared: Prepared, *, enrolling: bool
) -> Sequence[Samples | Recorded]:
    """Return what an encoder hears of an utterance."""
    if voice.encoder.hears_recorded:
        return [utterance.recorded()]
    kinds = prepared.kinds_of_voice() if enrolling else [prepared.voice]
    return [at_voice_level(kind) for kind in kinds]
