"""A microphone without hardware: a PulseAudio server of our own whose source hears what we play.

A program that is to hear it needs `VirtualMicrophone.environment`: PortAudio reads ``~/.asoundrc``
once, when it is loaded, so that a child process is the dependable way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAMS = ("pulseaudio", "pactl", "paplay", "parec")

ASOUNDRC = """\
pcm.!default { type pulse }
ctl.!default { type pulse }
"""

SPEAKER = "speaker"


def missing_programs() -> list[str]:
    """Return the programs that are needed and not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class VirtualMicrophone:
    """A sound server in a folder of its own, running while the context lasts.

    Attributes
    ----------
    environment : dict of str
        The environment of a program that records from it.
    """

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="microphone-"))
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        (self.folder / ".asoundrc").write_text(ASOUNDRC)
        elsewhere = ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "XDG_CONFIG_HOME", "ALSA_CONFIG_PATH")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in elsewhere},
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(runtime),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.server = self._start(
            "pulseaudio",
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--load=module-native-protocol-unix",
            f"--load=module-null-sink sink_name={SPEAKER} rate=48000",
            "--load=module-always-sink",
        )
        self._await_server()
        self._run("pactl", "set-default-source", f"{SPEAKER}.monitor")
        self._keep_awake()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def say(self, path: Path) -> None:
        """Play a sound file to the microphone and return when it has been heard."""
        self._run("paplay", f"--device={SPEAKER}", str(path))

    def begin_saying(self, path: Path) -> subprocess.Popen[bytes]:
        """Start to play a sound file to the microphone; wait for the process to know its end."""
        return self._start("paplay", f"--device={SPEAKER}", str(path))

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _run(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=60)

    def _keep_awake(self) -> None:
        """Listen all the time: without a listener in a hurry a sink is up to 2 s late."""
        listen = ("parec", f"--device={SPEAKER}.monitor", "--latency-msec=10")
        self._start(*listen)
        with subprocess.Popen(listen, env=self.environment, stdout=subprocess.PIPE) as first:
            first.stdout.read(1)
            first.kill()

    def _await_server(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self._run("pactl", "info")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return
