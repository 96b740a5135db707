"""Sound made of a fingerprint, in the ways of an attacker who has read how it is made.

What a fingerprint holds is where the spectrum peaks; the rest is made up here. `resubmission` lets
it try to log in.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

from benchmarks.phrases import SPEECH, load, of_part
from membrane.audio.fingerprint import HIGHEST_HZ, LOWEST_HZ, WINDOW, Fingerprint
from membrane.audio.level import at_level
from membrane.audio.utterance import SAMPLE_RATE, Samples

FRAME, STEP = 512, 128

PIECE = 3_200
"""Samples (0.2 s) that are borrowed at once."""

HALF_WINDOW = WINDOW // 2
"""A peak is in the middle of the window whose start is its time."""

MADE_LEVEL_DBFS = -20.0


def tones(one: Fingerprint, chance: np.random.Generator) -> Samples:
    """Return a short tone for every peak."""
    made = silence_for(one)
    length = int(0.08 * SAMPLE_RATE)
    for at, hertz in zip(one.times_s, one.frequencies_hz, strict=True):
        turn = 2 * np.pi * (hertz * np.arange(length) / SAMPLE_RATE + chance.uniform())
        start = int(at * SAMPLE_RATE)
        made[start : start + length] += np.hanning(length) * np.sin(turn) * 500 / hertz
    return made


def sine_wave_speech(one: Fingerprint, _: np.random.Generator) -> Samples:
    """Return three gliding tones through the peaks of three bands (Remez and others 1981)."""
    made = silence_for(one)
    when = np.arange(len(made)) / SAMPLE_RATE
    edges = (LOWEST_HZ - 50, 900.0, 1_900.0, HIGHEST_HZ + 50)
    for low, high in pairwise(edges):
        inside = (one.frequencies_hz >= low) & (one.frequencies_hz < high)
        if inside.any():
            times = one.times_s[inside]
            hertz = np.interp(when, times, one.frequencies_hz[inside])
            near = np.abs(when[:, None] - times).min(axis=1) < 0.06
            made += near * np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE) * 500 / low
    return made


def shaped_noise(one: Fingerprint, chance: np.random.Generator) -> Samples:
    """Return a whisper: noise with a formant at every peak."""
    return shaped(chance.normal(size=len(silence_for(one))).astype(np.float32), one)


def shaped_voice(one: Fingerprint, chance: np.random.Generator) -> Samples:
    """Return pulses at the pitch that the peaks are likeliest harmonics of, shaped by them."""
    source = 0.02 * chance.normal(size=len(silence_for(one)))
    when = np.arange(len(source)) / SAMPLE_RATE
    cycles = np.cumsum(np.interp(when, *pitches(one))) / SAMPLE_RATE
    source[np.flatnonzero(np.diff(np.floor(cycles))) + 1] += 10
    return shaped(source.astype(np.float32), one)


def pitches(one: Fingerprint) -> tuple[np.ndarray, np.ndarray]:
    """Return times and the pitch there: that whose multiples the peaks around are nearest to."""
    candidates = np.geomspace(80, 300, 200)
    times = np.arange(0, one.times_s[-1] + 0.1, 0.1)
    found = []
    for at in times:
        hertz = one.frequencies_hz[np.argsort(np.abs(one.times_s - at))[:8]]
        ratio = hertz[:, None] / candidates
        off = np.abs(ratio - np.round(ratio)) * candidates
        found.append(candidates[np.argmin(np.mean(off / candidates**0.8, axis=0))])
    return times, np.array(found)


def shaped(source: Samples, one: Fingerprint) -> Samples:
    """Return a source filtered to sound as loud around each peak as speech would."""
    window = np.hanning(FRAME).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(source, FRAME)[::STEP]
    spectra = np.fft.rfft(frames * window)
    when = (np.arange(len(frames)) * STEP + FRAME / 2) / SAMPLE_RATE
    hertz = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)
    gain = np.full(spectra.shape, 0.05) * 500 / np.maximum(hertz, 500)
    for at, peak in zip(one.times_s + HALF_WINDOW / SAMPLE_RATE, one.frequencies_hz, strict=True):
        near = np.exp(-(((when - at) / 0.05) ** 2))[:, None]
        gain = np.maximum(gain, near * np.exp(-(((hertz - peak) / 150) ** 2)) * 500 / peak)
    made = np.zeros(len(source))
    for number, frame in enumerate(np.fft.irfft(spectra * gain, FRAME)):
        made[number * STEP : number * STEP + FRAME] += window * frame
    return made.astype(np.float32)


def borrowed_speech(one: Fingerprint, chance: np.random.Generator) -> Samples:
    """Return pieces of strangers' speech, each the loudest of all where the peaks are."""
    speech, level = strangers()
    made = np.zeros(len(silence_for(one)) + PIECE, np.float32)
    window = np.hanning(PIECE).astype(np.float32)
    places = level.shape[1] - PIECE // STEP
    for start in range(0, len(made) - PIECE, PIECE // 2):
        at = one.times_s * SAMPLE_RATE - start + HALF_WINDOW
        inside = np.flatnonzero((at >= 0) & (at < PIECE))
        rows = np.round(at[inside] / STEP).astype(int)
        bins = np.round(one.frequencies_hz[inside] * FRAME / SAMPLE_RATE).astype(int)
        fits = [level[at, row : row + places] for at, row in zip(bins, rows, strict=True)]
        if fits:
            place = int(np.argmax(np.sum(fits, axis=0))) * STEP
            made[start : start + PIECE] += window * speech[place : place + PIECE]
    return made


@cache
def strangers() -> tuple[Samples, np.ndarray]:
    """Return two minutes of strangers' speech, and its levels, dB less the mean of each frame."""
    files = sorted((SPEECH / "librispeech-single").iterdir())
    paths = of_part(files, "librispeech-single", "choose")
    speech = np.concatenate([at_level(load(path), MADE_LEVEL_DBFS) for path in paths[:10]])
    frames = np.lib.stride_tricks.sliding_window_view(speech, FRAME)[::STEP]
    level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(FRAME))) + 0.01)
    return speech, np.ascontiguousarray(level.T - level.mean(axis=1), np.float32)


def silence_for(one: Fingerprint) -> Samples:
    """Return silence that a recording of these peaks fits into."""
    return np.zeros(int((one.times_s[-1] + 0.5) * SAMPLE_RATE), np.float32)


INVERSIONS = (tones, sine_wave_speech, shaped_noise, shaped_voice, borrowed_speech)
