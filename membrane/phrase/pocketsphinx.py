"""Whether an expected phrase was said, judged with PocketSphinx 5 and the model in its wheel.

PocketSphinx hears: one pass over the sound gives the words of a grammar of exactly as many words
as were asked for (what was `heard`), and the likelihood of every senone in every frame, which it
writes to a file. On those, `membrane.phrase.competition` lets other words compete for each slot
of the phrase. Two gates decide: the expected word must win every slot, or lose it by little; and
the words must be like that sound at all, which noise and other speech are not.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.audio.utterance import Samples
from membrane.errors import EngineUnavailable, UsageError
from membrane.phrase.acoustic_model import packaged_model
from membrane.phrase.competition import SCORE_UNIT, Competition, Vocabulary, compete
from membrane.phrase.matching import is_digits, normalise
from membrane.phrase.prompts import prompt_words
from membrane.phrase.recognizer import PhraseMatch

LEAST_ADVANTAGE = -30.0
"""The worst slot's least log likelihood ratio of the expected word to the best other word."""

LEAST_STRICT_ADVANTAGE = -15.0
"""The same for ``--security strict``."""

LEAST_LIKENESS = -7.0
"""Least log likelihood a frame, averaged over the words (0: the best sound in each frame)."""

DITHER = 1e-3
"""Standard deviation of the noise added to every sample (−60 dBFS): the model never saw digital
silence, and takes it for anything."""

SHORTEST = 1600
"""Samples that the decoder is given at least."""

DIGITS = {
    "zero": ("Z IH R OW", "Z IY R OW", "HH IH R OW", "HH IY R OW"),
    "one": ("W AH N",),
    "two": ("T UW",),
    "three": ("TH R IY", "F R IY", "HH R IY", "R IY"),
    "four": ("F AO R",),
    "five": ("F AY V",),
    "six": ("S IH K S", "F IH K F", "HH IH K", "IH K"),
    "seven": ("S EH V AH N",),
    "eight": ("EY T",),
    "nine": ("N AY N",),
}
"""Pronunciations of the digits: those of the CMU dictionary, and what is left of a hiss where the
microphone or the connection passes nothing above 4 kHz."""


class PocketSphinxRecognizer:
    """Checks an expected phrase; see `membrane.phrase.recognizer.Recognizer`."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        self._listener = _Listener()

    def unknown_words(self, phrase: str) -> list[str]:
        """Return the words of a phrase that are not in the packaged dictionary."""
        return [word for word in normalise(phrase).split() if not pronunciations(word)]

    def match(self, samples: Samples, expected: str, *, strict: bool = False) -> PhraseMatch:
        """Judge whether `expected` was said; see `membrane.phrase.recognizer.Recognizer`.

        The score is the natural-log likelihood ratio of the phrase as expected to the phrase
        with its least likely word exchanged for the best other word.
        """
        words = normalise(expected).split()
        self._check(words)
        vocabulary = _vocabulary(words)
        heard = self._listener.hear(samples, vocabulary.words, len(words))
        return judge(heard, words, vocabulary, strict=strict)

    def transcribe(self, samples: Samples) -> str:
        """Return what was heard by free dictation with the packaged language model.

        Six words of eleven were wrong where this was measured: show it, decide nothing by it.

        Raises
        ------
        EngineUnavailable
            If PocketSphinx failed.
        """
        decoder = _dictation()
        _decode(decoder, samples)
        return _words(decoder)

    def _check(self, words: Sequence[str]) -> None:
        if not words:
            raise UsageError("the phrase holds no word: give one that can be spoken")
        unknown = self.unknown_words(" ".join(words))
        if unknown:
            raise UsageError(
                f"the recognizer does not know {', '.join(unknown)}: choose other words"
            )


class Heard(NamedTuple):
    """What PocketSphinx made of an utterance.

    Parameters
    ----------
    words : str
        The best words of its grammar.
    likeness : float, natural log
        Their mean score a frame, as in `membrane.phrase.competition.Competition`.
    costs : np.ndarray, shape (frames, senones), int16
        Score of every senone in every frame; 0 is best.
    """

    words: str
    likeness: float
    costs: npt.NDArray[np.int16]


def judge(
    heard: Heard, words: Sequence[str], vocabulary: Vocabulary, *, strict: bool = False
) -> PhraseMatch:
    """Judge by what was heard whether a phrase was said.

    Parameters
    ----------
    heard : Heard
    words : sequence of str
        The phrase asked for.
    vocabulary : Vocabulary
        What competes for its slots.
    strict : bool
    """
    threshold = LEAST_STRICT_ADVANTAGE if strict else LEAST_ADVANTAGE
    found = compete(heard.costs, words, vocabulary)
    score = -np.inf if found is None else advantage(found, words, vocabulary)
    likeness = -np.inf if found is None else found.likeness.mean()
    accepted = bool(score >= threshold and likeness >= LEAST_LIKENESS)
    speech = heard.likeness >= LEAST_LIKENESS
    problem = "" if accepted else "other words" if speech else "not speech"
    return PhraseMatch(" ".join(words), heard.words, accepted, score, threshold, problem)


def advantage(found: Competition, words: Sequence[str], vocabulary: Vocabulary) -> float:
    """Return by how much the worst slot's expected word beats the best other word.

    Returns
    -------
    float, natural log
        Negative where another word fits better.
    """
    slots = np.arange(len(words))
    expected = [vocabulary.words.index(word) for word in words]
    others = found.scores.copy()
    others[slots, expected] = -np.inf
    return float((found.scores[slots, expected] - others.max(axis=1)).min())


class _Listener:
    """One PocketSphinx decoder and the folder that it writes senone scores to."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="membrane-")
        self._decoder = _new_decoder(self._folder.name)
        self._known: set[str] = set()

    def hear(self, samples: Samples, vocabulary: Sequence[str], count: int) -> Heard:
        """Return what was heard if it was `count` words of a vocabulary."""
        self._learn(vocabulary)
        slots, choice = " ".join(["<word>"] * count), " | ".join(vocabulary)
        grammar = f"#JSGF V1.0; grammar g; public <slots> = {slots}; <word> = {choice};"
        self._decoder.add_jsgf_string("slots", grammar)
        self._decoder.activate_search("slots")
        _decode(self._decoder, samples)
        return Heard(_words(self._decoder), _likeness(self._decoder), self._take_costs())

    def _learn(self, words: Sequence[str]) -> None:
        for word in words:
            if word in self._known:
                continue
            for number, phones in enumerate(pronunciations(word), start=1):
                name = word if number == 1 else f"{word}({number})"
                self._decoder.add_word(name, phones, False)
            self._known.add(word)

    def _take_costs(self) -> npt.NDArray[np.int16]:
        """Read and remove what PocketSphinx wrote: a header, then each frame's count and scores."""
        senones = packaged_model().senone_count
        (path,) = Path(self._folder.name).glob("*.sen")
        data = path.read_bytes()
        path.unlink()
        start = data.index(b"endhdr\n") + 11
        return np.frombuffer(data, np.int16, offset=start).reshape(-1, senones + 1)[:, 1:]


