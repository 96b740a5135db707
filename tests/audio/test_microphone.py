import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from membrane.audio import microphone
from membrane.audio.activity import CHUNK
from membrane.audio.capture import Piece, measure_level
from membrane.audio.devices import InputDevice
from membrane.audio.microphone import POST_ROLL_S, PRE_ROLL_S, Recorder
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import PoorQuality, RoomNotQuiet
from tests.virtual_microphone import VirtualMicrophone

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("record.py")
DEVICE = InputDevice(0, "webcam", 1, SAMPLE_RATE, default=True)


class LoudnessActivity:
    """Stands in for the network: what is loud is speech."""

    def __init__(self):
        self._rest = np.zeros(0, dtype=np.float32)

    def probabilities(self, samples):
        signal = np.concatenate([self._rest, samples])
        whole = len(signal) // CHUNK * CHUNK
        self._rest = signal[whole:]
        loudness = np.abs(signal[:whole].reshape(-1, CHUNK)).max(axis=1)
        return (loudness > 0.1).astype(np.float32)


class FakeCapture:
    """Delivers a signal of 16 kHz; time goes by with its samples."""

    def __init__(self, signal):
        self.device, self.source_rate, self.overflows = DEVICE, 44_100, 0
        self._signal, self.position = signal, 0
        self.opened_at = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._signal = None

    def read(self):
        samples = self._signal[self.position : self.position + 320]
        assert len(samples), "the recording should have ended"
        self.position += len(samples)
        heard_at = self.opened_at + self.position / SAMPLE_RATE
        return Piece(samples, measure_level(samples), heard_at, samples[:, np.newaxis])

    def drop(self):
        pass


@pytest.fixture
def recorder_of(monkeypatch):
    """Return a maker of recorders that hear the given signal."""
    monkeypatch.setattr(microphone, "SpeechActivity", LoudnessActivity)
    monkeypatch.setattr(microphone, "preload", lambda: None)

    @contextmanager
    def open_recorder(*parts):
        monkeypatch.setattr(
            microphone, "Capture", lambda _device: FakeCapture(np.concatenate(parts))
        )
        with Recorder(DEVICE) as recorder:
            yield recorder

    return open_recorder


def room(seconds):
    return np.full(round(seconds * SAMPLE_RATE), 0.01, dtype=np.float32)


def voice(seconds):
    return np.full(round(seconds * SAMPLE_RATE), 0.5, dtype=np.float32)


def voiced_s(utterance):
    return np.sum(utterance.samples > 0.1) / SAMPLE_RATE


def test_utterance_is_the_speech_with_a_little_around_it_and_the_room(recorder_of):
    with recorder_of(room(4), voice(2), room(3)) as recorder:
        recorder.room(2.0)
        utterance = recorder.speech()
    assert voiced_s(utterance) == 2.0
    assert utterance.seconds == pytest.approx(2 + PRE_ROLL_S + POST_ROLL_S, abs=0.07)
    assert len(utterance.ambient) == pytest.approx(2 * SAMPLE_RATE, abs=CHUNK)
    assert np.all(utterance.ambient == np.float32(0.01))
    assert (utterance.source, utterance.device) == ("microphone", "webcam")
    assert utterance.source_rate == 44_100


def test_end_of_speech_is_the_moment_that_the_last_voiced_chunk_was_heard(recorder_of):
    with recorder_of(room(1), voice(2), room(3)) as recorder:
        recorder.speech()
        opened_at = recorder._capture.opened_at
    assert recorder.end_of_speech - opened_at == pytest.approx(3.0, abs=CHUNK / SAMPLE_RATE)


def test_person_who_begins_before_the_room_is_done_loses_nothing(recorder_of):
    with recorder_of(room(1.5), voice(2), room(3)) as recorder:
        ambient = recorder.room(2.0)
        utterance = recorder.speech()
    assert voiced_s(utterance) == 2.0
    assert len(ambient) / SAMPLE_RATE == pytest.approx(1.4, abs=0.07)
    assert np.max(ambient) < 0.1


def test_person_who_begins_at_the_very_end_of_the_room_loses_nothing(recorder_of):
    with recorder_of(room(1.98), voice(2), room(3)) as recorder:
        recorder.room(2.0)
        assert voiced_s(recorder.speech()) == 2.0


