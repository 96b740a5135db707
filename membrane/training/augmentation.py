"""Augmentation: speech as a microphone may hear it, and the same speech without noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from membrane.audio.level import at_level
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.evaluation.codecs import check_codec, coded
from membrane.training.material import HalfSamples, Material
from membrane.training.recipe import AugmentationRecipe
from membrane.training.synthesis import bursts, coloured, in_room, simulated_response, tonal, uneven

INAUDIBLE = 1e-10
"""Power (-100 dBFS) below which sound is inaudible and cannot be scaled to a ratio."""

LOUD = 0.1
"""Samples above this share of the root mean square count as speech when noise is added."""

CODED_PEAK = 0.5
"""Peak, as a share of full scale, of a signal before a codec: as people speak into a telephone."""

NOISE_SPEEDS = (0.6, 1.7)

COMMON_PITCHES = 0.3
"""Share of noise files that are heard at another speed."""


class Augmentation:
    """What a recipe does to speech.

    Parameters
    ----------
    material : Material
        The noises, the rooms, and the speakers who make up a babble.

    Raises
    ------
    UsageError
        If this computer's libsndfile lacks a codec of the recipe.
    """

    def __init__(self, recipe: AugmentationRecipe, material: Material) -> None:
        self.recipe = recipe
        self.noises = material.noises
        self.rooms = material.rooms
        # Words that repeat every second do not sound like babble.
        self.talkers = [it for it in material.voices if not it.brief] or material.voices
        self._codecs, self._codec_shares = _shares(asdict(recipe.codecs))
        self._kinds, self._kind_shares = _shares(asdict(recipe.noises))
        for name in self._codecs if recipe.codec_share else ():
            check_codec(name)

    def __call__(
        self, samples: Samples, chance: np.random.Generator, speaker: str = ""
    ) -> tuple[Samples, Samples]:
        """Return speech as it is heard, and as it is wanted: the same room without noise.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32, 16 kHz
            Clean speech.
        speaker : str
            Who speaks. The babble leaves this speaker out.

        Returns
        -------
        heard, wanted : np.ndarray, shape (n,), float32, 16 kHz
            Both are the same array if nothing was added.
        """
        recipe = self.recipe
        clean = chance.random() < recipe.clean_share
        if chance.random() < recipe.colour_share:
            samples = _coloured_speech(samples, chance.uniform(*recipe.colour_db), chance)
        heard = wanted = samples
        if not clean:
            if chance.random() < recipe.room_share:
                heard = wanted = in_room(samples, self._response(chance))
            if chance.random() < recipe.noise_share:
                heard = self._in_noise(wanted, chance, speaker)
            heard, wanted = self._through_channel(heard, wanted, chance)
        return _levelled(heard, wanted, chance.uniform(*recipe.level_dbfs))

    def noise(self, length: int, chance: np.random.Generator, speaker: str = "") -> Samples:
        """Return one kind of noise from the recipe, at mean power 1."""
        kind = chance.choice(self._kinds, p=self._kind_shares)
        if kind == "babble":
            return self.babble(length, chance, speaker)
        if kind == "files" and self.noises:
            return self._from_file(length, chance)
        return {"tonal": tonal, "bursts": bursts}.get(kind, coloured)(length, chance)

    def babble(self, length: int, chance: np.random.Generator, speaker: str = "") -> Samples:
        """Return several people who talk at once, without one speaker, at mean power 1.

        If there are no other speakers, return coloured noise.
        """
        others = [talker for talker in self.talkers if talker.speaker != speaker]
        if not others:
            return coloured(length, chance)
        babble = np.zeros(length, np.float32)
        fewest, most = map(round, self.recipe.voices)
        for _ in range(chance.integers(fewest, most + 1)):
            spoken = others[chance.integers(len(others))].utterances
            voice = stretch(spoken[chance.integers(len(spoken))].speech, length, chance)
            babble += at_level(voice, 0.0) * np.float32(np.exp(chance.normal(0.0, 0.3)))
        if chance.random() < 0.4:
            babble = in_room(babble, self._response(chance))
        return at_level(babble, 0.0)

    def _from_file(self, length: int, chance: np.random.Generator) -> Samples:
        recorded = self.noises[chance.integers(len(self.noises))]
        if chance.random() < COMMON_PITCHES:
            speed = chance.uniform(*NOISE_SPEEDS)
            noise = at_speed(stretch(recorded, int(length * speed) + 2, chance), speed)[:length]
        else:
            noise = stretch(recorded, length, chance)
        if chance.random() < 0.4:
            noise = _coloured_speech(noise, chance.uniform(0.0, 6.0), chance)
        return at_level(noise, 0.0) if _power(noise) > INAUDIBLE else coloured(length, chance)

    def _response(self, chance: np.random.Generator) -> Samples:
        if self.rooms and chance.random() < self.recipe.room_files_share:
            return self.rooms[chance.integers(len(self.rooms))]
        return simulated_response(chance)

    def _in_noise(self, speech: Samples, chance: np.random.Generator, speaker: str) -> Samples:
        snr_db = chance.uniform(*self.recipe.snr_db)
        # Measure only what is loud: pauses would make speech seem weak.
        loudness = _power(speech[np.abs(speech) > LOUD * np.sqrt(_power(speech))])
        ratios = [snr_db]
        if chance.random() < self.recipe.second_noise_share:
            ratios.append(snr_db + self.recipe.second_noise_db)
        for ratio in ratios:
            gain = np.float32(np.sqrt(loudness / 10 ** (ratio / 10)))
            speech = speech + gain * self.noise(len(speech), chance, speaker)
        return speech

    def _through_channel(
        self, heard: Samples, wanted: Samples, chance: np.random.Generator
    ) -> tuple[Samples, Samples]:
        """Return both after a narrow band, a codec or an overdriven microphone."""
        recipe = self.recipe
        draw = chance.random()
        if draw < recipe.band_share:
            return _filtered(heard, wanted, chance)
        draw -= recipe.band_share
        if draw < recipe.codec_share:
            codec = str(chance.choice(self._codecs, p=self._codec_shares))
            gain = np.float32(CODED_PEAK / max(1e-3, float(np.abs(heard).max(initial=0))))
            return _on_both(
                *(heard, wanted), lambda sound: coded(np.clip(sound * gain, -1, 1), codec) / gain
            )
        if draw - recipe.codec_share < recipe.clipping_share:
            most = float(np.abs(heard).max(initial=0)) * chance.uniform(0.2, 0.8)
            return np.clip(heard, -most, most), wanted
        return heard, wanted


def stretch(samples: Samples | HalfSamples, length: int, chance: np.random.Generator) -> Samples:
    """Return a stretch from a random place. After the end it continues at the beginning.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float16 or float32
        At least one sample.
    length : int
        Samples.

    Returns
    -------
    np.ndarray, shape (length,), float32
    """
    spare = len(samples) - length
    start = chance.integers(spare + 1 if spare >= 0 else len(samples))
    places = np.arange(start, start + length)
    return np.take(samples, places, mode="wrap").astype(np.float32)


def at_speed(samples: Samples, factor: float) -> Samples:
    """Return a signal played faster (and higher) or slower (and lower).

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32
        The signal.
    factor : float
        Factor of the speed: 1.1 is 10 % faster.

    Returns
    -------
    np.ndarray, shape (floor(n / factor),), float32
    """
    places = np.arange(int(len(samples) / factor)) * factor
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)


def _coloured_speech(samples: Samples, spread_db: float, chance: np.random.Generator) -> Samples:
    """Return a signal as a microphone with a different timbre hears it."""
    gain = uneven(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE), spread_db, chance)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)), np.float32)


def _filtered(
    heard: Samples, wanted: Samples, chance: np.random.Generator
) -> tuple[Samples, Samples]:
    """Return both cut to a random band, from a telephone's width to nearly everything."""
    from scipy.signal import butter, sosfilt

    order = int(chance.integers(1, 5))
    band = [chance.uniform(50.0, 400.0), chance.uniform(2_800.0, 7_000.0)]
    filters = butter(order, band, "bandpass", fs=SAMPLE_RATE, output="sos")
    return _on_both(heard, wanted, lambda samples: sosfilt(filters, samples))


def _on_both(
    heard: Samples, wanted: Samples, change: Callable[[Samples], Samples]
) -> tuple[Samples, Samples]:
    """Return both changed. If they are the same array, change it once."""
    changed = np.asarray(change(heard), np.float32)
    return changed, changed if heard is wanted else np.asarray(change(wanted), np.float32)


def _levelled(heard: Samples, wanted: Samples, level_dbfs: float) -> tuple[Samples, Samples]:
    """Amplify both by the gain that brings the first to a level."""
    loudness = _power(heard)
    gain = np.float32(10 ** (level_dbfs / 20) / np.sqrt(loudness)) if loudness else np.float32(1)
    return _on_both(heard, wanted, lambda samples: samples * gain)


def _power(samples: Samples) -> float:
    return float(samples @ samples) / len(samples) if len(samples) else 0.0


def _shares(weights: Mapping[str, float]) -> tuple[list[str], np.ndarray]:
    """Return the names whose weight is not 0, and their shares."""
    names = [name for name, weight in weights.items() if weight]
    chosen = np.array([weights[name] for name in names])
    return names, chosen / chosen.sum()
