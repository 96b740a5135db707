"""The contract every recognizer keeps, and the list of those that exist.

A new engine is one module with a class that has the members of `Recognizer`, and a line in
`ENGINES`.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from membrane.audio.utterance import Samples
from membrane.errors import UsageError


@dataclass(frozen=True)
class PhraseMatch:
    """Whether an expected phrase was said.

    Parameters
    ----------
    expected : str
        The words asked for, normalised: lower case, digits as words.
    heard : str
        What the recognizer took the words for; empty if it found none.
    accepted : bool
    score : float
        How much better the expected words explain the sound than the best other words do; what
        is in it depends on the recognizer.
    threshold : float
        The least score that is accepted.
    problem : str
        Empty if accepted, else "other words" or "not speech".
    """

    expected: str
    heard: str
    accepted: bool
    score: float
    threshold: float
    problem: str = ""


class Recognizer(Protocol):
    """Utterance to words."""

    @property
    def name(self) -> str:
        """Name of the engine, as in ``--recognizer``."""

    def unknown_words(self, phrase: str) -> list[str]:
        """Return the words of a phrase that this recognizer could never hear."""

    def match(self, samples: Samples, expected: str, *, strict: bool = False) -> PhraseMatch:
        """Judge whether `expected` was said.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        expected : str
            The phrase asked for, as `membrane.phrase.matching.normalise` returns it or not.
        strict : bool
            Ask for the stricter score of ``--security strict``.

        Raises
        ------
        EngineUnavailable
            If the engine cannot run or died.
        UsageError
            If `expected` holds no word or one that the recognizer does not know.
        """

    def transcribe(self, samples: Samples) -> str:
        """Return the words that were heard, lower case, empty for none.

        Raises
        ------
        EngineUnavailable
            If the engine cannot run or died.
        """


MOST_PROCESSES = 4
"""Processes that check words, where nothing else is asked for: each takes about 70 MB."""

ENGINES = {
    "pocketsphinx": ("membrane.phrase.recognizers.pocketsphinx", "PocketSphinxRecognizer"),
    "deepspeech": ("membrane.phrase.recognizers.deepspeech", "DeepSpeechRecognizer"),
}
"""Engine name to the module and class that implement it (imported only when asked for)."""

IN_PROCESSES = {"pocketsphinx": ("membrane.phrase.recognizers.word_processes", "WordProcesses")}
"""The same for engines that hold Python's lock and can run in processes of their own."""


def load_recognizer(name: str, *, processes: int = 0, **options: Any) -> Recognizer:
    """Return the recognizer of that name.

    Parameters
    ----------
    name : str
        A key of `ENGINES`.
    processes : int
        Processes that check words, for a program with several threads; 0 checks them in this one,
        which is cheaper for a single utterance. (DeepSpeech always runs in processes.)
    **options
        Passed to the engine's class, such as the paths of a model and a scorer.

    Raises
    ------
    UsageError
        If there is no such recognizer.
    Unavailable
        If it cannot run here.
    """
    if name not in ENGINES:
        raise UsageError(f"no recognizer is called {name!r}: choose from {', '.join(ENGINES)}")
    module, class_name = ENGINES[name]
    if processes and name in IN_PROCESSES:
        (module, class_name), options = IN_PROCESSES[name], {"most": processes}
    engine: Recognizer = getattr(import_module(module), class_name)(**options)
    return engine
