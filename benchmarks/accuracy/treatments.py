"""Sounds in noise, denoised in several ways, and what recognizer and encoder make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.accuracy.corpora import BABBLERS, HELD_BACK, SPEECH, found
from benchmarks.accuracy.systems import seed_of
from membrane.audio.denoise import reduce_noise
from membrane.audio.preparation import Sound, at_voice_level, prepare
from membrane.audio.utterance import Samples
from membrane.errors import PoorQuality
from membrane.evaluation.asked import RIGHT, Asked
from membrane.evaluation.conditions import CLEAN, MADE, Condition
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.trials import Enrolled
from membrane.phrase.recognizer import Recognizer, load_recognizer
from membrane.settings import Settings
from membrane.voice.encoder import Embedding, Encoder, Vector, load_encoder

HEARD, DENOISED, FIRST_QUARTER = "as heard", "denoised", "first quarter"
"""Treatments."""

BOTH = "both kinds"
"""A voiceprint half of which is denoised."""

CHANGED = "changed"
"""The kind of claim in which one word is another."""

NOISES = (*MADE, "noise", "babble")


def denoised(sound: Sound) -> Samples:
    """Return the speech without the noise; as it was heard where there is no noise profile."""
    return sound.denoised if len(sound.room) else sound.heard


def by_first_quarter(sound: Sound) -> Samples:
    """Return the speech with the noise profile of the original: the first quarter of the probe."""
    quarter = sound.samples[: len(sound.samples) // 4]
    return reduce_noise(sound.samples, quarter)[sound.spoken]


TREATMENTS: dict[str, Callable[[Sound], Samples]] = {
    HEARD: lambda sound: sound.heard,
    DENOISED: denoised,
    FIRST_QUARTER: by_first_quarter,
}


def conditions_of(part: str, kinds: Sequence[str], snrs: Sequence[float]) -> list[Condition]:
    """Return the recordings as they are, then each kind of noise at each ratio."""
    sources = {
        **{kind: ((), kind) for kind in MADE},
        "noise": (noises(part), ""),
        "babble": (babblers(part), ""),
    }
    return [
        CLEAN,
        *(
            Condition(
                *(f"{kind} {snr_db:g} dB", "babble" if kind == "babble" else "noise"),
                *sources[kind],
                snr_db=snr_db,
            )
            for kind in kinds
            for snr_db in snrs
        ),
    ]


def noises(part: str) -> tuple[Path, ...]:
    """Return the files of the noises of a part."""
    held_back = {SPEECH / line for line in HELD_BACK.read_text(encoding="utf-8").split()}
    files = sorted((SPEECH / "noise").glob("*.flac"))
    return tuple(file for file in files if (file in held_back) == (part == "report"))


def babblers(part: str) -> tuple[Path, ...]:
    """Return recordings of people who are not judged."""
    files = [one.files[0] for one in found("librispeech-single", held_back=part == "report")]
    return tuple(files[-BABBLERS:])


def sound_of(recording: Recording, condition: Condition) -> tuple[Sound, float]:
    """Return what is heard of a recording, and the signal-to-noise ratio that is measured."""
    changed = condition.apply(recording.read(), seed=seed_of(recording), avoid=recording.files)
    prepared = prepare(changed)
    return prepared.sound, prepared.quality.snr_db


@dataclass(frozen=True)
class Worded:
    """What the recognizer decided about one string of digits.

    Parameters
    ----------
    condition : str
    snr_db : float, dB
        Measured.
    wrong : dict of (str, str) to bool
        By treatment and kind of claim.
    """

    condition: str
    snr_db: float
    wrong: dict[tuple[str, str], bool]


@cache
def recognizer() -> Recognizer:
    """Return this process's recognizer."""
    return load_recognizer(Settings().recognizer)


def judge_words(said: Said, claims: tuple[Asked, ...], condition: Condition) -> Worded:
    """Let the recognizer judge what was said, and what was not, as heard and denoised."""
    sound, snr_db = sound_of(said.recording, condition)
    wrong = {}
    for treatment in (HEARD, DENOISED):
        samples = TREATMENTS[treatment](sound)
        for claim in claims:
            accepted = recognizer().match(samples, claim.words).accepted
            wrong[treatment, claim.kind] = bool(accepted) != (claim.kind == RIGHT)
    return Worded(condition.name, snr_db, wrong)


@dataclass(frozen=True, eq=False)
class Voiced:
    """The voice of one probe.

    Parameters
    ----------
    condition : str
    place : int
        Of the probe.
    snr_db : float, dB
        Measured.
    vectors : dict of str to np.ndarray
        By treatment; missing where there was no voice.
    """

    condition: str
    place: int
    snr_db: float
    vectors: dict[str, Vector]


@cache
def encoder_named(name: str) -> Encoder:
    """Return this process's encoder."""
    return load_encoder(name)


def hear_voice(encoder: str, place: int, probe: Recording, condition: Condition) -> Voiced:
    """Return the voice of a probe after every treatment."""
    sound, snr_db = sound_of(probe, condition)
    vectors = {}
    for name, treat in TREATMENTS.items():
        try:
            embedding = encoder_named(encoder).embed(at_voice_level(treat(sound)))
        except PoorQuality:
            continue
        vectors[name] = embedding.vector
    return Voiced(condition.name, place, snr_db, vectors)


def voiceprint(encoder: str, place: int, who: Enrolled) -> tuple[int, dict[str, Vector]]:
    """Return somebody's voiceprints: of what was heard, and half of it denoised."""
    sounds = [sound_of(one, CLEAN)[0] for one in who.recordings]
    embed = encoder_named(encoder).embed
    heard, clean = (
        sum(_weighted(embed(at_voice_level(TREATMENTS[name](sound)))) for sound in sounds)
        for name in (HEARD, DENOISED)
    )
    return place, {HEARD: heard, BOTH: heard + clean}


def _weighted(embedding: Embedding) -> Vector:
    """Return a voice as long as the sum of its partials, as a voiceprint counts it."""
    weighted: Vector = embedding.vector * np.linalg.norm(embedding.partials.sum(axis=0))
    return weighted
