"""Validation: how often unseen voices are confused.

Probes are speech of validation speakers. Only the seed, the speaker and the piece decide how each
is disturbed, so two runs or two networks get exactly the same questions. Each piece of a speaker is
enrolled once, as it was recorded, and compared with every other piece of the corpus in every
condition. The score of a network is the geometric mean, over corpora and conditions, of its equal
error rate (EER) divided by the teacher's.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
import torch

from membrane.audio.level import at_level
from membrane.audio.preparation import at_voice_level
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import UsageError
from membrane.evaluation.codecs import coded
from membrane.evaluation.disturbances import pink_noise, power
from membrane.evaluation.metrics import det_curve, equal_error_rate
from membrane.training.material import HalfSamples, Material, Speaker
from membrane.training.network import DIMENSION, Network
from membrane.training.synthesis import in_room, simulated_response
from membrane.voice.encoders.resemblyzer import DVectorEncoder
from membrane.voice.frontends.mels import mel_spectrogram
from membrane.voice.frontends.partials import PARTIAL_FRAMES, partial_starts
from membrane.voice.frontends.trimming import raise_volume, trim_silences

PIECE = 4 * SAMPLE_RATE
"""Samples of a piece. Recordings at least twice as long are cut into pieces."""

LEAST = 8 * SAMPLE_RATE // 5
"""Samples up to which shorter recordings of a speaker are joined: one partial of the network."""

MOST_PIECES = 4
"""Most pieces of a speaker. Each is enrolled once and compared with all the others."""

MOST_SPEAKERS = 100
"""Most speakers of a corpus, so that validating a large one takes at most an hour of learning."""

SHORT = 2 * SAMPLE_RATE
LEAST_SPEECH = SAMPLE_RATE // 4
"""With fewer samples of speech than this, the silences stay in."""

BABBLERS = 5
"""As many as in `membrane.evaluation.disturbances`."""

CLEAN = "clean"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A trimmed utterance as input of the network.

    Parameters
    ----------
    mels : np.ndarray, shape (frames, CHANNELS), float32
        With silence after the end, so that the last partial is whole.
    length : int
        Frames that are sound.
    starts : tuple of int
        First frame of each partial.
    """

    mels: np.ndarray
    length: int
    starts: tuple[int, ...]

    @classmethod
    def of(cls, speech: Samples) -> Spectrum:
        """Return the spectrum of trimmed speech, in the partials that the teacher hears."""
        starts = tuple(partial_starts(len(speech)))
        mels = mel_spectrogram(speech)
        missing = max(0, starts[-1] + PARTIAL_FRAMES - len(mels))
        return cls(np.pad(mels, ((0, missing), (0, 0))), len(mels), starts)


@dataclass(frozen=True, eq=False)
class CorpusProbes:
    """The probes of one corpus.

    Parameters
    ----------
    corpus : str
        Name of the corpus.
    speakers : np.ndarray, shape (p,), int
        Who says each piece.
    conditions : mapping of str to list of Spectrum
        The p pieces in each condition. The clean ones are also the enrolled ones.
    """

    corpus: str
    speakers: np.ndarray
    conditions: Mapping[str, list[Spectrum]]


Disturb = Callable[[Samples, np.random.Generator], Samples]


def probes_of(material: Material, seed: int) -> list[CorpusProbes]:
    """Return the probes of each corpus that has at least two speakers with two pieces.

    Parameters
    ----------
    material : Material
        Speakers and noises kept out of training.
    """
    corpora = sorted({voice.corpus for voice in material.voices})
    return [found for corpus in corpora if (found := _corpus_probes(corpus, material, seed))]


def _corpus_probes(corpus: str, material: Material, seed: int) -> CorpusProbes | None:
    speakers: list[int] = []
    conditions = defaultdict[str, list[Spectrum]](list)
    for number, (voice, pieces) in enumerate(_speakers_with_pieces(corpus, material, seed)):
        disturbances = _disturbances(material, voice)
        for place, piece in enumerate(pieces):
            speakers.append(number)
            for name, disturbed in disturbances.items():
                names = (voice.speaker, str(place), name)
                chance = np.random.default_rng([seed, *(zlib.crc32(one.encode()) for one in names)])
                conditions[name].append(_heard(disturbed(piece, chance)))
            conditions[SHORT_NAME].append(_heard(piece, most=SHORT))
    if len(set(speakers)) < 2:
        return None
    return CorpusProbes(corpus, np.array(speakers), conditions)


