"""Fingerprint: what tells a recording that is played again from the same words said again.

A recording is remembered as a constellation: where its spectrum peaks, in time and in frequency,
and nothing else. Two takes of the same words by the same person have the same formants, but never
the same peaks to within a few milliseconds and hertz; a copy has, whatever its level, its polarity
or the codec in between. As in Wang's landmarks, peaks are what survives noise and coding. They are
not joined to pairs and hashed, though: that finds one recording among millions, and loses a pair
when either peak is lost. Here a handful of recordings is compared, so all pairs of peaks are laid
over each other and those counted that agree on one shift in time.

What is alike is looked for in stretches, as in the local alignment of sequences: a match is
evidence for, a peak of either recording without a counterpart is evidence against, and a stretch
counts if the evidence in it adds up to more than different recordings show. So a single word cut
out of another recording is found as well, and several of them, each with a shift of its own.

It is no copy of the voice. Haitsma and Kalker's fingerprint, the usual alternative, keeps 32 bits
every 11.6 ms, 2.8 kbit/s, which is the rate of a speech codec, and tells for every band whether it
grew louder. These are some 20 peaks a second, less than 0.4 kbit/s: no levels, no phases, nothing
of most harmonics, of the noise of consonants, and of the formants between the peaks. Rate alone
proves nothing; ``python -m benchmarks.resubmission`` makes sound of fingerprints as well as an
attacker could and lets it try to log in.

References
----------
A. Wang, "An industrial strength audio search algorithm", ISMIR 2003.
J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002.
S. Karlin and S. F. Altschul, "Methods for assessing the statistical significance of molecular
sequence features by using general scoring schemes", PNAS 87, 1990.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.audio.utterance import SAMPLE_RATE, Samples

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Decibels = npt.NDArray[np.float32]

SAME = 0.5
"""Share of the shorter recording from which on two are called the same."""

EVIDENCE = 20.0
"""Natural logarithm of odds that a stretch must show to count."""

VERSION = 1
"""First byte of what is stored; another layout or other peaks get another number."""

WINDOW, HOP = 768, 128
"""Samples (48 and 8 ms): long enough to tell the harmonics of a voice apart, which differ from take
to take, and short enough to place a peak within a few milliseconds."""

LOWEST_HZ, HIGHEST_HZ = 300.0, 3_400.0
"""The band of a telephone (ITU-T G.712), so that peaks outlive one."""

NEAR_FRAMES, NEAR_BINS = 5, 6
"""A peak is the greatest within 40 ms and 125 Hz on each side: about 20 of them a second."""

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

MATCH = 6.0
"""Evidence of two peaks at the very same place, in natural units (nats): the logarithm of how many
times likelier that is in a copy. Peaks strewn evenly would give 9; those of speech lie in the same
bands and some at harmonics of the same pitch."""

TIME_SCALE_S, FREQUENCY_SCALE_HZ = 0.002, 2.0
"""Distances that cost a match 1 nat: codecs move peaks by a median of 0.3 to 1.5 ms and 0.2 to
1.5 Hz (measured on GSM, Opus, MP3 and the telephone)."""

MISS = 0.35
"""Evidence that a peak without counterpart takes away; GSM loses four in ten of them."""

SPEEDS = (1.0, *(1 + sign * 0.0075 * step for step in range(1, 8) for sign in (-1, 1)))
"""Speeds at which a recording may have been played: within 5 %, in steps half of which move the
highest peaks by no more than a match may be apart. The usual one stands first and wins a tie."""

TOLL = 15.0
"""Evidence that a speed other than the usual one must show on top: many are tried, and one of them
brings two takes of a word to the same pitch. Without it half a per cent of the pairs of different
recordings had a stretch in common, with it none in a thousand."""

MOST_SHIFTS = 8
"""Shifts in time that are looked into: one for a copy, one for each word of a patchwork."""


class Pairs(NamedTuple):
    """Peaks of two recordings that may be the same, ordered by the shift between them."""

    ours: Indices
    theirs: Indices
    shift: Floats
    evidence: Floats


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Where the spectrum of one recording peaks, in order of time.

    Parameters
    ----------
    times_s : np.ndarray, shape (n,), float64, seconds
    frequencies_hz : np.ndarray, shape (n,), float64, Hz
        At most `MOST_PEAKS`; none where nobody speaks.
    """

    times_s: Floats
    frequencies_hz: Floats

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
        if not (len(self.times_s) and len(other.times_s)):
            return 0.0
        ours, theirs = _in_common(self, other)
        return float(max(ours.mean(), theirs.mean()))

    def share_in(self, others: Iterable[Fingerprint]) -> float:
        """Return how much of this recording is heard in any of the others, together.

        Returns
        -------
        float in [0, 1]
            A share of this recording's peaks: high for words that were cut out of many recordings,
            each of which is like this one only for a word's length.
        """
        heard = np.zeros(len(self.times_s), bool)
        for other in others:
            if len(heard) and len(other.times_s):
                heard |= _in_common(self, other)[0]
        return float(heard.mean()) if len(heard) else 0.0

    def same_recording(self, other: Fingerprint) -> bool:
        """Return whether one of them holds the other recording, or much of it."""
        return self.likeness(other) >= SAME


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
    bins = place + _first_bin() + _vertex(below, at, above)
    order = np.argsort(times, kind="stable")
    return Fingerprint(times[order], bins[order] * SAMPLE_RATE / WINDOW)


