"""Whether an expected phrase was said, judged by PocketSphinx 5 and the model in its wheel."""

from __future__ import annotations

import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from membrane.audio.utterance import Samples
from membrane.errors import EngineUnavailable, UsageError
from membrane.phrase.matching import DIGIT_WORDS, is_digits, normalise
from membrane.phrase.recognizer import PhraseMatch

LEAST_RATIO = -300.0
LEAST_STRICT_RATIO = -200.0
LEAST_LIKENESS = -70.0
DITHER_DBFS = -60.0


class _Hypothesis(NamedTuple):
    words: str
    score: float
    likeness: float


class PocketSphinxRecognizer:
    """Compares how well the phrase explains the sound with how well its competitors do."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        self._decoder: Any = None
        self._known: set[str] = set()

    def unknown_words(self, phrase: str) -> list[str]:
        """Return the words of a phrase that are not in the packaged dictionary."""
        return [word for word in normalise(phrase).split() if not pronunciations(word)]

    def match(self, samples: Samples, expected: str, *, strict: bool = False) -> PhraseMatch:
        """Judge whether `expected` was said; see `membrane.phrase.recognizer.Recognizer`."""
        words = normalise(expected).split()
        if not words:
            raise UsageError("the phrase holds no word: give one that can be spoken")
        unknown = self.unknown_words(expected)
        if unknown:
            raise UsageError(
                f"the recognizer does not know {', '.join(unknown)}: choose other words"
            )
        vocabulary = DIGIT_WORDS if is_digits(words) else tuple(dict.fromkeys(words))
        sound = _pcm(samples)
        decoder = self._prepared(vocabulary)
        slots = _slot_grammar(vocabulary, len(words))
        decoder.add_jsgf_string("slots", slots)
        decoder.activate_search("slots")
        free = _decode(decoder, sound)
        decoder.set_align_text(" ".join(words))
        aligned = _decode(decoder, sound)
        threshold = LEAST_STRICT_RATIO if strict else LEAST_RATIO
        ratio = (aligned.score - free.score) / len(words) if aligned.words else -np.inf
        likely = aligned.likeness >= LEAST_LIKENESS
        accepted = bool(ratio >= threshold and likely)
        problem = "" if accepted else "not speech" if not likely else "other words"
        return PhraseMatch(" ".join(words), free.words, accepted, float(ratio), threshold, problem)

    def transcribe(self, samples: Samples) -> str:
        """Return what was heard by free dictation with the packaged language model."""
        return _decode(_dictation(), _pcm(samples)).words

    def _prepared(self, words: tuple[str, ...]) -> Any:
        if self._decoder is None:
            self._decoder = _new_decoder()
        for word in words:
            if word not in self._known:
                for number, phones in enumerate(pronunciations(word), start=1):
                    name = word if number == 1 else f"{word}({number})"
                    self._decoder.add_word(name, phones, False)
                self._known.add(word)
        return self._decoder


def _new_decoder() -> Any:
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
    )


@cache
def _dictation() -> Any:
    from pocketsphinx import Decoder

    return Decoder(loglevel="FATAL")


@cache
def pronunciations(word: str) -> tuple[str, ...]:
    """Return the ways a word is spoken, each as phones with spaces between them."""
    if not word:
        return ()
    pattern = rf"^{re.escape(word)}(?:\(\d+\))? (.+)$"
    return tuple(re.findall(pattern, _dictionary(), re.MULTILINE))


@cache
def _dictionary() -> str:
    from pocketsphinx import get_model_path

    return Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8")


def _slot_grammar(words: tuple[str, ...], count: int) -> str:
    slots = " ".join(["<word>"] * count)
    return f"#JSGF V1.0; grammar slots; public <slots> = {slots}; <word> = {' | '.join(words)};"


def _pcm(samples: Samples) -> bytes:
    dither = 10 ** (DITHER_DBFS / 20) * np.random.default_rng(0).standard_normal(len(samples))
    return (np.clip(samples + dither, -1, 1) * 32767).astype("<i2").tobytes()


def _decode(decoder: Any, sound: bytes) -> _Hypothesis:
    if not sound:
        return _Hypothesis("", -np.inf, -np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        decoder.start_stream()
    try:
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()
    except RuntimeError as error:
        raise EngineUnavailable(f"PocketSphinx failed ({error}): reinstall pocketsphinx") from None
    best = decoder.hyp()
    if best is None or not best.hypstr:
        return _Hypothesis("", -np.inf, -np.inf)
    log = decoder.get_logmath().log
    spoken = [part for part in decoder.seg() if part.word[0] not in "<[("]
    frames = sum(part.end_frame - part.start_frame + 1 for part in spoken)
    acoustic = sum(log(part.ascore) for part in spoken)
    return _Hypothesis(best.hypstr, log(best.score), acoustic / max(frames, 1))
