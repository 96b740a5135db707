"""Words checked in a few processes, so that any number of threads may ask at once.

PocketSphinx holds Python's lock while it decodes: in a thread it would stop every other thread, the
level meter and a server's connections among them. Each process serves one caller at a time and
ends with its program. One that dies, or takes too long, is replaced. A child of a fork starts
processes of its own.

A request is a line of JSON that holds a number, what to do and how many samples follow, then the
samples as 32-bit floats. The answer is a line of JSON that repeats the number, so that no answer is
taken for another's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import count
from multiprocessing import spawn
from threading import Condition, Event, Timer
from typing import IO, Any
from weakref import WeakSet, finalize

import numpy as np

from membrane import errors
from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import EngineUnavailable
from membrane.phrase.recognizer import PhraseMatch
from membrane.phrase.recognizers.deepspeech_worker import limit
from membrane.phrase.recognizers.pocketsphinx import PocketSphinxRecognizer
from membrane.system.forks import unforked

PATIENCE_S = 20.0
"""Seconds that a check may take besides those for the length of the sound; 0.3 s are usual."""

PATIENCE_PER_SECOND_S = 2.0
"""Seconds that a second of sound may take; 0.06 s are usual."""

MOST_MEMORY = 2 * 1024**3
"""Bytes of address space. A minute of sound that is checked for twenty words took 0.5 GB
(``python -m benchmarks.sharing --memory``)."""

LONGEST_ANSWER = 65_536
"""Bytes of an answer at most."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads of linear algebra would take address space and help nothing."""

BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from membrane.phrase.recognizers.word_processes import serve_standard_input; "
    "serve_standard_input()"
)


class _Died(Exception):
    """The process ended before it answered; the message says how."""


