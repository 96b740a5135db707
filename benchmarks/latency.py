"""How long a login takes from the end of speech to the decision, at a virtual microphone.

``python -m benchmarks.latency`` enrols a synthetic voice and logs it in again and again with the
whole command, ``membrane verify --json``: it waits for the prompt, says it to the microphone, and
takes the time at which the decision appears on standard output. The sound is listened to beside
the command, at the same microphone; the end of speech is the end of the last chunk that the voice
activity detector takes for speech, so that the silence which ends a recording is part of what is
measured. The last audible sound is reported too: the detector lags a little behind it.

Needs PulseAudio and eSpeak NG (``espeak-ng``), which speaks the prompts as it spoke the recordings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from membrane.audio import activity
from membrane.audio.endpoint import END_SILENCE_S
from membrane.audio.utterance import SAMPLE_RATE
from scripts.make_recordings import PEOPLE, RECORDINGS, Take, record, spoken
from tests.virtual_microphone import SPEAKER, VirtualMicrophone

AUDIBLE = 10 ** (-50 / 20)
"""Of full scale: well above the room of the recordings, well below their speech."""


class Witness:
    """Listens at the microphone beside the command, and knows when it heard what."""

    def __init__(self, microphone: VirtualMicrophone) -> None:
        command = ["parec", f"--device={SPEAKER}.monitor", "--latency-msec=10", "--channels=1"]
        self._listener = subprocess.Popen(
            [*command, f"--rate={SAMPLE_RATE}", "--format=float32le"],
            env=microphone.environment,
            stdout=subprocess.PIPE,
        )
        self._chunks: list[np.ndarray] = []
        self._moments: list[float] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while len(data := self._listener.stdout.read(activity.CHUNK * 4)) == activity.CHUNK * 4:
            self._moments.append(time.monotonic())
            self._chunks.append(np.frombuffer(data, dtype=np.float32))

    def testify(self) -> tuple[float, float]:
        """Stop, and return when the last chunk of speech and the last sound ended."""
        self._listener.kill()
        self._listener.wait()
        self._thread.join()
        self._listener.stdout.close()
        speech = activity.speech_mask(activity.probabilities(np.concatenate(self._chunks)))
        audible = [np.abs(chunk).max() > AUDIBLE for chunk in self._chunks]
        return self._moments[_last(speech)], self._moments[_last(audible)]


def _last(flags: np.ndarray | list[bool]) -> int:
    return int(np.flatnonzero(flags)[-1])


@dataclass(frozen=True)
class Login:
    """One login: seconds from the end of speech, and from the last sound, to the decision."""

    after_speech_s: float
    after_sound_s: float
    computing_s: float
    accepted: bool
    reason: str


class Booth:
    """A microphone, and a database in which the person is enrolled."""

    def __init__(self, microphone: VirtualMicrophone, folder: Path, name: str) -> None:
        self._microphone, self._folder, self._name = microphone, folder, name
        recordings = sorted((RECORDINGS / name).glob("enrol-*.flac"))
        files = [f"--with-file={path}" for path in recordings]
        subprocess.run(
            [*self._command("enroll"), "--consent", *files],
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @property
    def _environment(self) -> dict[str, str]:
        # A synthetic voice says a digit the same way each time: that would be heard before.
        chosen = {"MEMBRANE_LOCKOUT": "off", "MEMBRANE_REPLAY": "allow"}
        return {**self._microphone.environment, **chosen, "MEMBRANE_HOME": str(self._folder)}

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "membrane", name, "--username", self._name]

    def log_in(self) -> Login:
        """Log in once, hearing when the speech ends and seeing when the decision appears."""
        witness = Witness(self._microphone)
        with subprocess.Popen(
            [*self._command("verify"), "--json", "--attempts=1"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            prompt = next(line for line in command.stderr if line.startswith("Please say:"))
            self._microphone.begin_saying(self._said(prompt.partition(":")[2]))
            decision = command.stdout.readline()
            decided_at = time.monotonic()
            if not decision:
                raise SystemExit(f"{prompt}{command.stderr.read()}")
        speech_at, sound_at = witness.testify()
        answer = json.loads(decision)
        return Login(
            after_speech_s=decided_at - speech_at,
            after_sound_s=decided_at - sound_at,
            computing_s=sum(answer["timings"].values()),
            accepted=answer["accepted"],
            reason=answer["reason"],
        )

    def _said(self, prompt: str) -> Path:
        """Return a recording of what is asked for."""
        string = "".join(prompt.split())
        path = self._folder / "said.wav"
        take = Take(string, spoken(string), change=0)
        soundfile.write(path, record(PEOPLE[self._name], take, seed=int(string)), SAMPLE_RATE)
        return path


def show(title: str, seconds: list[float]) -> None:
    """Print the median and the 95th percentile."""
    half, most = np.percentile(seconds, [50, 95])
    print(f"{title:<44} p50 {half:5.2f} s   p95 {most:5.2f} s")


def main() -> None:
    """Log in again and again and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logins", type=int, default=20)
    parser.add_argument("--person", choices=PEOPLE, default="edgar")
    options = parser.parse_args()
    with VirtualMicrophone() as microphone, tempfile.TemporaryDirectory() as folder:
        booth = Booth(microphone, Path(folder), options.person)
        logins = [booth.log_in() for _ in range(options.logins)]
    accepted = sum(login.accepted for login in logins)
    print(f"{len(logins)} logins of {options.person}, {accepted} accepted; {os.cpu_count()} cores")
    for login in logins:
        if not login.accepted:
            print(f"refused: {login.reason}")
    show("end of speech to decision", [login.after_speech_s for login in logins])
    show("last audible sound to decision", [login.after_sound_s for login in logins])
    show("of it: quality, words, voice", [login.computing_s for login in logins])
    print(f"{'of it: the silence that ends a recording':<44}     {END_SILENCE_S:5.2f} s")


if __name__ == "__main__":
    main()
