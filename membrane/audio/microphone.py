"""The microphone: the room first, then what is said, until the person has finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

import numpy as np

from membrane.audio.activity import (
    CHUNK,
    Mask,
    SpeechActivity,
    preload,
    runs,
    speech_mask,
    spread,
)
from membrane.audio.capture import Capture, Level
from membrane.audio.devices import InputDevice, find_device
from membrane.audio.endpoint import Endpoint
from membrane.audio.utterance import SAMPLE_RATE, Recorded, Samples, Utterance, no_samples
from membrane.errors import PoorQuality, RoomNotQuiet

ROOM_S = 2.0
"""Seconds of the room that are recorded before the person speaks."""

LEAST_ROOM_S = 0.5
"""Seconds of it that must be free of speech to serve as a noise profile."""

ROOM_MARGIN_CHUNKS = 3
"""Chunks (96 ms) on either side of speech that are not the room either: breath and echo."""

PRE_ROLL_S = 0.3
"""Seconds kept before the first chunk of speech: soft beginnings come before the detector."""

POST_ROLL_S = 0.3
"""Seconds kept after the last chunk of speech, for soft endings."""

WAIT_S = 10.0
"""Seconds that a person has to begin."""

MOST_S = 20.0
"""Seconds after which a recording ends though somebody, perhaps a radio, still speaks."""

MUTED = 10 ** (-90 / 20)
"""Of full scale: less than one step of 16-bit samples. A microphone that is quieter is off."""

OnLevel = Callable[[Level], None]


class Recorder:
    """A microphone that records while the context lasts.

    Nothing is lost between `room` and the `speech` that follows it, so that a person may begin
    early. Every later `speech` begins when it is called.

    Parameters
    ----------
    device : InputDevice, optional
        Where to record; the default device without it.

    Attributes
    ----------
    end_of_speech : float or None, seconds of `time.monotonic`
        When the last chunk of speech of the latest recording ended; None if there was none.

    Raises
    ------
    MicrophoneUnavailable
        If there is no such device, it cannot be opened, or (from `room` and `speech`) it stops.
    """

    def __init__(self, device: InputDevice | None = None) -> None:
        self.end_of_speech: float | None = None
        self._capture = Capture(device or find_device())
        self._room = no_samples()
        self._unread: _Part | None = None

    def __enter__(self) -> Self:
        self._capture.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.__exit__()

    def room(self, seconds: float = ROOM_S, *, on_level: OnLevel | None = None) -> Samples:
        """Record the room before the person speaks, from now on.

        Parameters
        ----------
        seconds : float
        on_level : callable, optional
            Called with a `Level` about fifty times a second.

        Returns
        -------
        np.ndarray, shape (n,), float32, 16 kHz
            What was not speech; it becomes `Utterance.ambient` of the recordings that follow.

        Raises
        ------
        RoomNotQuiet
            If less than `LEAST_ROOM_S` of it was free of speech.
        MicrophoneUnavailable
        """
        preload()
        self._capture.drop()
        hearing = _Hearing()
        self._listen(hearing, seconds, on_level)
        speech = speech_mask(np.array(hearing.probabilities, dtype=np.float32))
        self._unread = hearing.part(_start_of_last_words(speech), hearing.length)
        room = _without(hearing.samples, speech)
        if len(room) < LEAST_ROOM_S * SAMPLE_RATE:
            raise RoomNotQuiet(
                f"somebody spoke while I listened to the room: be quiet for {seconds:.0f} s, "
                "then speak when asked"
            )
        self._room = room
        return room

    def speech(
        self,
        *,
        seconds: float | None = None,
        on_level: OnLevel | None = None,
        wait_s: float = WAIT_S,
        most_s: float = MOST_S,
    ) -> Utterance:
        """Record what is said, until the person has finished.

        Parameters
        ----------
        seconds : float, optional
            Record so long from now on instead, whatever is heard.
        on_level : callable, optional
            Called with a `Level` about fifty times a second.
        wait_s : float, seconds
            How long to wait for speech to begin.
        most_s : float, seconds
            How long speech may last; what was heard until then is returned.

        Returns
        -------
        Utterance
            The speech with `PRE_ROLL_S` before and `POST_ROLL_S` after it.

        Raises
        ------
        PoorQuality
            If nobody began to speak.
        MicrophoneUnavailable
        """
        hearing = _Hearing()
        self.end_of_speech = None
        unread, self._unread = self._unread, None
        if seconds is not None:
            self._capture.drop()
            self._listen(hearing, seconds, on_level)
            heard = hearing.part(0, round(seconds * SAMPLE_RATE))
        else:
            if unread is None:
                self._capture.drop()
            else:
                hearing.add(unread.samples, unread.frames)
            self._follow(hearing, on_level, wait_s=wait_s, most_s=most_s)
            heard = hearing.speech()
        self.end_of_speech = hearing.end_of_speech()
        return Utterance(
            samples=heard.samples,
            ambient=self._room,
            source="microphone",
            device=self._capture.device.name,
            source_rate=self._capture.source_rate,
            original=partial(Recorded, heard.frames, self._capture.source_rate),
        )

    def _hear(self, hearing: _Hearing, on_level: OnLevel | None) -> None:
        piece = self._capture.read()
        hearing.add(piece.samples, piece.frames, piece.heard_at)
        if on_level is not None:
            on_level(piece.level._replace(speaking=hearing.endpoint.speaking))

    def _listen(self, hearing: _Hearing, seconds: float, on_level: OnLevel | None) -> None:
        while hearing.length < seconds * SAMPLE_RATE:
            self._hear(hearing, on_level)

    def _follow(
        self, hearing: _Hearing, on_level: OnLevel | None, *, wait_s: float, most_s: float
    ) -> None:
        started = time.monotonic()
        while not hearing.ended and hearing.speech_s < most_s:
            if hearing.endpoint.first is None and hearing.heard_at > started + wait_s:
                raise PoorQuality(self._why_nothing(hearing.samples, wait_s))
            self._hear(hearing, on_level)

    def _why_nothing(self, samples: Samples, wait_s: float) -> str:
        if np.max(np.abs(samples), initial=0.0) < MUTED:
            return (
                f"the microphone {self._capture.device.name!r} is silent: switch it on, "
                "or choose another with --device (see `membrane devices`)"
            )
        return f"I heard nobody within {wait_s:.0f} s: speak when asked, closer to the microphone"


class _Part(NamedTuple):
    """A part of what was heard: at 16 kHz, and as the device gave it."""

    samples: Samples
    frames: Samples


class _Hearing:
    """What was heard so far, followed by the voice activity detector."""

    def __init__(self) -> None:
        self.endpoint = Endpoint()
        self.probabilities: list[float] = []
        self.length = 0
        self.heard_at = 0.0
        self.ended = False
        self._pieces: list[Samples] = []
        self._frames: list[Samples] = []
        self._activity = SpeechActivity()

    def add(self, samples: Samples, frames: Samples, heard_at: float = 0.0) -> None:
        self._pieces.append(samples)
        self._frames.append(frames)
        self.length += len(samples)
        self.heard_at = heard_at
        for probability in self._activity.probabilities(samples):
            self.probabilities.append(float(probability))
            self.ended = self.endpoint.feed(float(probability))

    @property
    def samples(self) -> Samples:
        return np.concatenate([no_samples(), *self._pieces])

    @property
    def speech_s(self) -> float:
        """Seconds since speech began; 0 before."""
        first = self.endpoint.first
        return 0.0 if first is None else (self.length - first * CHUNK) / SAMPLE_RATE

    def part(self, start: int, stop: int) -> _Part:
        """Return what was heard between two samples at 16 kHz."""
        frames = np.concatenate(self._frames)
        scale = len(frames) / max(self.length, 1)
        return _Part(self.samples[start:stop], frames[round(start * scale) : round(stop * scale)])

    def speech(self) -> _Part:
        """Return the speech, with a little before and after it."""
        start = (self.endpoint.first or 0) * CHUNK - round(PRE_ROLL_S * SAMPLE_RATE)
        stop = self._end() + round(POST_ROLL_S * SAMPLE_RATE)
        return self.part(max(start, 0), stop)

    def end_of_speech(self) -> float | None:
        """Return the moment, of `time.monotonic`, that the last chunk of speech ended."""
        if self.endpoint.last is None:
            return None
        return self.heard_at - (self.length - self._end()) / SAMPLE_RATE

    def _end(self) -> int:
        last = self.endpoint.last
        return 0 if last is None else (last + 1) * CHUNK


def _without(samples: Samples, speech: Mask) -> Samples:
    """Return the samples that are not near speech."""
    near = np.convolve(speech, np.ones(2 * ROOM_MARGIN_CHUNKS + 1), mode="same") > 0
    return samples[: len(speech) * CHUNK][~spread(near, len(speech) * CHUNK)]


def _start_of_last_words(speech: Mask) -> int:
    """Return the sample from which on the end of the room belongs to the coming speech.

    It is a little before the end, or before the words that a person began too early.
    """
    start, stop = (runs(speech) or [(len(speech), len(speech))])[-1]
    begun = start if stop == len(speech) else len(speech)
    return max(begun * CHUNK - round(PRE_ROLL_S * SAMPLE_RATE), 0)