class _Worker:
    """One process; used by one caller at a time."""

    def __init__(self) -> None:
        command = [os.fsdecode(spawn.get_executable()), "-c", BOOT, json.dumps(sys.path)]
        try:
            # Without buffers a child of a fork can close its copies and write nothing by that.
            self.process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | ONE_THREAD,
            )
        except OSError as error:
            raise EngineUnavailable(
                f"the process that checks words cannot be started ({error.strerror}): "
                "free some memory"
            ) from None

    def ask(self, request: bytes, number: int, patience_s: float) -> dict[str, Any]:
        """Return the answer to a request.

        Raises
        ------
        _Died
            If the process is gone.
        EngineUnavailable
            If it takes longer than `patience_s`.
        """
        late = Event()
        timer = Timer(patience_s, self._stop, [late])
        timer.daemon = True
        timer.start()
        try:
            line = self._exchange(request)
        finally:
            timer.cancel()
        if late.is_set():
            raise EngineUnavailable(
                f"checking the words took longer than {patience_s:.0f} s: try again"
            )
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        if answer.pop("number", None) != number:
            self.end()
            code = self.process.returncode
            end = f"died: {signal.strsignal(-code)}" if code < 0 else f"ended with code {code}"
            raise _Died(f"it {end}")
        return answer

    def _stop(self, late: Event) -> None:
        late.set()
        self.process.kill()

    def _exchange(self, request: bytes) -> bytes:
        """Send all of a request, and return a line, empty or cut off if the process died."""
        requests, answers = self.process.stdin, self.process.stdout
        assert requests is not None
        assert answers is not None
        left = memoryview(request)
        with suppress(BrokenPipeError):
            while left:
                left = left[requests.write(left) :]
            return answers.readline(LONGEST_ANSWER)
        return b""

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()  # does nothing to one that has ended
        self.process.wait()
        self._close()

    def leave(self) -> None:
        """Let go of a process that belongs to the parent of this one."""
        self._close()
        self.process.returncode = 0  # it is not ours to wait for

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class WordProcesses:
    """Checks words in processes; see `membrane.phrase.recognizer.Recognizer`.

    Parameters
    ----------
    most : int
        Processes at most. They are started when they are needed, and end with this object.
    """

    name = "pocketsphinx"

    def __init__(self, most: int) -> None:
        self._most = most
        self._numbers = count()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._changed = Condition()
        self._end = finalize(self, _end_all, self._workers)
        _everywhere.add(self)

    unknown_words = staticmethod(PocketSphinxRecognizer.unknown_words)

    def match(self, samples: Samples, expected: str, *, strict: bool = False) -> PhraseMatch:
        """Judge whether `expected` was said; see `membrane.phrase.recognizer.Recognizer`."""
        answer = self._ask(samples, do="match", expected=expected, strict=strict)
        return PhraseMatch(**answer["match"])

    def transcribe(self, samples: Samples) -> str:
        """Return the words that were heard; see `membrane.phrase.recognizer.Recognizer`."""
        return str(self._ask(samples, do="transcribe")["words"])

    def _ask(self, samples: Samples, **call: Any) -> dict[str, Any]:
        number = next(self._numbers)
        head = json.dumps({"number": number, "samples": len(samples), **call})
        request = head.encode() + b"\n" + np.ascontiguousarray(samples, np.float32).tobytes()
        patience_s = PATIENCE_S + PATIENCE_PER_SECOND_S * len(samples) / SAMPLE_RATE
        for anew in (False, True):
            try:
                with self._one(anew=anew) as worker:
                    answer = worker.ask(request, number, patience_s)
                break
            except _Died as death:
                # The first time perhaps by no fault of this sound: it was killed, or had died.
                if anew:
                    raise EngineUnavailable(
                        f"the process that checks words failed twice ({death}): "
                        "free some memory, or reinstall pocketsphinx"
                    ) from None
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["message"])
        return answer

    @contextmanager
    def _one(self, *, anew: bool) -> Iterator[_Worker]:
        """Lend out a process, the one used last if it is idle; end it if the caller fails."""
        worker = self._taken(anew=anew)
        try:
            yield worker
        except BaseException:
            # It may still be busy with this request, or dead.
            with self._changed:
                self._workers.discard(worker)
                self._changed.notify()
            worker.end()
            raise
        with self._changed:
            self._idle.append(worker)
            self._changed.notify()

    def _taken(self, *, anew: bool) -> _Worker:
        with self._changed:
            while not self._idle and len(self._workers) >= self._most:
                self._changed.wait()
            if self._idle:
                worker = self._idle.pop()
                if not anew:
                    return worker
                self._workers.discard(worker)
                worker.end()
            with unforked:  # a child would keep copies of its pipes, and keep it alive by them
                worker = _Worker()
                self._workers.add(worker)
            return worker

    def _forked(self) -> None:
        """Begin anew in a child of a fork: the processes are its parent's."""
        for worker in self._workers:
            worker.leave()
        self._workers.clear()
        self._idle.clear()
        self._changed = Condition()

    def __reduce__(self) -> tuple[type[WordProcesses], tuple[int]]:
        return WordProcesses, (self._most,)


_everywhere: WeakSet[WordProcesses] = WeakSet()


def _all_forked() -> None:
    for one in list(_everywhere):
        one._forked()


def _end_all(workers: set[_Worker]) -> None:
    for worker in list(workers):
        worker.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)


# ---- In the process that checks words


def _answer_to(recognizer: PocketSphinxRecognizer, call: dict[str, Any], samples: Samples) -> Any:
    """Return the answer to one request, as JSON values."""
    try:
        if call["do"] == "transcribe":
            return {"words": recognizer.transcribe(samples)}
        match = recognizer.match(samples, call["expected"], strict=call["strict"])
    except errors.MembraneError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"match": asdict(match)}


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the other side closes its end."""
    recognizer = PocketSphinxRecognizer()
    while line := requests.readline():
        call = json.loads(line)
        sound = requests.read(4 * call["samples"])
        if len(sound) < 4 * call["samples"]:
            return
        found = _answer_to(recognizer, call, np.frombuffer(sound, np.float32))
        answer = {"number": call["number"], **found}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def serve_standard_input() -> None:
    """Serve standard input; keep what native code may print out of the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the program, which decides
    limit(MOST_MEMORY)  # and no core dump, which would hold what was said
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(BrokenPipeError):  # the program has ended
        _serve(sys.stdin.buffer, answers)
