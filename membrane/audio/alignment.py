"""Alignment: which stretches of two recordings are the same, told by where their spectra peak.

As in the local alignment of sequences, two peaks at the same place are evidence for, a peak of
either recording without a counterpart is evidence against, and a stretch counts if the evidence in
it adds up to more than different recordings show. So a single word cut out of another recording is
found as well, and several of them, each with a shift of its own.

References
----------
S. Karlin and S. F. Altschul, "Methods for assessing the statistical significance of molecular
sequence features by using general scoring schemes", PNAS 87, 1990.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

EVIDENCE = 20.0
"""Natural logarithm of the odds that a stretch must show to count. Of 9,450
pairs of other takes of the same digits (of the speakers that choices are made on) 2 have such a
stretch; with 16 it would be 15, with 12 one in sixty. One digit cut out of a recording has it in
most cases, and in two of three after Opus at 16 kbit/s."""

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
brings two takes of a word to the same pitch. Without it 5 in 1,000 pairs of different recordings
had a stretch in common, with it 2 in 10,000."""

MOST_SHIFTS = 8
"""Shifts in time that are looked into: one for a copy, one for each word of a patchwork."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where the spectrum of a recording peaks, in order of time: seconds and Hz, shape (n,)."""

    times_s: Floats
    frequencies_hz: Floats


class Pairs(NamedTuple):
    """Peaks of two recordings that may be the same, ordered by the shift between them."""

    ours: Indices
    theirs: Indices
    shift: Floats
    evidence: Floats


def in_common(one: Peaks, other: Peaks) -> tuple[Mask, Mask]:
    """Return which peaks of two recordings lie in a stretch that both have.

    Parameters
    ----------
    one, other : Peaks
        Of n and m peaks.

    Returns
    -------
    (np.ndarray, np.ndarray), shapes (n,) and (m,), bool
    """
    played = [Peaks(one.times_s / speed, one.frequencies_hz * speed) for speed in SPEEDS]
    pairs = [_pairs(each, other) for each in played]
    gathered = [_gathered(each) for each in pairs]
    tolls = [TOLL * (speed != 1) for speed in SPEEDS]
    greatest = [each.max(initial=0) - toll for each, toll in zip(gathered, tolls, strict=True)]
    best = int(np.argmax(greatest))
    return _stretches(played[best], other, pairs[best], gathered[best], EVIDENCE + tolls[best])


def _pairs(one: Peaks, other: Peaks) -> Pairs:
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
    one: Peaks, other: Peaks, pairs: Pairs, gathered: Floats, needed: float
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


def _stretch(one: Peaks, other: Peaks, pairs: Pairs, shift: float, needed: float) -> Mask:
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