def test_words_earlier_in_the_room_are_left_out_of_both(recorder_of):
    with recorder_of(room(0.5), voice(0.3), room(3), voice(2), room(2)) as recorder:
        ambient = recorder.room(2.0)
        utterance = recorder.speech()
    assert np.max(ambient) < 0.1
    assert len(ambient) / SAMPLE_RATE == pytest.approx(1.5, abs=0.1)
    assert voiced_s(utterance) == 2.0


def test_room_full_of_speech_is_refused(recorder_of):
    with (
        recorder_of(room(0.4), voice(3)) as recorder,
        pytest.raises(RoomNotQuiet, match="be quiet for 2 s"),
    ):
        recorder.room(2.0)


def test_room_can_be_recorded_again_after_it_was_refused(recorder_of):
    with recorder_of(voice(2), room(3), voice(2), room(2)) as recorder:
        with pytest.raises(RoomNotQuiet):
            recorder.room(2.0)
        recorder.room(2.0)
        assert voiced_s(recorder.speech()) == 2.0


def test_recording_gives_up_when_nobody_speaks(recorder_of):
    with (
        recorder_of(room(20)) as recorder,
        pytest.raises(PoorQuality, match="I heard nobody within 3 s"),
    ):
        recorder.speech(wait_s=3)
    assert recorder.end_of_speech is None


def test_microphone_that_is_switched_off_is_named(recorder_of):
    with (
        recorder_of(room(20) * 0) as recorder,
        pytest.raises(PoorQuality, match="'webcam' is silent: switch it on"),
    ):
        recorder.speech(wait_s=3)


def test_speech_without_end_is_cut_off(recorder_of):
    with recorder_of(room(1), voice(30)) as recorder:
        utterance = recorder.speech(most_s=5)
    assert utterance.seconds == pytest.approx(5 + PRE_ROLL_S, abs=0.07)


def test_forced_length_is_kept_to_the_sample_whatever_is_heard(recorder_of):
    with recorder_of(room(1), voice(0.5), room(20)) as recorder:
        assert recorder.speech(seconds=3.21).seconds == 3.21
        assert recorder.end_of_speech is not None
        assert recorder.speech(seconds=0.5).seconds == 0.5
        assert recorder.end_of_speech is None


def test_the_frames_of_the_device_are_kept_for_the_same_stretch(recorder_of):
    with recorder_of(room(2.5), voice(2), room(2)) as recorder:
        recorder.room()
        utterance = recorder.speech()
    recorded = utterance.recorded()
    assert recorded.rate == utterance.source_rate
    np.testing.assert_array_equal(recorded.samples[:, 0], utterance.samples)


def test_every_recording_has_an_end_of_its_own(recorder_of):
    with recorder_of(room(1), voice(2), room(2), voice(3), room(2)) as recorder:
        assert voiced_s(recorder.speech()) == 2.0
        first = recorder.end_of_speech
        assert voiced_s(recorder.speech()) == 3.0
        assert recorder.end_of_speech > first + 3


def test_level_tells_when_speech_is_heard(recorder_of):
    levels = []
    with recorder_of(room(1), voice(2), room(2)) as recorder:
        recorder.room(0.8, on_level=levels.append)
        assert not any(level.speaking for level in levels)
        recorder.speech(on_level=levels.append)
    heard_s = sum(level.speaking for level in levels) * 320 / SAMPLE_RATE
    assert heard_s == pytest.approx(2.0, abs=0.1)


class Child:
    """A program that records and reports; see record.py."""

    def __init__(self, environment, **options):
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(options)],
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, event):
        for line in self.process.stdout:
            report = json.loads(line)
            if report["event"] == event:
                return report
        pytest.fail(f"no {event}: {self.process.stderr.read()}")

    def finish(self, timeout=10):
        _, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, errors


@pytest.fixture
def child_of():
    children = []

    def start(environment, **options):
        children.append(Child(environment, **options))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.communicate()


@pytest.fixture(scope="module")
def phrase():
    """Return a recording of a synthetic voice and its samples at 16 kHz."""
    path = next((ROOT / "tests" / "recordings" / "ada").glob("login-*.flac"))
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == SAMPLE_RATE
    return path, samples


