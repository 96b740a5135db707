import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from membrane.audio import devices, portaudio
from membrane.audio.devices import InputDevice, choose, find_device, list_devices
from membrane.errors import MicrophoneUnavailable

ROOT = Path(__file__).resolve().parents[2]

CHOICES = [
    InputDevice(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)", 2, 44_100, default=False),
    InputDevice(4, "Yeti Stereo Microphone: USB Audio (hw:1,0)", 2, 48_000, default=True),
    InputDevice(7, "Yeti", 1, 48_000, default=False),
    InputDevice(9, "pulse", 32, 44_100, default=False),
]


@pytest.mark.parametrize(
    ("text", "index"), [("9", 9), ("hda INTEL", 0), ("PULSE", 9), ("yeti", 7), ("usb audio", 4)]
)
def test_device_is_found_by_number_or_part_of_its_name(text, index):
    assert choose(CHOICES, text).index == index


def test_ambiguous_name_is_refused_with_the_devices_that_it_may_mean():
    with pytest.raises(MicrophoneUnavailable) as caught:
        choose(CHOICES, "yet")
    message = str(caught.value)
    assert "7 Yeti" in message
    assert "4 Yeti Stereo" in message
    assert "pulse" not in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["webcam", "2", "-1"])
def test_unknown_device_is_refused_with_all_choices(text):
    with pytest.raises(MicrophoneUnavailable, match=r"0 HDA.*9 pulse"):
        choose(CHOICES, text)


@pytest.fixture
def sound_system(monkeypatch):
    """A stand-in for sounddevice with one loudspeaker and two microphones."""
    names = ["loudspeaker", "webcam", "headset"]
    entries = [
        {"index": i, "name": name, "max_input_channels": i, "default_samplerate": 48_000.0}
        for i, name in enumerate(names)
    ]
    module = SimpleNamespace(
        default=SimpleNamespace(device={"input": 2, "output": 0}),
        query_devices=lambda: entries,
        PortAudioError=type("PortAudioError", (Exception,), {}),
    )
    monkeypatch.setattr(portaudio, "_load", lambda: module)
    return module


def test_only_what_records_is_listed_and_the_default_marked(sound_system):
    assert list_devices() == [
        InputDevice(1, "webcam", 1, 48_000, default=False),
        InputDevice(2, "headset", 2, 48_000, default=True),
    ]


def test_the_default_device_is_taken_unless_one_is_named(sound_system):
    assert find_device().name == "headset"
    assert find_device(" WEB ").name == "webcam"
    sound_system.default.device["input"] = -1
    assert find_device().name == "webcam"


def test_machine_without_a_microphone_says_so(sound_system):
    sound_system.query_devices = list
    with pytest.raises(MicrophoneUnavailable, match="no microphone was found"):
        find_device()


def test_refusal_by_portaudio_becomes_one_line(sound_system):
    def refuse():
        raise sound_system.PortAudioError("Device unavailable\n[PaErrorCode -9985]")

    sound_system.query_devices = refuse
    with pytest.raises(MicrophoneUnavailable, match=r"unavailable \[PaErrorCode -9985\]\)"):
        list_devices()


def test_sound_system_that_does_not_answer_is_not_waited_for(sound_system, monkeypatch):
    import threading

    release = threading.Event()
    monkeypatch.setattr(sound_system, "query_devices", release.wait)
    try:
        with pytest.raises(MicrophoneUnavailable, match="has not answered"):
            portaudio.ask(devices._query, patience_s=0.05)
    finally:
        release.set()


WITHOUT_PORTAUDIO = """
import ctypes.util
ctypes.util.find_library = lambda name: None
from membrane.audio.devices import list_devices
from membrane.errors import MicrophoneUnavailable
try:
    list_devices()
except MicrophoneUnavailable as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PortAudio comes with sounddevice")
def test_missing_portaudio_says_how_to_install_it():
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_PORTAUDIO],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert child.stdout == (
        f"PortAudio, which reads the microphone, is missing: {portaudio.how_to_install()}\n"
    )
    assert child.stderr == ""


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ({"ID": "debian"}, "apt install libportaudio2"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt install libportaudio2"),
        ({"ID": "fedora"}, "dnf install portaudio"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install portaudio"),
        ({"ID": "manjaro", "ID_LIKE": "arch"}, "pacman -S portaudio"),
        ({"ID": "plan9"}, "portaudio package"),
        ({}, "portaudio package"),
    ],
)
def test_installing_is_explained_for_the_system_at_hand(monkeypatch, release, command):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert command in portaudio.how_to_install()


def test_installing_elsewhere_means_reinstalling_sounddevice(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "pip install --force-reinstall sounddevice" in portaudio.how_to_install()
