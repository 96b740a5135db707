"""DeepSpeech 0.9.3 as a recognizer: its C library in a guarded child process.

A damaged model or scorer makes that library crash or take all memory, and two threads that share
a model crash it. So every sound is transcribed by a process of its own, with limits of memory and
time, and the death of that process is an error like any other. A fresh process each time keeps
nothing alive between two sounds: no crash is carried over, no orphan stays. It costs little,
because the library maps model and scorer into memory instead of reading them (DeepSpeech's
``scorer.cpp`` and ``tflitemodelstate.cc``): starting and loading took 0.03 s, with a tiny model
and with the same padded to the official sizes.
"""

import json
import re
import signal
import subprocess
import sys
from errno import ENOENT
from pathlib import Path

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import EngineUnavailable, ModelUnavailable
from membrane.models.registry import path_of
from membrane.phrase.matching import match_transcript, normalise, spoken_words
from membrane.phrase.recognizer import PhraseMatch

WORKER = Path(__file__).with_name("deepspeech_worker.py")

MODEL_MAGIC = (4, b"TFL3")
"""Offset and value of the identifier of a TensorFlow Lite file (its ``schema.fbs``)."""

SCORER_MAGIC = (0, b"mmap lm http://kheafield.com/code format version 5\n\0")
"""Offset and value of the same of a KenLM binary (its ``lm/binary_format.cc``)."""

OWN_MEMORY = 1024**3
"""Bytes of address space for all but model and scorer; 0.16 GB were seen."""

MAPPINGS = 2
"""How often a file may be mapped: the scorer is, once as language model and once as word tree."""

START_S = 5
"""Seconds that a transcription may take besides those for the length of the sound."""

PER_SECOND_S = 3
"""Seconds that a second of sound may take: real time is slow for the official model on x86-64."""

THREADS = 4
"""Threads of the library, so seconds of processor time in one (its ``tflitemodelstate.cc``)."""

OTHER_ENGINE = "or choose --recognizer pocketsphinx"


class DeepSpeechRecognizer:
    """Transcribes freely with DeepSpeech, then compares with the phrase that was asked for.

    Parameters
    ----------
    library : Path, optional
        DeepSpeech's C library; by default the fetched one.
    model : Path, optional
        A TensorFlow Lite model of DeepSpeech 0.9; by default the fetched one.
    scorer : Path, optional
        Its language model; by default the fetched one, or none beside a model of one's own.

    Raises
    ------
    ModelUnavailable
        If one of the files is missing or is plainly not what it should be, or if there is no
        DeepSpeech for this platform.
    """

    name = "deepspeech"

    def __init__(
        self,
        library: Path | None = None,
        model: Path | None = None,
        scorer: Path | None = None,
    ) -> None:
        self._library = _with_bytes(library or path_of("deepspeech-library"), "library")
        self._model = _with_bytes(model or path_of("deepspeech-model"), "model", MODEL_MAGIC)
        if scorer is None and model is None:
            scorer = path_of("deepspeech-scorer")
        self._scorer = scorer and _with_bytes(scorer, "scorer", SCORER_MAGIC)
        mapped = [self._model, *([self._scorer] if self._scorer else [])]
        self._memory = OWN_MEMORY + MAPPINGS * sum(file.stat().st_size for file in mapped)
        self._remedy = (
            f"give an undamaged DeepSpeech 0.9 --model and --scorer, {OTHER_ENGINE}"
            if model or scorer
            else f"delete {self._model.parent} and run `membrane weights fetch deepspeech`"
        )
        self._last: tuple[bytes, str] = (b"", "")

    def unknown_words(self, phrase: str) -> list[str]:
        """Return the words that are not of English letters, the only ones DeepSpeech writes."""
        return [word for word in normalise(phrase).split() if not re.fullmatch("[a-z']+", word)]

    def match(self, samples: Samples, expected: str, *, strict: bool = False) -> PhraseMatch:
        """Judge whether `expected` was said; see `membrane.phrase.recognizer.Recognizer`."""
        spoken_words(self, expected)
        return match_transcript(expected, self.transcribe(samples), strict=strict)

    def transcribe(self, samples: Samples) -> str:
        """Return the words that were heard; see `membrane.phrase.recognizer.Recognizer`.

        The last sound's words are remembered: a passphrase is searched by matching one sound with
        every passphrase that is enrolled.
        """
        sound = np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2").tobytes()
        last = self._last  # another thread may replace it meanwhile
        if sound != last[0]:
            self._last = last = (sound, self._listen(sound))
        return last[1]

    def _listen(self, sound: bytes) -> str:
        limit_s = round(START_S + PER_SECOND_S * len(sound) / 2 / SAMPLE_RATE)
        command = [sys.executable, "-I", "-S", str(WORKER)]
        command += [str(self._library), str(self._model), str(self._scorer or "")]
        command += [str(self._memory), str(THREADS * limit_s)]
        try:
            # Whatever happens, Ctrl-C too, no process is left.
            child = subprocess.run(
                command,
                input=sound,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineUnavailable(
                f"DeepSpeech did not answer in {limit_s} s: {self._remedy}"
            ) from None
        except OSError as error:
            raise EngineUnavailable(
                f"DeepSpeech's process cannot be started ({error.strerror}): free some memory, "
                f"{OTHER_ENGINE}"
            ) from None
        return self._understood(child.returncode, child.stdout)

    def _understood(self, code: int, answer: bytes) -> str:
        said: dict[str, str] = {}
        for line in answer.split(b"\n")[:-1]:
            said |= json.loads(line)
        if code == 0 and "text" in said:
            return said["text"].strip()
        end = f"died: {signal.strsignal(-code)}" if code < 0 else f"ended with code {code:#x}"
        cause = said.get("error") or f"it {end}"
        raise EngineUnavailable(f"DeepSpeech {self._failure(said.get('step', 'start'), cause)}")

    def _failure(self, step: str, cause: str) -> str:
        if step in ("start", "library"):
            return f"cannot run here: its library {self._library} failed ({cause}); {OTHER_ENGINE}"
        files = {
            "model": f"load the model {self._model}",
            "scorer": f"load the scorer {self._scorer}",
        }
        both = f"listen with the model {self._model} and the scorer {self._scorer or '(none)'}"
        return f"failed to {files.get(step, both)} ({cause}): {self._remedy}"


def _with_bytes(path: Path, kind: str, magic: tuple[int, bytes] = (0, b"")) -> Path:
    """Return `path` if it is a file, not empty, that begins as its kind does."""
    offset, wanted = magic
    try:
        if not path.is_file():
            raise FileNotFoundError(ENOENT, "there is no such file")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ModelUnavailable(
            f"DeepSpeech's {kind} {path} cannot be read ({error.strerror}): "
            f"give another {kind}, or run `membrane weights fetch deepspeech`"
        ) from None
    if not head or head[offset : offset + len(wanted)] != wanted:
        raise ModelUnavailable(
            f"{path} is not a {kind} of DeepSpeech 0.9: "
            f"give another {kind}, or run `membrane weights fetch deepspeech`"
        )
    return path
