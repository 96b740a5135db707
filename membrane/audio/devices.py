"""Microphones: which there are, and which one a person means."""

from dataclasses import dataclass
from typing import Any

from membrane.audio.portaudio import ask
from membrane.audio.stderr import quiet
from membrane.errors import MicrophoneUnavailable


@dataclass(frozen=True)
class InputDevice:
    """A microphone.

    Parameters
    ----------
    index : int
        Its number, as `membrane devices` shows it.
    name : str
    channels : int
        The most channels that it records.
    sample_rate : int, Hz
        Its own rate.
    default : bool
        Whether the system records from it unless told otherwise.
    """

    index: int
    name: str
    channels: int
    sample_rate: int
    default: bool


def list_devices() -> list[InputDevice]:
    """Return every device that records.

    Raises
    ------
    MicrophoneUnavailable
        If PortAudio is not installed or does not answer.
    """
    with quiet():
        return ask(_query)


def _query(sounddevice: Any) -> list[InputDevice]:
    return [
        InputDevice(
            index=entry["index"],
            name=entry["name"],
            channels=entry["max_input_channels"],
            sample_rate=round(entry["default_samplerate"]),
            default=entry["index"] == sounddevice.default.device["input"],
        )
        for entry in sounddevice.query_devices()
        if entry["max_input_channels"] > 0
    ]


def find_device(text: str | None = None) -> InputDevice:
    """Return the device that a person means.

    Parameters
    ----------
    text : str, optional
        Its number or a part of its name, in any case; the whole name of one device means that
        device. Without it, the default device, or the first where none is the default.

    Raises
    ------
    MicrophoneUnavailable
        If there is none or more than one; the message lists the choices.
    """
    devices = list_devices()
    if not devices:
        raise MicrophoneUnavailable(
            "no microphone was found: connect one, or judge a recording with --with-file"
        )
    if text is None:
        return next((device for device in devices if device.default), devices[0])
    return choose(devices, text.strip())


def choose(devices: list[InputDevice], text: str) -> InputDevice:
    """Return the one device of `devices` that `text` means; see `find_device`."""
    matches = _matches(devices, text.casefold())
    if len(matches) == 1:
        return matches[0]
    choices = ", ".join(f"{device.index} {device.name}" for device in matches or devices)
    problem = (
        f"{text!r} means several microphones, say which"
        if matches
        else f"no microphone is called {text!r}, choose among"
    )
    raise MicrophoneUnavailable(f"{problem}: {choices}")


def _matches(devices: list[InputDevice], text: str) -> list[InputDevice]:
    if text.isdecimal():
        return [device for device in devices if device.index == int(text)]
    named = [device for device in devices if device.name.casefold() == text]
    return named or [device for device in devices if text in device.name.casefold()]
