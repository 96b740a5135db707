"""Batches: what the network hears at each step. The recipe's seed and the step decide it."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from mmap import ACCESS_READ, mmap
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from membrane.audio.utterance import Samples
from membrane.errors import EngineUnavailable, UsageError
from membrane.evaluation.parallel import deaf_to_interrupts
from membrane.training.augmentation import Augmentation, at_speed
from membrane.training.material import HalfSamples, Material, Speaker
from membrane.training.recipe import Recipe
from membrane.voice.frontends.mels import STEP, mel_spectrogram

MOST_JOINED = 6
"""Most utterances in a stretch."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that numpy's libraries read when they start."""

ALIGNED = 64
"""Every array on a shelf starts at a multiple of this many bytes."""

Spectrogram = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Array = TypeVar("Array")
ALL = slice(None)


class Batch(NamedTuple, Generic[Array]):
    """The data of one step. Rows 2k and 2k + 1 are two stretches of one speaker.

    Parameters
    ----------
    heard, wanted : np.ndarray or torch.Tensor, shape (rows, frames, 40), float32
        Mel power spectrograms of the stretch as it is heard, and without its noise. They are 0
        after the end.
    lengths : np.ndarray or torch.Tensor, shape (rows,), int64
        Frames that are sound.
    speakers : np.ndarray, shape (rows,), int64
        Indices into `Material.voices`. Voices at another speed have numbers after those.
    utterances : np.ndarray, shape (rows,), int64
        Index of the utterance that each stretch begins with.
    """

    heard: Array
    wanted: Array
    lengths: Array
    speakers: Array
    utterances: Array


