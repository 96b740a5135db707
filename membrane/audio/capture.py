"""Capture: an open device as an endless 16 kHz signal, with its level."""

import math
import time
from contextlib import ExitStack, suppress
from queue import Empty, Full, Queue
from typing import Any, NamedTuple, Self

import numpy as np

from membrane.audio.devices import InputDevice
from membrane.audio.portaudio import ask
from membrane.audio.stderr import quiet
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import MicrophoneUnavailable

BLOCK_S = 0.02
"""Seconds of sound that the device hands over at a time."""

DEVICE_BUFFER_S = 0.2
"""Seconds that the device holds while Python is busy importing or decoding. PortAudio wakes up
about four times in it, which the level meter shows: seen with PulseAudio, 16 times a second at
0.2 s but 4 times at 1 s."""

MOST_UNREAD_S = 60.0
"""Seconds of sound that are kept while nobody reads it, so that an open microphone which waits for
an answer at the keyboard does not fill the memory."""

NO_SOUND_S = 3.0
"""Seconds without any data after which a device is taken for lost."""

CLOSING_S = 2.0
"""Seconds that closing may take; seen to last for ever when a sound server hangs."""

CLIPPING = 0.999
"""Of full scale, at the device's own rate: a sample as large lies on the rail."""

QUIETEST_DBFS = -120.0
"""What digital silence is called, which has no finite level."""

OTHER_RATES = (48_000, 44_100, 16_000)
"""Hz, tried where a device refuses the rate that it names as its own."""


class Level(NamedTuple):
    """How loud the newest 20 ms are, measured before resampling.

    Parameters
    ----------
    peak_dbfs : float, dB relative to full scale
        The largest sample.
    clipping : bool
        Whether a sample lies on the rail.
    speaking : bool
        Whether the voice activity detector hears speech.
    """

    peak_dbfs: float
    clipping: bool
    speaking: bool = False


class Piece(NamedTuple):
    """Newly captured sound: 16 kHz mono, its level, and when its last sample was heard.

    `frames` is the same as the device gave it, shape (n, channels), at the device's rate.
    """

    samples: Samples
    level: Level
    heard_at: float
    frames: Samples


class _Block(NamedTuple):
    """What the device handed over: (frames, channels) at its own rate."""

    frames: Samples
    arrived: float
    overflowed: bool


class Capture:
    """A device that records while the context lasts.

    Parameters
    ----------
    device : InputDevice

    Attributes
    ----------
    device : InputDevice
    source_rate : int, Hz
        The rate that it records at.
    overflows : int
        How often sound was lost because the machine was too busy to take it.

    Raises
    ------
    MicrophoneUnavailable
        On entering, if it cannot be opened.
    """

    def __init__(self, device: InputDevice) -> None:
        self.device = device
        self.source_rate = device.sample_rate
        self.overflows = 0
        self._blocks: Queue[_Block] = Queue(round(MOST_UNREAD_S / BLOCK_S))
        self._stream: Any = None
        self._resampler: Any = None
        self._resampler_holds_s = 0.0
        self._until_exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(quiet())
            opening.callback(self._close)
            ask(self._open)
            self._until_exit = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._until_exit.close()

    def read(self) -> Piece:
        """Wait for sound and return it.

        Raises
        ------
        MicrophoneUnavailable
            If the device has stopped.
        """
        block = self._next_block()
        self.overflows += block.overflowed
        samples = self._resampler.resample_chunk(_mono(block.frames))
        self._resampler_holds_s += len(block.frames) / self.source_rate - len(samples) / SAMPLE_RATE
        return Piece(
            samples=np.clip(samples, -1.0, 1.0),
            level=measure_level(block.frames),
            heard_at=block.arrived - self._resampler_holds_s,
            frames=block.frames,
        )

    def drop(self) -> None:
        """Drop the sound that was captured and not read so far."""
        while not self._blocks.empty():
            self._blocks.get()

    def _next_block(self) -> _Block:
        deadline = time.monotonic() + NO_SOUND_S
        while time.monotonic() < deadline:
            try:
                return self._blocks.get(timeout=0.1)
            except Empty:
                if not self._stream.active:
                    break
        raise MicrophoneUnavailable(
            f"the microphone {self.device.name!r} has stopped: check that it is still connected"
        )

    def _open(self, sounddevice: Any) -> None:
        import soxr

        self.source_rate, channels = self._choose_settings(sounddevice)
        self._resampler = soxr.ResampleStream(self.source_rate, SAMPLE_RATE, 1, dtype="float32")
        self._stream = sounddevice.InputStream(
            device=self.device.index,
            samplerate=self.source_rate,
            channels=channels,
            dtype="float32",
            blocksize=round(self.source_rate * BLOCK_S),
            latency=DEVICE_BUFFER_S,
            callback=self._take,
        )
        self._stream.start()

    def _choose_settings(self, sounddevice: Any) -> tuple[int, int]:
        """Return the first rate and number of channels that the device accepts.

        One channel is asked for first; hardware that has no such mode is recorded with all of
        its channels. PortAudio makes float32 of every sample format itself.
        """
        rates = dict.fromkeys((self.device.sample_rate, *OTHER_RATES))
        settings = [(rate, channels) for rate in rates for channels in (1, self.device.channels)]
        for rate, channels in settings:
            with suppress(sounddevice.PortAudioError):
                sounddevice.check_input_settings(
                    device=self.device.index, channels=channels, dtype="float32", samplerate=rate
                )
                return rate, channels
        return settings[0]

    def _take(self, frames: Samples, _count: int, _times: Any, status: Any) -> None:
        """Keep what the device hands over; called by PortAudio in a thread of its own."""
        with suppress(Full):
            self._blocks.put_nowait(_Block(frames.copy(), time.monotonic(), status.input_overflow))

    def _close(self) -> None:
        """Stop at once; a sound server that no longer answers is left to itself."""
        with suppress(MicrophoneUnavailable):
            ask(self._stop, patience_s=CLOSING_S)

    def _stop(self, _sounddevice: Any) -> None:
        stream, self._stream, self._resampler = self._stream, None, None
        if stream is not None:
            stream.abort()
            stream.close()


def _mono(frames: Samples) -> Samples:
    """Return one channel: the mean of two, or the first of an array of microphones.

    Sound reaches an array at different times, and its mean would cancel some of it.
    """
    return frames.mean(axis=1) if frames.shape[1] == 2 else np.ascontiguousarray(frames[:, 0])


def measure_level(samples: Samples) -> Level:
    """Return the level of a piece of sound.

    Parameters
    ----------
    samples : np.ndarray, shape (n,) or (n, channels), float32 in [-1, 1]
        The loudest channel counts.
    """
    peak = float(np.max(np.abs(samples), initial=0))
    floor = 10 ** (QUIETEST_DBFS / 20)
    return Level(peak_dbfs=20 * math.log10(max(peak, floor)), clipping=peak >= CLIPPING)