def likeness(heard, played):
    """Return the largest normalised cross-correlation of two signals."""
    size = len(heard) + len(played)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    return np.max(np.fft.irfft(spectrum, size)) / np.linalg.norm(heard) / np.linalg.norm(played)


@pytest.mark.microphone
def test_spoken_phrase_is_captured_whole_and_ends_by_itself(
    virtual_microphone, child_of, phrase, tmp_path
):
    path, played = phrase
    child = child_of(virtual_microphone.environment, keep=str(tmp_path / "heard.wav"))
    child.wait_for("ready")
    virtual_microphone.say(path)
    said_at = time.monotonic()
    report = child.wait_for("speech")
    heard, _ = soundfile.read(tmp_path / "heard.wav", dtype="float32")
    assert likeness(heard, played) > 0.95
    assert np.sum(heard**2) == pytest.approx(np.sum(played**2), rel=0.1)
    assert report["ended_at"] - report["end_of_speech"] < 1.2
    assert report["ended_at"] - said_at < 1.2
    assert report["overflows"] == 0
    assert child.finish() == (0, "")


@pytest.mark.microphone
def test_levels_come_at_least_ten_times_a_second(virtual_microphone, child_of):
    child = child_of(virtual_microphone.environment, seconds=2.0)
    report = child.wait_for("speech")
    moments = np.array(report["levels_at"])
    drawn = [moments[0]]
    for moment in moments:
        if moment - drawn[-1] > 0.03:
            drawn.append(moment)
    assert len(drawn) / (moments[-1] - moments[0]) >= 10
    assert report["length"] == 2 * SAMPLE_RATE


@pytest.mark.microphone
def test_device_is_chosen_by_part_of_its_name(virtual_microphone, child_of):
    child = child_of(virtual_microphone.environment, device="PUL", seconds=0.2)
    report = child.wait_for("speech")
    assert report["device"] == "pulse"


@pytest.mark.microphone
def test_room_tone_alone_is_nobody(virtual_microphone, child_of, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.01, 6 * SAMPLE_RATE)
    soundfile.write(tmp_path / "noise.wav", noise, SAMPLE_RATE)
    noise = virtual_microphone.begin_saying(tmp_path / "noise.wav")
    child = child_of(virtual_microphone.environment, wait_s=2)
    assert child.wait_for("error")["text"].startswith("PoorQuality: I heard nobody within 2 s")
    assert child.finish() == (0, "")
    noise.kill()


@pytest.mark.microphone
def test_switched_off_microphone_is_called_silent(virtual_microphone, child_of):
    child = child_of(virtual_microphone.environment, wait_s=1)
    assert child.wait_for("error")["text"].startswith("PoorQuality: the microphone 'default' is s")


@pytest.mark.microphone
@pytest.mark.parametrize("moment", ["open", "ready"])
def test_interrupt_ends_a_recording_at_once(virtual_microphone, child_of, moment):
    child = child_of(virtual_microphone.environment)
    child.wait_for(moment)
    time.sleep(0.3)
    child.process.send_signal(signal.SIGINT)
    code, errors = child.finish(timeout=3)
    assert code == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert "ALSA" not in errors


@pytest.fixture
def failing_microphone():
    """Return a server of its own, for a test that breaks it."""
    with VirtualMicrophone() as microphone_to_break:
        yield microphone_to_break


@pytest.mark.microphone
def test_lost_device_ends_a_recording(virtual_microphone, failing_microphone, child_of):
    child = child_of(failing_microphone.environment)
    child.wait_for("ready")
    failing_microphone.server.kill()
    assert child.wait_for("error")["text"].startswith("MicrophoneUnavailable: the microphone 'def")
    assert child.finish(timeout=3) == (0, "")


@pytest.mark.microphone
def test_sound_server_that_hangs_does_not_hang_the_program(
    virtual_microphone, failing_microphone, child_of
):
    child = child_of(failing_microphone.environment)
    child.wait_for("ready")
    os.kill(failing_microphone.server.pid, signal.SIGSTOP)
    assert "has stopped" in child.wait_for("error")["text"]
    assert child.finish(timeout=4) == (0, "")