def _speakers_with_pieces(
    corpus: str, material: Material, seed: int
) -> list[tuple[Speaker, list[Samples]]]:
    voices = sorted(
        (voice for voice in material.voices if voice.corpus == corpus),
        key=lambda voice: zlib.crc32(f"{seed} {voice.speaker}".encode()),
    )
    able = [(voice, pieces) for voice in voices if len(pieces := _pieces(voice)) > 1]
    return able[:MOST_SPEAKERS]


def _pieces(voice: Speaker) -> list[Samples]:
    """Return stretches of about equal length, the first of each recording before the second."""
    wholes = _joined([spoken.whole.astype(np.float32) for spoken in voice.utterances])
    by_place = zip_longest(*map(_cut, wholes))
    return [piece for row in by_place for piece in row if piece is not None][:MOST_PIECES]


def _joined(recordings: Sequence[Samples]) -> Iterator[Samples]:
    """Join recordings shorter than `LEAST` with the next ones, and drop a short rest."""
    waiting: list[Samples] = []
    for recording in recordings:
        waiting.append(recording)
        if sum(map(len, waiting)) >= LEAST:
            yield np.concatenate(waiting)
            waiting = []


def _cut(recording: Samples) -> list[Samples]:
    if len(recording) < 2 * PIECE:
        return [recording]
    return [recording[at : at + PIECE] for at in range(0, len(recording) - PIECE + 1, PIECE)]


def _heard(samples: Samples, most: int | None = None) -> Spectrum:
    """Return the input of the network for a recording, with at most this many samples of speech."""
    audible = raise_volume(samples)
    speech = trim_silences(audible)
    return Spectrum.of((speech if len(speech) > LEAST_SPEECH else audible)[:most])


# ---- Conditions

SHORT_NAME = "2 s"


def _disturbances(material: Material, voice: Speaker) -> dict[str, Disturb]:
    """Return what happens to the probes of a speaker, by the name of the condition."""
    others = [other for other in material.voices if other.speaker != voice.speaker]

    def in_noise(snr_db: float) -> Disturb:
        noises = material.noises
        return lambda piece, chance: _with(
            piece, _stretch(noises[chance.integers(len(noises))], len(piece), chance), snr_db
        )

    def in_babble(snr_db: float) -> Disturb:
        return lambda piece, chance: _with(piece, _babble(others, len(piece), chance), snr_db)

    disturbances: dict[str, Disturb] = {CLEAN: lambda piece, _: piece}
    if len(material.noises):
        disturbances |= {"noise 10 dB": in_noise(10), "noise 0 dB": in_noise(0)}
    if others:
        disturbances |= {"babble 10 dB": in_babble(10), "babble 0 dB": in_babble(0)}
    return disturbances | {
        "pink 5 dB": lambda piece, chance: _with(piece, pink_noise(len(piece), chance), 5),
        "telephone": lambda piece, _: at_voice_level(
            coded(piece * np.float32(0.5 / np.abs(piece).max()), "telephone")
        ),
        "reverberation": lambda piece, chance: in_room(piece, simulated_response(chance)),
    }


def _with(piece: Samples, noise: Samples, snr_db: float) -> Samples:
    loud = np.abs(piece) > 0.1 * np.sqrt(power(piece))
    wanted = power(piece[loud]) / 10 ** (snr_db / 10)
    return at_voice_level(piece + noise * np.float32(np.sqrt(wanted / (power(noise) or 1.0))))


def _babble(others: Sequence[Speaker], length: int, chance: np.random.Generator) -> Samples:
    babble = np.zeros(length, np.float32)
    for place in chance.permutation(len(others))[:BABBLERS]:
        speech = np.concatenate([spoken.speech for spoken in others[place].utterances])
        babble += at_level(_stretch(speech, length, chance), 0.0)
    return babble


def _stretch(samples: Samples | HalfSamples, length: int, chance: np.random.Generator) -> Samples:
    """Return a stretch from a random place, going on at the beginning after the end."""
    start = chance.integers(max(1, len(samples) - length + 1))
    return np.take(samples, np.arange(start, start + length), mode="wrap").astype(np.float32)


Vectors = npt.NDArray[np.float32]
Voices = Callable[[Sequence[Spectrum]], Vectors]
"""From p spectra to their p vectors of unit length, of shape (p, dimension)."""

Errors = dict[tuple[str, str], float]
"""The EER in per cent by corpus and condition."""

UNSURE = 0.3
"""Per cent added to both rates of a ratio. A lower rate depends on single trials."""

LEAST_SPEAKERS = 5
"""A corpus with fewer speakers is shown, but does not count."""

BATCH = 32
"""Number of spectra that go through the network at once."""