class Batches:
    """All batches of a training. Each depends only on the material, the recipe and its step.

    Raises
    ------
    UsageError
        If there are fewer speakers than a batch has, or a codec is missing.
    """

    def __init__(self, material: Material, recipe: Recipe) -> None:
        if len(material.voices) < recipe.speakers:
            raise UsageError(
                f"a batch has {recipe.speakers} speakers, but there are {len(material.voices)} to "
                "learn from: give more speech, or set speakers in the recipe lower"
            )
        self.material = material
        self.recipe = recipe
        self._augmentation = Augmentation(recipe.augmentation, material)
        weights = np.array([recipe.short_share if v.brief else 1.0 for v in material.voices])
        self._shares = weights / weights.sum()

    def at(self, step: int, rows: slice = ALL) -> Batch[np.ndarray]:
        """Return the batch of a step, or some rows of it.

        Parameters
        ----------
        step : int
            The first step is 0.
        rows : slice
            Rows to return (default: all).
        """
        speakers = self._speakers(step)
        places = range(2 * self.recipe.speakers)[rows]
        made = [self._row(step, row, int(speakers[row // 2])) for row in places]
        return Batch(
            np.stack([self._filled(heard) for heard, _, _ in made]),
            np.stack([self._filled(wanted) for _, wanted, _ in made]),
            np.array([len(heard) for heard, _, _ in made], np.int64),
            np.array([speakers[place // 2] for place in places], np.int64),
            np.array([utterance for _, _, utterance in made], np.int64),
        )

    def iterate(
        self, first: int, last: int, *, workers: int = 1, rows: slice = ALL
    ) -> Generator[Batch[np.ndarray]]:
        """Yield the batches of several steps, which other processes make ahead.

        Stopping early, an interrupt or a kill leaves no process behind.

        Parameters
        ----------
        first, last : int
            The steps ``range(first, last)``.
        workers : int
            Number of processes. With 0, each batch is made on request.
        rows : slice
            Rows to make of each batch.

        Raises
        ------
        EngineUnavailable
            If a process died.
        """
        if workers < 1 or first >= last:
            yield from (self.at(step, rows) for step in range(first, last))
            return
        shares = [range(first + n, last, workers) for n in range(workers)]
        with ExitStack() as running:
            with tempfile.TemporaryDirectory(prefix="membrane-") as folder:
                shelf = Path(folder) / "batches"
                shelve(self, shelf)
                ends = [running.enter_context(_process(shelf, steps, rows)) for steps in shares]
                for end in ends:
                    _received(end)
            # The workers have the file open, so it disappears however this process ends.
            for step in range(first, last):
                yield _received(ends[(step - first) % workers])

    def _speakers(self, step: int) -> Numbers:
        """Return the speakers of a batch, each once. A changed speed makes another speaker."""
        recipe = self.recipe.augmentation
        chance = np.random.default_rng([self.recipe.seed, step])
        count = len(self.material.voices)
        drawn = chance.choice(count, self.recipe.speakers, replace=False, p=self._shares)
        changed = chance.random(len(drawn)) < recipe.speed_share
        return np.asarray(drawn + count * changed * chance.integers(1, 3, len(drawn)), np.int64)

    def _row(self, step: int, row: int, speaker: int) -> tuple[Spectrogram, Spectrogram, int]:
        """Return what is heard, what is wanted, and the number of the first utterance."""
        # A trailing 0 changes nothing: the row would get the seed of its batch.
        chance = np.random.default_rng([self.recipe.seed, step, row + 1])
        version, place = divmod(speaker, len(self.material.voices))
        voice = self.material.voices[place]
        factor = (1.0, *self.recipe.augmentation.speeds)[version]
        samples, utterance = self._stretch(voice, factor, chance)
        heard, wanted = self._augmentation(samples, chance, voice.speaker)
        spectrogram = mel_spectrogram(heard)
        clean = spectrogram if heard is wanted else mel_spectrogram(wanted)
        return spectrogram, clean, utterance

    def _stretch(
        self, voice: Speaker, factor: float, chance: np.random.Generator
    ) -> tuple[Samples, int]:
        """Return up to one row of speech of one person, and the number of its first utterance."""
        length = (self.recipe.frames - 1) * STEP
        source = math.ceil(length * factor)
        whole, first = self._joined(voice, source, chance)
        start = int(chance.integers(max(0, len(whole) - source) + 1))
        samples = whole[start : start + source].astype(np.float32)
        return (samples if factor == 1.0 else at_speed(samples, factor)[:length]), first

    def _joined(
        self, voice: Speaker, length: int, chance: np.random.Generator
    ) -> tuple[HalfSamples, int]:
        """Return utterances joined until they are long enough, and the number of the first."""
        raw = chance.random() < self.recipe.raw_share
        spoken = [one.whole if raw else one.speech for one in voice.utterances]
        first = int(chance.integers(len(spoken)))
        parts = [spoken[first]]
        while (
            sum(map(len, parts)) < length
            and len(spoken) > 1
            and len(parts) < MOST_JOINED
            and chance.random() < self.recipe.join_share
        ):
            parts.append(spoken[chance.integers(len(spoken))])
        return np.concatenate(parts), first

    def _filled(self, spectrogram: Spectrogram) -> Spectrogram:
        return np.pad(spectrogram, ((0, self.recipe.frames - len(spectrogram)), (0, 0)))


@contextmanager
def _process(shelf: Path, steps: range, rows: slice) -> Iterator[Connection]:
    """Start a process that makes batches, and yield the pipe to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_make, args=(shelf, steps, rows, theirs), daemon=True)
    with _quiet_start():
        process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.terminate()
        process.join()


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Make new processes use one thread each and ignore Ctrl-C."""
    before = {name: os.environ[name] for name in THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        with deaf_to_interrupts():
            yield
    finally:
        for name in THREADS:
            del os.environ[name]
        os.environ.update(before)


def _make(shelf: Path, steps: range, rows: slice, end: Connection) -> None:
    """Make batches until all are made or the reader is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    batches = unshelved(shelf)
    # A pipe holds less than a batch, so this waits until the previous batch is taken.
    with suppress(BrokenPipeError, ConnectionResetError):
        end.send(None)
        for step in steps:
            end.send(batches.at(step, rows))


def _received(end: Connection) -> Any:
    try:
        return end.recv()
    except (EOFError, ConnectionResetError):
        raise EngineUnavailable(
            "a process that made batches died, perhaps for want of memory: use fewer workers"
        ) from None


# ---- A shelf: a value with large arrays in a file that several processes read without copies


def shelve(value: Any, path: Path) -> None:
    """Write a value to a file.

    Parameters
    ----------
    value : object
        Anything that pickles. Its arrays are written as they lie in memory.
    path : Path
        File to overwrite. Only this user may be able to write to it: reading it runs its content.
    """
    buffers: list[pickle.PickleBuffer] = []
    whole = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    places = []
    with path.open("wb") as file:
        for buffer in buffers:
            start = file.tell()
            places.append((start, start + file.write(buffer.raw())))
            file.write(bytes(-file.tell() % ALIGNED))
        index = pickle.dumps((whole, places))
        file.write(index)
        file.write(len(index).to_bytes(8, "little"))


def unshelved(path: Path) -> Any:
    """Return a value that `shelve` wrote. Its arrays are read-only."""
    with path.open("rb") as file:
        view = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    length = int.from_bytes(view[-8:], "little")
    whole, places = pickle.loads(view[-8 - length : -8])  # noqa: S301 (our own file)
    return pickle.loads(whole, buffers=[view[start:end] for start, end in places])  # noqa: S301