def _new_decoder(scores: str) -> Any:
    """Return a decoder without words that writes its senone scores into a folder.

    With `bestpath` words are dropped in noise; without `compallsen` only some senones are scored,
    and relative to those.
    """
    from pocketsphinx import Decoder

    return Decoder(
        lm=None,
        dict=None,
        bestpath=False,
        compallsen=True,
        lw=1,
        silprob=0.9,
        wip=1e-4,
        loglevel="FATAL",
        senlogdir=scores,
    )


def _decode(decoder: Any, samples: Samples) -> None:
    """Run a decoder over a whole utterance.

    Raises
    ------
    EngineUnavailable
        If PocketSphinx failed.
    """
    sound = _pcm(samples)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            decoder.start_stream()  # forgets the noise of the utterance before
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()
    except RuntimeError as error:
        raise EngineUnavailable(f"PocketSphinx failed ({error}): reinstall pocketsphinx") from None


def _words(decoder: Any) -> str:
    best = decoder.hyp()
    return best.hypstr if best else ""


def _likeness(decoder: Any) -> float:
    """Return the mean acoustic score a frame over the words of the hypothesis, natural log."""
    if decoder.hyp() is None:
        return -np.inf
    log = decoder.get_logmath().log
    words = [part for part in decoder.seg() if part.word[0] not in "<[("]
    frames = sum(part.end_frame - part.start_frame + 1 for part in words)
    return float(SCORE_UNIT * sum(log(part.ascore) for part in words) / max(frames, 1))


def _pcm(samples: Samples) -> bytes:
    """Return the samples with dither as 16-bit little-endian bytes: nothing else is understood.

    Less than a few frames are filled up: the decoder would fail on them.
    """
    padded = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
    dither = np.random.default_rng(0).normal(scale=DITHER, size=len(padded))
    return (np.clip(padded + dither, -1, 1) * 32767).astype("<i2").tobytes()


def pronunciations(word: str) -> Sequence[str]:
    """Return the ways a word is spoken, each as phones with spaces between them.

    Parameters
    ----------
    word : str
        Lower case.

    Returns
    -------
    sequence of str
        Empty for a word that is not in the dictionary.
    """
    if word in DIGITS:
        return DIGITS[word]
    spoken, ways = _dictionary(), []
    name = word
    while name in spoken:
        ways.append(spoken[name])
        name = f"{word}({len(ways) + 1})"
    return ways


@cache
def _dictionary() -> dict[str, str]:
    from pocketsphinx import get_model_path

    path = Path(get_model_path("en-us/cmudict-en-us.dict"))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EngineUnavailable(
            f"the dictionary {path} cannot be read ({error.strerror}): reinstall pocketsphinx"
        ) from None
    return {word: phones for word, _, phones in (line.partition(" ") for line in lines)}


@cache
def _dictation() -> Any:
    from pocketsphinx import Decoder

    return Decoder(loglevel="FATAL")


def _vocabulary(words: Sequence[str]) -> Vocabulary:
    """Return the words that compete with those of a phrase: digits with digits, else all ours."""
    if is_digits(words):
        return _competing(tuple(DIGITS))
    return _competing(tuple(dict.fromkeys((*prompt_words(), *DIGITS, *words))))


@cache
def _competing(words: tuple[str, ...]) -> Vocabulary:
    return Vocabulary({word: pronunciations(word) for word in words}, packaged_model())
