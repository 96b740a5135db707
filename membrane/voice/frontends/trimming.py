"""The first steps of Resemblyzer on a recording: raise its volume, cut its long silences.

Same results as ``normalize_volume`` and ``trim_long_silences`` of resemblyzer/audio.py 0.1.4,
because the network was trained on sound that went through them.
"""

from __future__ import annotations

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples

TARGET_DBFS = -30
"""Quieter recordings are raised to this volume: ``audio_norm_target_dBFS`` (hparams.py)."""

FRAME = SAMPLE_RATE * 30 // 1000
"""Samples of one voice decision: ``vad_window_length = 30`` ms (hparams.py)."""

AVERAGED_FRAMES = 8
"""Decisions that are averaged: ``vad_moving_average_width`` (hparams.py)."""

SILENT_FRAMES_KEPT = 6
"""Silent frames kept in a row: ``vad_max_silence_length`` (hparams.py)."""

AGGRESSIVENESS = 3
"""Mode of the WebRTC detector: the strictest one (audio.py)."""

INT16_MAX = 2**15 - 1


def raise_volume(samples: Samples) -> Samples:
    """Raise a quiet recording to `TARGET_DBFS`; leave a louder one, or silence, as it is.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1]
        The recording.
    """
    rms = np.sqrt(np.mean(samples**2)) if len(samples) else 0.0
    if rms == 0.0:
        return samples
    gain_db = TARGET_DBFS - 20 * np.log10(rms)
    return samples if gain_db < 0 else samples * np.float32(10 ** (gain_db / 20))


def voiced_frames(samples: Samples) -> np.ndarray:
    """Return which frames the WebRTC detector takes for speech.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        The recording.

    Returns
    -------
    np.ndarray, shape (n // FRAME,), bool
    """
    import webrtcvad

    detector = webrtcvad.Vad(AGGRESSIVENESS)
    # Beyond full scale the package's cast to 16 bits wraps round into noise; clipping does not.
    levels = np.clip(np.round(samples * INT16_MAX), -INT16_MAX - 1, INT16_MAX)
    pcm = levels.astype("<i2").tobytes()
    starts = range(0, len(samples) // FRAME * FRAME * 2, FRAME * 2)
    return np.array(
        [detector.is_speech(pcm[at : at + FRAME * 2], SAMPLE_RATE) for at in starts], bool
    )


def around(flags: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return how many flags are set from `before` places before each place to `after` after it."""
    total = np.cumsum(np.pad(flags.astype(float), (1 + before, after)))
    return np.asarray(total[before + after + 1 :] - total[: len(flags)])


def kept_frames(voiced: np.ndarray) -> np.ndarray:
    """Smooth voice decisions and let them spread into the silence beside them.

    Parameters
    ----------
    voiced : np.ndarray, shape (n,), bool
        Whether each frame is speech.

    Returns
    -------
    np.ndarray, shape (n,), bool
        A frame is kept if, near it, more than half of the `AVERAGED_FRAMES` around a frame are
        voiced: exactly half rounds down (``np.round`` rounds a half to even). Near means within
        `SILENT_FRAMES_KEPT` / 2 frames (a binary dilation by ``SILENT_FRAMES_KEPT + 1`` ones).
    """
    before, after = (AVERAGED_FRAMES - 1) // 2, AVERAGED_FRAMES // 2
    mostly_voiced = around(voiced, before, after) > AVERAGED_FRAMES / 2
    reach = SILENT_FRAMES_KEPT // 2
    return around(mostly_voiced, reach, reach) > 0


def trim_silences(samples: Samples) -> Samples:
    """Return the recording without its long silences; empty if it is all silence.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        Samples after the last whole frame are dropped.
    """
    kept = kept_frames(voiced_frames(samples))
    return np.ravel(samples[: len(kept) * FRAME].reshape(-1, FRAME)[kept])
