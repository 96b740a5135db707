"""The child process in which DeepSpeech runs, so that it can die without taking Membrane along.

Run as a script (``python -I -S deepspeech_worker.py LIBRARY MODEL SCORER MEMORY CPU``) and not
with ``-m``, which would import the package first: this file needs the standard library alone and
starts in a few hundredths of a second. SCORER may be empty. Standard input is the sound, 16 kHz
mono little-endian int16. Standard output is one JSON object a line: ``{"step": ...}`` before each
step, so that the parent knows where it died, at last ``{"text": ...}`` or ``{"error": ...}``.
MEMORY (bytes) and CPU (seconds) are its limits where the system has such.

The functions called are those of ``deepspeech.h`` of DeepSpeech 0.9.3.
"""

import ctypes
import json
import os
import signal
import sys


class Refused(Exception):
    """The library gave an error code."""


class Answer:
    """Standard output, kept for the parent while the library's own messages go nowhere."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)

    def say(self, **what: str) -> None:
        """Send one line."""
        os.write(self._descriptor, json.dumps(what).encode() + b"\n")


def limit(memory_bytes: int, cpu_s: int | None = None) -> None:
    """Limit this process: address space, processor time, and no core file after a crash.

    Windows has no such limits and macOS none of the address space. The processor time matters
    where the parent was killed and its clock is gone.
    """
    if sys.platform == "win32":
        return
    import resource

    wanted = {resource.RLIMIT_CORE: (0, 0)}
    if cpu_s is not None:
        wanted[resource.RLIMIT_CPU] = (cpu_s, cpu_s + 1)
    if sys.platform != "darwin":
        wanted[resource.RLIMIT_AS] = (memory_bytes, memory_bytes)
    for kind, limits in wanted.items():
        _, most = resource.getrlimit(kind)
        most = sys.maxsize if most == resource.RLIM_INFINITY else most
        resource.setrlimit(kind, (min(limits[0], most), min(limits[1], most)))


def open_library(path: str) -> ctypes.CDLL:
    """Return the library with the signatures of the functions used here."""
    library = ctypes.CDLL(path)
    pointer = ctypes.c_void_p
    library.DS_CreateModel.argtypes = [ctypes.c_char_p, ctypes.POINTER(pointer)]
    library.DS_EnableExternalScorer.argtypes = [pointer, ctypes.c_char_p]
    library.DS_SpeechToText.argtypes = [pointer, ctypes.c_char_p, ctypes.c_uint]
    library.DS_SpeechToText.restype = pointer
    library.DS_ErrorCodeToErrorMessage.argtypes = [ctypes.c_int]
    library.DS_ErrorCodeToErrorMessage.restype = pointer
    return library


def text_at(address: int | None) -> str:
    """Return the text of a C string."""
    return ctypes.string_at(address).decode("utf-8", "replace") if address else ""


def transcribe(answer: Answer, files: tuple[str, str, str], sound: bytes) -> str:
    """Return the words heard; what the library allocated goes when this process ends."""
    library_path, model, scorer = files
    answer.say(step="library")
    library = open_library(library_path)

    def demand(code: int) -> None:
        if code:
            raise Refused(text_at(library.DS_ErrorCodeToErrorMessage(code)))

    state = ctypes.c_void_p()
    answer.say(step="model")
    demand(library.DS_CreateModel(os.fsencode(model), ctypes.byref(state)))
    if scorer:
        answer.say(step="scorer")
        demand(library.DS_EnableExternalScorer(state, os.fsencode(scorer)))
    answer.say(step="listen")
    return text_at(library.DS_SpeechToText(state, sound, len(sound) // 2))


def main(library: str, model: str, scorer: str, memory: str, cpu: str) -> None:
    """Transcribe standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, and it decides
    limit(int(memory), int(cpu))
    answer = Answer()
    sound = sys.stdin.buffer.read()
    try:
        answer.say(text=transcribe(answer, (library, model, scorer), sound))
    except (OSError, AttributeError, Refused) as error:  # not loadable, another library, refused
        answer.say(error=" ".join(str(error).split()))
    os._exit(0)  # the destructors of a damaged model may crash, and the answer is given


if __name__ == "__main__":
    main(*sys.argv[1:])