class Validation:
    """Measures networks on speakers who are kept out of training.

    Parameters
    ----------
    corpora : sequence of CorpusProbes
        The probes of each corpus.

    Raises
    ------
    UsageError
        If there are no corpora.
    """

    def __init__(self, corpora: Sequence[CorpusProbes]) -> None:
        if not corpora:
            raise UsageError(
                "too few speakers are left for validation, two with two recordings each: "
                "give more speech, or raise validation_share in the recipe"
            )
        self.corpora = corpora

    def errors(self, voices: Voices) -> Errors:
        """Return the equal error rates of a network or the teacher."""
        return {
            (one.corpus, condition): error
            for one in self.corpora
            for condition, error in _errors(one, voices)
        }

    def mean(self, errors: Errors) -> float:
        """Return the mean EER, in per cent, of the corpora that count."""
        return float(np.mean([errors[key] for key in self._judged(errors)]))

    def ratio(self, errors: Errors, teachers: Errors) -> float:
        """Return the geometric mean of the rates over the teacher's, each plus `UNSURE`."""
        ratios = [
            math.log((errors[key] + UNSURE) / (teachers[key] + UNSURE))
            for key in self._judged(errors)
        ]
        return math.exp(sum(ratios) / len(ratios))

    def _judged(self, errors: Errors) -> list[tuple[str, str]]:
        """Return the keys of the corpora with enough speakers to count, or all keys without any."""
        able = [it.corpus for it in self.corpora if len(set(it.speakers)) >= LEAST_SPEAKERS]
        return [key for key in errors if not able or key[0] in able]


def _errors(probes: CorpusProbes, voices: Voices) -> Iterator[tuple[str, float]]:
    enrolled = voices(probes.conditions[CLEAN])
    same = probes.speakers[:, None] == probes.speakers
    others = ~np.eye(len(same), dtype=bool)
    for condition, spectra in probes.conditions.items():
        asked = enrolled if condition == CLEAN else voices(spectra)
        scores = (asked @ enrolled.T).astype(np.float64)
        yield condition, 100 * equal_error_rate(det_curve(scores[others], same[others]))


def teacher_voices(spectra: Sequence[Spectrum]) -> Vectors:
    """Return Resemblyzer's vectors, or zeros where it finds no voice.

    Raises
    ------
    ModelUnavailable
        If its network's file is missing or is not the registered one.
    """
    partials = [one.mels[at : at + PARTIAL_FRAMES] for one in spectra for at in one.starts]
    counts = [len(spectrum.starts) for spectrum in spectra]
    vectors = np.nan_to_num(DVectorEncoder().run(np.stack(partials)))
    sums = np.add.reduceat(vectors, np.cumsum([0, *counts[:-1]]))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(lengths, 1e-6), np.float32)


@torch.no_grad()
def network_voices(network: Network, spectra: Sequence[Spectrum]) -> Vectors:
    """Return the vectors of a network in training, on its own device.

    Only spectra of the same length are computed at once.
    """
    device = next(network.eval().parameters()).device
    vectors = np.zeros((len(spectra), DIMENSION), np.float32)
    for places in _alike(spectra):
        alike = [spectra[place] for place in places]
        mels = torch.from_numpy(np.stack([spectrum.mels for spectrum in alike]))
        lengths = torch.tensor([spectrum.length for spectrum in alike])
        voiced = network(mels.to(device), lengths.to(device), alike[0].starts)
        vectors[places] = voiced.pooled.float().cpu()
    return vectors


def _alike(spectra: Sequence[Spectrum]) -> Iterator[list[int]]:
    """Yield the places of up to `BATCH` spectra of equal length."""
    by_length = defaultdict[tuple[int, int], list[int]](list)
    for place, spectrum in enumerate(spectra):
        by_length[len(spectrum.mels), spectrum.length].append(place)
    for places in by_length.values():
        for at in range(0, len(places), BATCH):
            yield places[at : at + BATCH]


@dataclass
class Best:
    """The best validation so far, and how many have been worse since.

    Parameters
    ----------
    step : int
        The step it was measured at.
    ratio : float
        Its ratio to the teacher's error, from `Validation.ratio`.
    worse_since : int
        Validations since then, all of them worse.
    asked_at : int
        Step of the last validation.
    """

    step: int = 0
    ratio: float = math.inf
    worse_since: int = 0
    asked_at: int = 0

    def improved(self, step: int, ratio: float) -> bool:
        """Record a validation, and return whether it is the best."""
        self.asked_at, better = step, ratio < self.ratio
        self.worse_since = 0 if better else self.worse_since + 1
        if better:
            self.step, self.ratio = step, ratio
        return better
