"""Fingerprint: what tells a recording that is played again from the same words said again.

A recording is remembered as a constellation: where its spectrum peaks, in time and in frequency,
and nothing else. Two takes of the same words by the same person have the same formants, but never
the same peaks to within a few milliseconds and hertz; a copy has, whatever its level, its polarity
or the codec in between. As in Wang's landmarks, peaks are what survives noise and coding. They are
not joined to pairs and hashed, though: that finds one recording among millions, and loses a pair
when either peak is lost. Here a handful of recordings is compared, so all pairs of peaks of two of
them are laid over each other (`membrane.audio.alignment`).

It is no copy of the voice. Haitsma and Kalker's fingerprint, the usual alternative, keeps 32 bits
every 11.6 ms, 2.8 kbit/s, which is the rate of a speech codec, and tells for every band whether it
grew louder. These are some 25 peaks a second of 16 bits, 0.4 kbit/s: no levels, no phases, nothing
of most harmonics, of the noise of consonants, and of the formants between the peaks. Rate alone
proves nothing; ``python -m benchmarks.resubmission`` makes sound of fingerprints in the ways that
an attacker who knows this page would, and lets it try to log in: the voice was never right in 275,
though a trace of the words is left (the digits were heard in 9 of 55 of the best kind).

Not recognised is what moves the peaks: a speed more than 5 % off, a room that echoes longer than
the words, noise as loud as half the voice.

References
----------
A. Wang, "An industrial strength audio search algorithm", ISMIR 2003.
J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from membrane.audio.alignment import Floats, Mask, Peaks, in_common
from membrane.audio.utterance import SAMPLE_RATE, Samples

Decibels = npt.NDArray[np.float32]

SAME = 0.5
"""Share of either recording from which on two are called the same: half. Of 9,450 pairs of other
takes of the same digits (of the speakers that choices are made on) one reached 0.25 and one 0.22;
no copy in GSM, the hardest of the codecs, fell below 0.79. Only a synthetic voice, which says a
word the same way every time, comes near: what it says is a patchwork of its own recordings."""

VERSION = 1
"""First byte of what is stored; another layout or other peaks get another number."""

WINDOW, HOP = 768, 128
"""Samples (48 and 8 ms): long enough to tell the harmonics of a voice apart, which differ from take
to take, and short enough to place a peak within a few milliseconds."""

LOWEST_HZ, HIGHEST_HZ = 300.0, 3_400.0
"""The band of a telephone (ITU-T G.712), so that peaks outlive one."""

FIRST_BIN, LAST_BIN = (int(hz * WINDOW / SAMPLE_RATE) for hz in (LOWEST_HZ, HIGHEST_HZ))

NEAR_FRAMES, NEAR_BINS = 5, 6
"""A peak is the greatest within 40 ms and 125 Hz on each side: about 25 of them a second."""

RANGE_DB = 35.0
"""Decibels below the loudest peaks beyond which there are none: codecs do what they like there."""

PROMINENCE_DB = 9.0
"""Decibels over the floor, the spectrum that a fifth of the frames stay below: a hum, a fan and
the room are no part of what was said."""

FLOOR_PERCENTILE, LOUDEST_PERCENTILE = 20, 98

MOST_PEAKS = 600
"""The strongest are kept; with six bytes for each, 3.6 kB at most."""

LONGEST_MS = 1 << 24
"""Milliseconds (over four hours) after which no stored peak can be."""

PEAK = np.dtype([("time_ms", "<u4"), ("frequency_hz", "<u2")])
"""A stored peak. Rounding to 1 ms and 1 Hz costs less than any codec moves a peak."""


class Fingerprint(Peaks):
    """Where the spectrum of one recording peaks, in order of time.

    Parameters
    ----------
    times_s : np.ndarray, shape (n,), float64, seconds
    frequencies_hz : np.ndarray, shape (n,), float64, Hz
        At most `MOST_PEAKS`; none where nobody speaks.
    """

    def to_bytes(self) -> bytes:
        """Return a version byte and six bytes a peak, the same on every machine."""
        peaks = np.empty(len(self.times_s), PEAK)
        peaks["time_ms"] = np.round(1_000 * self.times_s)
        peaks["frequency_hz"] = np.round(self.frequencies_hz)
        return bytes([VERSION]) + peaks.tobytes()

    @staticmethod
    def from_bytes(stored: bytes) -> Fingerprint:
        """Return what `to_bytes` stored.

        Raises
        ------
        ValueError
            If the bytes are of another version, or no fingerprint.
        """
        if stored[:1] != bytes([VERSION]):
            raise ValueError("a fingerprint of another version")
        count, rest = divmod(len(stored) - 1, PEAK.itemsize)
        if rest or count > MOST_PEAKS:
            raise ValueError("a fingerprint of a wrong length")
        peaks = np.frombuffer(stored, PEAK, offset=1)
        times, frequencies = peaks["time_ms"].astype(float), peaks["frequency_hz"].astype(float)
        if np.any(np.diff(times) < 0) or np.any(times > LONGEST_MS):
            raise ValueError("a fingerprint whose times are out of order")
        if np.any((frequencies < LOWEST_HZ - 50) | (frequencies > HIGHEST_HZ + 50)):
            raise ValueError("a fingerprint whose frequencies are out of range")
        return Fingerprint(times / 1_000, frequencies)

    def likeness(self, other: Fingerprint) -> float:
        """Return how much of one recording is heard in the other, of whichever that is more.

        Returns
        -------
        float in [0, 1]
            A share of the peaks: about 1 for a copy, also for one that was cut or has something
            added; 0 for two takes of the same words, and where either is empty.
        """
        return max(map(_share, in_common(self, other)))

    def same_recording(self, other: Fingerprint) -> bool:
        """Return whether one of them holds the other recording, or much of it."""
        return self.likeness(other) >= SAME

    def heard_in(self, others: Iterable[Fingerprint]) -> bool:
        """Return whether this is one of the other recordings, or put together from them."""
        heard = np.zeros(len(self.times_s), bool)
        for other in others:
            ours, theirs = in_common(self, other)
            if max(_share(ours), _share(theirs)) >= SAME:
                return True
            heard |= ours
        return _share(heard) >= SAME


def _share(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def fingerprint_of(samples: Samples) -> Fingerprint:
    """Return the fingerprint of a recording.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz

    Returns
    -------
    Fingerprint
        An empty one for silence and for what is shorter than 0.1 s.
    """
    level = _levels(samples)
    if len(level) <= 2 * NEAR_FRAMES or not np.ptp(level):
        return Fingerprint(np.zeros(0), np.zeros(0))
    frame, place = np.nonzero(_is_peak(level))
    strongest = np.sort(np.argsort(-level[frame, place], kind="stable")[:MOST_PEAKS])
    frame, place = frame[strongest], place[strongest]
    before, at, after = (level[frame + step, place] for step in (-1, 0, 1))
    below, above = (level[frame, place + step] for step in (-1, 1))
    times = (frame + _vertex(before, at, after)) * HOP / SAMPLE_RATE
    bins = place + FIRST_BIN + _vertex(below, at, above)
    order = np.argsort(times, kind="stable")
    return Fingerprint(times[order], bins[order] * SAMPLE_RATE / WINDOW)


def _levels(samples: Samples) -> Decibels:
    """Return the spectrogram of the band, dB; of no frames where there is no sound."""
    greatest = float(np.abs(samples).max(initial=0))
    if len(samples) < WINDOW or not 0 < greatest < np.inf:
        return np.zeros((0, LAST_BIN + 1 - FIRST_BIN), np.float32)
    scaled = np.asarray(samples, np.float32) / np.float32(greatest)
    frames = np.lib.stride_tricks.sliding_window_view(scaled, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))
    power = np.square(np.abs(spectrum[:, FIRST_BIN : LAST_BIN + 1]))
    return np.asarray(10 * np.log10(power + 1e-9 * power.max() + 1e-12), np.float32)


def _is_peak(level: Decibels) -> Mask:
    around = _greatest_around(_greatest_around(level, NEAR_BINS).T, NEAR_FRAMES).T
    least = np.percentile(level.max(axis=1), LOUDEST_PERCENTILE) - RANGE_DB
    floor = np.percentile(level, FLOOR_PERCENTILE, axis=0) + PROMINENCE_DB
    found = (level >= around) & (level > np.maximum(floor, least))
    found[[0, -1]] = found[:, [0, -1]] = False
    return np.asarray(found)


def _greatest_around(level: Decibels, near: int) -> Decibels:
    """Return the greatest of each number and its neighbours in the row, by windows that double."""
    greatest = np.pad(level, ((0, 0), (near, near)), constant_values=-np.inf)
    width, wanted = 1, 2 * near + 1
    while width < wanted:
        step = min(width, wanted - width)
        greatest = np.maximum(greatest[:, :-step], greatest[:, step:])
        width += step
    return greatest


def _vertex(before: Decibels, at: Decibels, after: Decibels) -> Floats:
    """Return where the parabola through three levels is highest, in steps from the middle one."""
    bend = (2 * at - before - after).astype(np.float64)
    lean = (after - before).astype(np.float64) / 2
    return np.clip(lean / np.maximum(bend, 1e-6), -0.5, 0.5)