def _first_bin() -> int:
    return int(LOWEST_HZ * WINDOW / SAMPLE_RATE)


def _levels(samples: Samples) -> Decibels:
    """Return the spectrogram of the band, dB; of no frames where there is no sound."""
    stop = int(HIGHEST_HZ * WINDOW / SAMPLE_RATE) + 1
    greatest = float(np.abs(samples).max(initial=0))
    if len(samples) < WINDOW or not 0 < greatest < np.inf:
        return np.zeros((0, stop - _first_bin()), np.float32)
    scaled = np.asarray(samples, np.float32) / np.float32(greatest)
    frames = np.lib.stride_tricks.sliding_window_view(scaled, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))[:, _first_bin() : stop]
    power = np.square(np.abs(spectrum))
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


def _in_common(one: Fingerprint, other: Fingerprint) -> tuple[Mask, Mask]:
    """Return which peaks of each lie in a stretch that both recordings have."""
    played = [Fingerprint(one.times_s / speed, one.frequencies_hz * speed) for speed in SPEEDS]
    pairs = [_pairs(each, other) for each in played]
    gathered = [_gathered(each) for each in pairs]
    tolls = [TOLL * (speed != 1) for speed in SPEEDS]
    greatest = [each.max(initial=0) - toll for each, toll in zip(gathered, tolls, strict=True)]
    best = int(np.argmax(greatest))
    needed = EVIDENCE + tolls[best]
    return _stretches(played[best], other, pairs[best], gathered[best], needed)


def _pairs(one: Fingerprint, other: Fingerprint) -> Pairs:
    apart = np.abs(one.frequencies_hz[:, None] - other.frequencies_hz)
    ours, theirs = np.nonzero(apart < MATCH * FREQUENCY_SCALE_HZ)
    shift = one.times_s[ours] - other.times_s[theirs]
    evidence = MATCH - apart[ours, theirs] / FREQUENCY_SCALE_HZ
    order = np.argsort(shift, kind="stable")
    return Pairs(ours[order], theirs[order], shift[order], evidence[order])


def _gathered(pairs: Pairs) -> Floats:
    """Return the evidence of all pairs around the shift of each."""
    total = np.concatenate([[0.0], np.cumsum(pairs.evidence)])
    near = MATCH * TIME_SCALE_S / 2
    start = np.searchsorted(pairs.shift, pairs.shift - near)
    stop = np.searchsorted(pairs.shift, pairs.shift + near, side="right")
    return np.asarray(total[stop] - total[start])


def _stretches(
    one: Fingerprint, other: Fingerprint, pairs: Pairs, gathered: Floats, needed: float
) -> tuple[Mask, Mask]:
    """Return which peaks of each lie in common stretches, whatever the shift of each stretch."""
    near = MATCH * TIME_SCALE_S
    ours, theirs = np.zeros(len(one.times_s), bool), np.zeros(len(other.times_s), bool)
    left = gathered.copy()
    for _ in range(MOST_SHIFTS):
        best = int(np.argmax(left)) if len(left) else 0
        if not left[best : best + 1].sum() > 0:
            break
        middle = np.median(pairs.shift[np.abs(pairs.shift - pairs.shift[best]) <= near / 2])
        left[np.abs(pairs.shift - middle) <= near] = 0
        left[best] = 0
        found = _stretch(one, other, pairs, float(middle), needed)
        ours |= found[: len(ours)]
        theirs |= found[len(ours) :]
    return ours, theirs


def _stretch(
    one: Fingerprint, other: Fingerprint, pairs: Pairs, shift: float, needed: float
) -> Mask:
    """Return which peaks, ours and then theirs, lie in the best stretch at one shift."""
    evidence = pairs.evidence - np.abs(pairs.shift - shift) / TIME_SCALE_S
    near = evidence > 0
    gain = np.full(len(one.times_s) + len(other.times_s), -MISS)
    np.maximum.at(gain, pairs.ours[near], evidence[near] / 2)
    np.maximum.at(gain, len(one.times_s) + pairs.theirs[near], evidence[near] / 2)
    order = np.argsort(np.concatenate([one.times_s - shift, other.times_s]), kind="stable")
    total = np.concatenate([[0.0], np.cumsum(gain[order])])
    rise = total - np.minimum.accumulate(total)
    stop = int(np.argmax(rise))
    found = np.zeros(len(gain), bool)
    if rise[stop] >= needed:
        found[order[np.argmin(total[: stop + 1]) : stop]] = True
    return found
