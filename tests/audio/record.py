"""Record once and report it, one JSON object a line: a child process of test_microphone.py.

PortAudio looks for its devices once in the life of a process; a test that gives it other ones
needs a process of its own.
"""

import json
import sys
import time

import soundfile

from membrane.audio.devices import find_device
from membrane.audio.microphone import Recorder
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import MembraneError


def report(event, **details):
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def record(device=None, keep=None, room_s=0.8, **options):
    levels_at = []
    with Recorder(find_device(device)) as recorder:
        report("open")
        recorder.room(room_s)
        report("ready")
        utterance = recorder.speech(
            on_level=lambda level: levels_at.append(time.monotonic()), **options
        )
        ended_at = time.monotonic()
        if keep:
            soundfile.write(keep, utterance.samples, SAMPLE_RATE)
        report(
            "speech",
            ended_at=ended_at,
            end_of_speech=recorder.end_of_speech,
            overflows=recorder._capture.overflows,
            length=len(utterance.samples),
            device=utterance.device,
            levels_at=levels_at,
        )


try:
    record(**json.loads(sys.argv[1]))
except MembraneError as error:
    report("error", text=f"{type(error).__name__}: {error}")
