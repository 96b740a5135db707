"""PortAudio, the way to the microphone: loaded when needed, never waited for long.

All of PortAudio is spoken to from one thread of its own. Its calls go through to the system's
sound server, which may have hung; a thread that waits inside them could not be interrupted, and
neither Ctrl-C nor the end of the program would be heard.
"""

import atexit
import platform
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from queue import SimpleQueue
from typing import Any, TypeVar

from membrane.errors import MicrophoneUnavailable, in_one_line

PATIENCE_S = 5.0
"""Seconds that the sound system may take to answer; a Bluetooth headset needs about three."""

INSTALL = {
    "debian": "sudo apt install libportaudio2",
    "fedora": "sudo dnf install portaudio",
    "rhel": "sudo dnf install portaudio",
    "arch": "sudo pacman -S portaudio",
    "suse": "sudo zypper install libportaudio2",
}
"""How to install PortAudio, by the names that /etc/os-release gives a system and its parents."""

Answer = TypeVar("Answer")
Question = Callable[[Any], Answer]


def ask(question: Question[Answer], *, patience_s: float = PATIENCE_S) -> Answer:
    """Call `question` with the sounddevice module, in PortAudio's thread.

    Parameters
    ----------
    question : callable
        Is given the sounddevice module; what it returns is returned.
    patience_s : float, seconds
        How long to wait for it.

    Raises
    ------
    MicrophoneUnavailable
        If PortAudio is not installed, refuses, or does not answer in time.
    """
    from concurrent.futures import Future

    answer: Future[Answer] = Future()
    _questions().put((question, answer))
    try:
        return answer.result(timeout=patience_s)
    except TimeoutError:
        raise MicrophoneUnavailable(
            f"the sound system has not answered for {patience_s:.0f} s: "
            "restart the sound server or plug the microphone in again"
        ) from None
    finally:
        if not answer.done() and "sounddevice" in sys.modules:
            # It would close PortAudio as the program ends, and wait for ever.
            atexit.unregister(sys.modules["sounddevice"]._exit_handler)


@cache
def _questions() -> SimpleQueue[Any]:
    """Start the thread and return the queue that it reads; it ends with the program."""
    questions: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_answer, args=(questions,), name="portaudio", daemon=True).start()
    return questions


def _answer(questions: SimpleQueue[Any]) -> None:
    while True:
        question, answer = questions.get()
        try:
            answer.set_result(_put(question))
        except Exception as error:  # noqa: BLE001 - nothing is swallowed: `ask` raises it
            answer.set_exception(error)
        del question, answer  # this thread outlives what they hold on to


def _put(question: Question[Answer]) -> Answer:
    sounddevice = _load()
    try:
        return question(sounddevice)
    except sounddevice.PortAudioError as error:
        raise MicrophoneUnavailable(
            f"the microphone cannot be used ({in_one_line(error)}): "
            "choose another, see `membrane devices`"
        ) from None


def _load() -> Any:
    try:
        import sounddevice
    except OSError:
        raise MicrophoneUnavailable(
            f"PortAudio, which reads the microphone, is missing: {how_to_install()}"
        ) from None
    return sounddevice


def how_to_install() -> str:
    """Return how PortAudio is installed on this system."""
    if sys.platform != "linux":
        return "it comes with sounddevice: python -m pip install --force-reinstall sounddevice"
    release: dict[str, str] = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    names = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()
    return next(filter(None, map(INSTALL.get, names)), "install your system's portaudio package")
