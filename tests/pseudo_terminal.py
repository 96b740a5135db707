"""A terminal for tests: a program in a pseudo-terminal, what it shows, and what is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

CTRL_C, CTRL_D = "\x03", "\x04"

TAKE_TERMINAL = 'exec <>"$1" 2>&0; [ -z "$2" ] && exec >&0 || exec >"$2"; shift 2; exec "$@"'
"""The leader of a session owns the first terminal that it opens: only then does Ctrl-C reach it."""


class Terminal:
    """A program that runs in a terminal of its own; a context manager that ends it.

    Parameters
    ----------
    command : sequence of str
    environment : mapping of str to str
    columns : int
    answers : Path, optional
        Where standard output goes instead of to the terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 60,
        answers: Path | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.raw = b""
        self._read_until = 0
        take = ["sh", "-c", TAKE_TERMINAL, "sh", os.ttyname(theirs), str(answers or "")]
        self._process = subprocess.Popen(
            [*take, *command],
            env={"TERM": "xterm", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Kept open until the program has opened it too: without anybody it would look hung up.
        self._theirs: int | None = theirs

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._theirs is not None:
            os.close(self._theirs)
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was shown so far, without colours and movements."""
        return ESCAPES.sub("", self.raw.decode(errors="replace"))

    def wait_for(self, pattern: str, timeout_s: float = 20) -> re.Match[str]:
        """Read on until the pattern is shown, and return it; the next search begins after."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.compile(pattern).search(self.text, self._read_until)):
            shown = self._read(deadline - time.monotonic())
            assert shown, f"{pattern!r} did not appear; the terminal shows:\n{self.text}"
        self._read_until = found.end()
        return found

    def type(self, keys: str) -> None:
        """Press keys; a line ends with the key Enter, which is added where none is a control."""
        os.write(self._ours, keys.encode() if keys in {CTRL_C, CTRL_D} else f"{keys}\n".encode())

    def finish(self, timeout_s: float = 20) -> int:
        """Read on until the program ends, and return its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"still running; the terminal shows:\n{self.text}"
            self._read(0.05)
        while self._read(0):
            continue
        return self._process.returncode

    def _read(self, patience_s: float) -> bool:
        """Take what the program shows next; False if that is nothing for so long, or for ever."""
        ready, _, _ = select.select([self._ours], [], [], max(patience_s, 0))
        if not ready:
            return False
        try:
            shown = os.read(self._ours, 65536)
        except OSError:  # on Linux the end of a terminal
            return False
        self.raw += shown
        return bool(shown)
