"""Evidence: what can be said of one utterance before anything is decided."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from membrane.audio.fingerprint import Fingerprint, fingerprint_of
from membrane.audio.preparation import Prepared, at_voice_level, prepare
from membrane.audio.quality import require
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.errors import PoorQuality, UsageError
from membrane.phrase.matching import normalise
from membrane.phrase.recognizer import PhraseMatch, Recognizer, load_recognizer
from membrane.settings import Settings, calibration_file, load_settings
from membrane.voice.encoder import Embedding, Encoder, load_encoder
from membrane.voice.judge import Judge
from membrane.voice.scoring import metric_named

LEAST_PASSPHRASE_WORDS = 3
"""Fewer words are too short to judge a voice by, and too easily guessed."""

MOST_PASSPHRASE_WORDS = 20
"""More take longer to say than a recording lasts."""

HISS = 1e-3
"""Root mean square of the noise that engines are tried out with."""


@dataclass(frozen=True, eq=False)
class Examined:
    """An utterance whose quality, words and voice have been looked at; nothing is decided yet.

    Parameters
    ----------
    utterance : Utterance
    prepared : Prepared
    words : PhraseMatch or None
        None where nothing was expected.
    embedding : Embedding
    timings : dict of str to float, seconds
    enrolling : bool
        Whether the voice is to be stored, see `Examiner.examine`.
    """

    utterance: Utterance
    prepared: Prepared
    words: PhraseMatch | None
    embedding: Embedding
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


class Examiner:
    """Looks at utterances with the chosen engines, which are loaded when they are needed.

    Parameters
    ----------
    settings : Settings, optional
        By default those of the settings file and the environment.
    processes : int
        Processes that check words; 0 checks them in this one.
    """

    def __init__(self, settings: Settings | None = None, *, processes: int = 0) -> None:
        self.settings = settings or load_settings()
        self.processes = processes
        self._others: dict[str, Encoder] = {}

    @cached_property
    def encoder(self) -> Encoder:
        """Utterance to d-vector."""
        return self._loaded(self.settings.encoder)

    def _loaded(self, encoder: str) -> Encoder:
        return load_encoder(encoder)

    @cached_property
    def recognizer(self) -> Recognizer:
        """Utterance to words."""
        files = {"model": self.settings.model, "scorer": self.settings.scorer}
        given = {name: path for name, path in files.items() if path is not None}
        return load_recognizer(self.settings.recognizer, processes=self.processes, **given)

    @cached_property
    def judge(self) -> Judge:
        """Similarity to score to decision, as the settings want it."""
        threshold = self.settings.threshold
        return Judge(
            encoder=self.encoder.name,
            level=self.settings.security,
            cosine=None
            if threshold is None
            else metric_named(self.settings.metric).to_similarity(threshold),
            normalise=self.settings.normalise,
            calibration_file=calibration_file(),
        )

    def preload(self) -> None:
        """Load and try out every engine now, so that a later decision follows at once.

        Raises
        ------
        Unavailable
            If one of them is missing.
        """
        hiss = np.random.default_rng(0).normal(0, HISS, SAMPLE_RATE).astype(np.float32)
        self.recognizer.match(hiss, "zero")
        with suppress(PoorQuality):
            self.encoder.embed(hiss)

    def examine(
        self,
        utterance: Utterance,
        *,
        expected: str = "",
        enrolling: bool = False,
        gate: bool = True,
    ) -> Examined:
        """Judge the quality of an utterance, then its words, then its voice.

        Parameters
        ----------
        utterance : Utterance
        expected : str
            The phrase asked for; empty leaves the words unchecked.
        enrolling : bool
            Take the voice both as it was heard and denoised, so that the voiceprint is like later
            probes of either kind.
        gate : bool
            Refuse what is too poor to be judged; False is for evaluation, never for a login.

        Raises
        ------
        PoorQuality
            If it holds too little clear speech to be judged; without the gate, if none at all.
        Unavailable
            If an engine or a model is missing.
        """
        started = perf_counter()
        prepared = self._prepare(utterance, gate=gate).for_encoder(self.encoder.denoise_below_db)
        voices = _voices_in(prepared, enrolling=enrolling)
        heard = perf_counter()
        words = None
        if expected:
            words = self.recognizer.match(prepared.samples, expected, strict=self.settings.strict)
        worded = perf_counter()
        embedding = _embedded(self.encoder, voices)
        timings = {
            "sound": heard - started,
            "words": worded - heard,
            "voice": perf_counter() - worded,
        }
        return Examined(utterance, prepared, words, embedding, timings, enrolling)

    def voice_of(self, examined: Examined, encoder: str) -> Embedding:
        """Return the voice of an utterance by another encoder, for a voiceprint that it made.

        Parameters
        ----------
        examined : Examined
            By this examiner.
        encoder : str
            One of `membrane.voice.encoder.ENCODERS`.

        Raises
        ------
        PoorQuality
            If that encoder finds no voice in it.
        UsageError
            If there is no such encoder.
        Unavailable
            If it cannot run here.
        """
        if encoder == self.encoder.name:
            return examined.embedding
        other = self._others.get(encoder) or self._loaded(encoder)
        self._others[encoder] = other
        prepared = examined.prepared.for_encoder(other.denoise_below_db)
        return _embedded(other, _voices_in(prepared, enrolling=examined.enrolling))

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words that the recognizer hears.

        Raises
        ------
        PoorQuality
            If there is too little clear speech in it.
        Unavailable
            If an engine or a model is missing.
        """
        return self.recognizer.transcribe(self._prepare(utterance).samples)

    def _prepare(self, utterance: Utterance, *, gate: bool = True) -> Prepared:
        prepared = prepare(utterance, denoising=self.settings.denoise)
        if gate:
            require(prepared.quality, source=utterance.source)
        return prepared

    def check_passphrase(self, phrase: str) -> str:
        """Return a personal passphrase as it is stored.

        Raises
        ------
        UsageError
            If it is too short, too long, or has a word that the recognizer does not know.
        """
        passphrase = normalise(phrase)
        if not LEAST_PASSPHRASE_WORDS <= len(passphrase.split()) <= MOST_PASSPHRASE_WORDS:
            raise UsageError(
                f"a passphrase has {LEAST_PASSPHRASE_WORDS} to {MOST_PASSPHRASE_WORDS} words: "
                "choose a sentence of your own"
            )
        unknown = self.recognizer.unknown_words(passphrase)
        if unknown:
            raise UsageError(
                f"the recognizer does not know {', '.join(unknown)}: choose other words"
            )
        return passphrase


def _voices_in(prepared: Prepared, *, enrolling: bool) -> list[Samples]:
    return prepared.kinds_of_voice() if enrolling else [prepared.voice]


def _embedded(encoder: Encoder, voices: list[Samples]) -> Embedding:
    """Return the voice of an utterance; of two kinds of it, half and half.

    A denoised probe differs from a voiceprint of sounds that were not: in pink noise at 20 dB the
    equal error rate is 6.8 %, with both in the voiceprint 6.3 %
    (``benchmarks/denoising.py --part choose``).
    """
    found = [encoder.embed(at_voice_level(voice)) for voice in voices]
    if len(found) == 1:
        return found[0]
    partials = np.concatenate([one.partials for one in found])
    mean = partials.mean(axis=0)
    return Embedding(vector=mean / np.linalg.norm(mean), partials=partials)
