"""The check of words: one recognizer, as the settings want it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from membrane.audio.utterance import Samples
from membrane.errors import UsageError
from membrane.phrase.matching import normalise, spoken_words
from membrane.phrase.recognizer import PhraseMatch, Recognizer, load_recognizer

LEAST_PASSPHRASE_WORDS = 3
"""Fewer words are too short to judge a voice by, and too easily guessed."""

MOST_PASSPHRASE_WORDS = 20
"""More take longer to say than a recording lasts."""


class Words:
    """Checks whether phrases were said.

    Parameters
    ----------
    engine : str
        A key of `membrane.phrase.recognizer.ENGINES`.
    strict : bool
        Ask for the stricter score of ``--security strict``.
    processes : int
        Processes that check words; 0 checks them in this one.
    files : mapping of str to Path, optional
        Model and scorer of one's own, where the engine takes them.
    """

    def __init__(
        self,
        engine: str,
        *,
        strict: bool = False,
        processes: int = 0,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = engine
        self.strict = strict
        self._processes = processes
        self._files = files or {}

    @cached_property
    def recognizer(self) -> Recognizer:
        """The engine, loaded when it is needed."""
        return load_recognizer(self.name, processes=self._processes, **self._files)

    def check(self, samples: Samples, expected: str) -> PhraseMatch:
        """Judge whether `expected` was said; see `Recognizer.match`."""
        return self.recognizer.match(samples, expected, strict=self.strict)

    def transcribe(self, samples: Samples) -> str:
        """Return the words that were heard; see `Recognizer.transcribe`."""
        return self.recognizer.transcribe(samples)

    def whose(self, samples: Samples, passphrases: Sequence[str]) -> list[tuple[int, PhraseMatch]]:
        """Return whose passphrase was said: every one that passes, best first.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        passphrases : sequence of str
            All that are enrolled.

        Returns
        -------
        list of (int, PhraseMatch)
            Index into `passphrases` and its match, by falling score.
        """
        matches = enumerate(self.recognizer.match(samples, phrase) for phrase in passphrases)
        accepted = [(index, match) for index, match in matches if match.accepted]
        return sorted(accepted, key=lambda found: found[1].score, reverse=True)

    def check_passphrase(self, phrase: str) -> str:
        """Return a personal passphrase as it is stored.

        Raises
        ------
        UsageError
            If it is too short, too long, or has a word that the recognizer does not know.
        """
        passphrase = normalise(phrase)
        if not LEAST_PASSPHRASE_WORDS <= len(passphrase.split()) <= MOST_PASSPHRASE_WORDS:
            raise UsageError(
                f"a passphrase has {LEAST_PASSPHRASE_WORDS} to {MOST_PASSPHRASE_WORDS} words: "
                "choose a sentence of your own"
            )
        spoken_words(self.recognizer, passphrase)
        return passphrase
