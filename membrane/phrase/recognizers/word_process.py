"""One process that checks words for another program, request by request.

`word_processes` (beside this module) starts it and talks to it over standard input and output: a
line of JSON that holds a number, what to do and how many samples follow, then the samples as 32-bit
floats. The answer is a line of JSON that repeats the number, so that no answer is taken for
another's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from membrane.audio.utterance import Samples
from membrane.errors import MembraneError
from membrane.phrase.recognizers.deepspeech_worker import limit
from membrane.phrase.recognizers.pocketsphinx import PocketSphinxRecognizer

MOST_MEMORY = 2 * 1024**3
"""Bytes of address space. A minute of sound that is checked for twenty words took 0.5 GB
(``python -m benchmarks.sharing --memory``)."""


def answer_to(recognizer: PocketSphinxRecognizer, call: dict[str, Any], samples: Samples) -> Any:
    """Return the answer to one request, as JSON values."""
    try:
        if call["do"] == "transcribe":
            return {"words": recognizer.transcribe(samples)}
        match = recognizer.match(samples, call["expected"], strict=call["strict"])
    except MembraneError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"match": asdict(match)}


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the other side closes its end."""
    recognizer = PocketSphinxRecognizer()
    while line := requests.readline():
        call = json.loads(line)
        sound = requests.read(4 * call["samples"])
        if len(sound) < 4 * call["samples"]:
            return
        found = answer_to(recognizer, call, np.frombuffer(sound, np.float32))
        answer = {"number": call["number"], **found}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def main() -> None:
    """Serve standard input; keep what native code may print out of the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the program, which decides
    limit(MOST_MEMORY)  # and no core dump, which would hold what was said
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(BrokenPipeError):  # the program has ended
        serve(sys.stdin.buffer, answers)
