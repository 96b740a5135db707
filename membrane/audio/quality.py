"""Quality: whether there is enough clear speech in a recording to judge it at all.

Nothing is scored before `require` has passed. What is measured is reported with every decision.
"""

from dataclasses import dataclass

import numpy as np

from membrane.audio.activity import CHUNK, Mask, spread
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import PoorQuality

LEAST_SPEECH_S = 1.5
"""Seconds of net speech; one window of the encoder is 1.6 s."""

LEAST_SNR_DB = 3.0
"""Decibels; below it the recognizer refuses more honest users than it lets in."""

LEAST_LEVEL_DBFS = -60.0
"""Speech quieter than this is lost in the rounding and the hiss of an ordinary microphone."""

MOST_CLIPPED = 0.02
"""Share of the speech samples that may lie on the rail: at 5 % a voice is only 0.72 similar to
itself, so that its owner would be told that it is somebody else's."""

RAIL = 0.985
"""Of full scale; resampling rounds the corners of a clipped wave, so the rail is not exactly 1."""

SNR_RANGE_DB = (-20.0, 80.0)
"""Reported values are limited to it: digital silence has no finite signal-to-noise ratio."""

QUIETEST_SHARE = 0.05
"""Share of the chunks taken as noise where a recording has no silence of its own."""

FLOOR = 1e-12


@dataclass(frozen=True)
class Quality:
    """What was measured of a recording.

    Parameters
    ----------
    speech_s : float, seconds
        Net speech: chunks that the voice activity detector takes for speech.
    snr_db : float, dB
        Power of the speech over that of the noise, the noise's share taken off the speech.
    level_dbfs : float, dB relative to full scale
        Root mean square of the speech.
    clipped : float in [0, 1]
        Share of the speech samples that lie on the rail.
    """

    speech_s: float
    snr_db: float
    level_dbfs: float
    clipped: float


def measure(samples: Samples, mask: Mask, noise: Samples) -> Quality:
    """Measure a recording.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
    mask : np.ndarray, shape (ceil(n / 512),), bool
        Which chunks are speech.
    noise : np.ndarray, shape (m,), float32, 16 kHz
        The room without speech; if empty, the quietest chunks stand in for it.
    """
    voiced = samples[spread(mask, len(samples))]
    if not len(voiced):
        return Quality(0.0, SNR_RANGE_DB[0], _decibels(_power(samples)), 0.0)
    noise_power = _power(noise) if len(noise) else _quietest_power(samples)
    speech_power = _power(voiced)
    ratio = max(speech_power - noise_power, FLOOR) / max(noise_power, FLOOR)
    return Quality(
        speech_s=round(len(voiced) / SAMPLE_RATE, 3),
        snr_db=round(float(np.clip(_decibels(ratio), *SNR_RANGE_DB)), 1),
        level_dbfs=round(_decibels(speech_power), 1),
        clipped=round(float(np.mean(np.abs(voiced) >= RAIL)), 4),
    )


def require(quality: Quality, *, source: str = "microphone") -> None:
    """Refuse a recording that cannot be judged.

    Raises
    ------
    PoorQuality
        With what was measured, what is needed, and what to do.
    """
    if problem := find_problem(quality):
        raise PoorQuality(f"{source}: {problem}" if source != "microphone" else problem)


def find_problem(quality: Quality) -> str:
    """Return why a recording cannot be judged, in plain words; empty if it can."""
    # Rounded up, 1.47 s would read as the 1.5 s that are needed.
    speech_s = int(quality.speech_s * 10) / 10
    problems = (
        (
            quality.speech_s == 0,
            "I heard no speech: speak after the prompt, closer to the microphone",
        ),
        (
            quality.speech_s < LEAST_SPEECH_S,
            f"I heard {speech_s} s of speech; {LEAST_SPEECH_S} s are needed: "
            "say the whole phrase, not too fast",
        ),
        (
            quality.level_dbfs < LEAST_LEVEL_DBFS,
            f"the speech is too quiet ({quality.level_dbfs:.1f} dBFS; "
            f"{LEAST_LEVEL_DBFS:.0f} are needed): speak closer or raise the microphone's level",
        ),
        (
            quality.clipped > MOST_CLIPPED,
            f"the speech is clipped ({quality.clipped:.0%} of it is cut off): "
            "move back or lower the microphone's level",
        ),
        (
            quality.snr_db < LEAST_SNR_DB,
            f"it is too noisy (speech {quality.snr_db:.1f} dB above the noise; "
            f"{LEAST_SNR_DB:.0f} are needed): find a quieter place",
        ),
    )
    return next((problem for is_so, problem in problems if is_so), "")


def _power(samples: Samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def _decibels(ratio: float) -> float:
    return float(10 * np.log10(max(ratio, FLOOR)))


def _quietest_power(samples: Samples) -> float:
    chunks = samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)
    powers = np.sort(np.mean(np.square(chunks, dtype=np.float64), axis=1))
    return float(powers[: max(1, int(len(powers) * QUIETEST_SHARE))].mean()) if len(powers) else 0.0
