import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from membrane.audio import capture, portaudio
from membrane.audio.capture import Capture, measure_level
from membrane.audio.devices import InputDevice
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import MicrophoneUnavailable


class PortAudioError(Exception):
    pass


class FakeStream:
    """Hands over a signal in blocks, as fast as it can, and then stops."""

    def __init__(self, signal, blocksize, callback, **_settings):
        self.active = True
        self.closed = False
        self._feeder = threading.Thread(target=self._feed, args=(signal, blocksize, callback))

    def _feed(self, signal, blocksize, callback):
        for start in range(0, len(signal), blocksize):
            block = signal[start : start + blocksize]
            callback(block, len(block), None, SimpleNamespace(input_overflow=start == blocksize))
            block[:] = np.nan  # PortAudio uses the memory again
        self.active = False

    def start(self):
        self._feeder.start()

    def abort(self):
        self._feeder.join()

    def close(self):
        self.closed = True


class FakeSystem:
    """Stands in for the sounddevice module."""

    PortAudioError = PortAudioError

    def __init__(self, signal, accepted):
        self.signal, self.accepted = signal, accepted
        self.opened = {}

    def check_input_settings(self, *, channels, samplerate, **_rest):
        if (samplerate, channels) not in self.accepted:
            raise PortAudioError("Invalid sample rate")

    def InputStream(self, **settings):  # noqa: N802 - the name that sounddevice gives it
        self.opened = settings
        if self.signal is None:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        self.stream = FakeStream(self.signal.copy(), settings["blocksize"], settings["callback"])
        return self.stream


@pytest.fixture
def system(monkeypatch):
    def make(signal, accepted):
        fake = FakeSystem(signal, accepted)
        monkeypatch.setattr(portaudio, "_load", lambda: fake)
        return fake

    return make


def tone(rate, seconds=1.0, frequency=440.0):
    return np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate) * 0.5


def channels(*signals):
    return np.stack(signals, axis=1).astype(np.float32)


def read_all(recording):
    pieces = []

    def read_until_it_stops():
        while True:
            pieces.append(recording.read())

    with pytest.raises(MicrophoneUnavailable, match="has stopped"):
        read_until_it_stops()
    return pieces


def device(rate, count):
    return InputDevice(3, "webcam", count, rate, default=True)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_sound_of_any_rate_arrives_whole_at_16_khz(system, rate):
    system(channels(tone(rate)), [(rate, 1)])
    with Capture(device(rate, 1)) as recording:
        pieces = read_all(recording)
    samples = np.concatenate([piece.samples for piece in pieces])
    assert samples.dtype == np.float32
    assert len(samples) / SAMPLE_RATE == pytest.approx(1.0, abs=0.08)
    inner = slice(1600, len(samples) - 1600)
    assert np.max(np.abs(samples - tone(SAMPLE_RATE)[: len(samples)])[inner]) < 1e-3
    assert recording.source_rate == rate


def test_two_channels_are_averaged(system):
    fake = system(channels(tone(16_000), np.zeros(16_000)), [(16_000, 2)])
    with Capture(device(16_000, 2)) as recording:
        pieces = read_all(recording)
    samples = np.concatenate([piece.samples for piece in pieces])
    assert fake.opened["channels"] == 2
    assert np.allclose(samples, tone(16_000)[: len(samples)] / 2, atol=1e-3)


def test_of_many_channels_the_first_is_taken(system):
    system(channels(tone(16_000), *np.ones((3, 16_000)) * -0.25), [(16_000, 4)])
    with Capture(device(16_000, 4)) as recording:
        pieces = read_all(recording)
    samples = np.concatenate([piece.samples for piece in pieces])
    assert np.allclose(samples, tone(16_000)[: len(samples)], atol=1e-3)


def test_another_rate_is_tried_where_the_device_refuses_its_own(system):
    fake = system(channels(tone(48_000)), [(48_000, 1)])
    with Capture(device(44_100, 1)) as recording:
        assert fake.opened["samplerate"] == recording.source_rate == 48_000


def test_lost_sound_is_counted(system):
    system(channels(tone(16_000)), [(16_000, 1)])
    with Capture(device(16_000, 1)) as recording:
        read_all(recording)
    assert recording.overflows == 1


def test_dropped_sound_is_not_read(system):
    fake = system(channels(tone(16_000)), [(16_000, 1)])
    with Capture(device(16_000, 1)) as recording:
        fake.stream.abort()
        recording.drop()
        assert read_all(recording) == []


def test_microphone_that_nobody_reads_does_not_fill_the_memory(system, monkeypatch):
    monkeypatch.setattr(capture, "MOST_UNREAD_S", 0.2)
    fake = system(channels(tone(16_000)), [(16_000, 1)])
    with Capture(device(16_000, 1)) as recording:
        fake.stream.abort()
        assert sum(len(piece.samples) for piece in read_all(recording)) == 0.2 * SAMPLE_RATE


def test_moment_of_each_piece_is_that_of_its_last_sample(system):
    system(channels(tone(44_100)), [(44_100, 1)])
    before = time.monotonic()
    with Capture(device(44_100, 1)) as recording:
        piece = recording.read()
    held_back_s = capture.BLOCK_S - len(piece.samples) / SAMPLE_RATE
    assert before - held_back_s <= piece.heard_at <= time.monotonic() - held_back_s


def test_device_that_cannot_be_opened_is_one_line_and_leaves_nothing_open(system):
    system(None, [(16_000, 1)])
    with (
        pytest.raises(MicrophoneUnavailable, match=r"Device unavailable"),
        Capture(device(16_000, 1)),
    ):
        pytest.fail("it was opened")


def test_device_is_closed_when_the_recording_is_interrupted(system):
    fake = system(channels(tone(16_000)), [(16_000, 1)])
    with pytest.raises(KeyboardInterrupt), Capture(device(16_000, 1)):
        raise KeyboardInterrupt
    assert fake.stream.closed


def test_closing_does_not_wait_for_a_sound_server_that_hangs(system, monkeypatch):
    fake = system(channels(tone(16_000)), [(16_000, 1)])
    monkeypatch.setattr(capture, "CLOSING_S", 0.1)
    release = threading.Event()
    monkeypatch.setattr(FakeStream, "close", lambda _self: release.wait(5))
    with Capture(device(16_000, 1)):
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert fake.stream.closed is False
    release.set()


def test_level_of_a_full_scale_sine_is_zero_decibels():
    level = measure_level((tone(16_000) * 2).astype(np.float32))
    assert level.peak_dbfs == pytest.approx(0, abs=0.01)
    assert level.clipping


def test_level_counts_clipping_in_any_channel():
    quiet = np.full(100, 0.01, dtype=np.float32)
    assert not measure_level(channels(quiet, quiet)).clipping
    assert measure_level(channels(quiet, quiet * 100)).clipping


@pytest.mark.parametrize("samples", [np.zeros(320, np.float32), np.zeros(0, np.float32)])
def test_level_of_digital_silence_is_finite(samples):
    assert measure_level(samples).peak_dbfs == -120
