"""Whether an expected phrase was said, judged with PocketSphinx 5 and the model in its wheel.

PocketSphinx hears: one pass gives the likelihood of every senone in every frame, which it writes to
a file, and the digits that fit best. On the senones, `competition` (beside this module) lets other
words compete for each slot of the phrase. What decides: the expected word must win every slot, or
lose it by little; it must not lose on average; no other phrase may fit much better, nor the same
one with a word more; every word must be needed; and the words must be like that sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import EngineUnavailable, RecordingTooLong
from membrane.phrase.matching import is_digits, normalise, spoken_words
from membrane.phrase.prompts import prompt_words
from membrane.phrase.recognizer import PhraseMatch
from membrane.phrase.recognizers.acoustic_model import packaged_model
from membrane.phrase.recognizers.competition import SCORE_UNIT, Vocabulary, compete


class Gates(NamedTuple):
    """What a phrase must reach to be accepted, natural log.

    Parameters
    ----------
    worst : float
        Least advantage of the expected word over the best other word, in the worst slot: finds a
        single wrong word.
    mean : float
        Least advantage on average over the slots: noise fits no word better than another.
    whole : float
        Least advantage of the phrase over the best phrase of as many words: finds another order,
        where no single exchange helps.
    needed : float
        Least advantage over the phrase without any one of its words: finds a word that was not
        said, laid over silence or squeezed between its neighbours.
    complete : float
        Least advantage over the phrase with one more word: finds a longer phrase, of which this
        is a part.
    digits : float
        Least log likelihood a frame of the digits that fit best, whatever was asked for.
    """

    worst: float
    mean: float
    whole: float
    needed: float
    complete: float
    digits: float


GATES = {
    ("digits", "usual"): Gates(
        worst=-100.0, mean=-20.0, whole=-150.0, needed=5.0, complete=-100.0, digits=-7.0
    ),
    ("digits", "strict"): Gates(
        worst=-70.0, mean=-20.0, whole=-120.0, needed=10.0, complete=-80.0, digits=-7.0
    ),
    ("words", "usual"): Gates(
        worst=-200.0, mean=-60.0, whole=-400.0, needed=-20.0, complete=-140.0, digits=-np.inf
    ),
    ("words", "strict"): Gates(
        worst=-150.0, mean=-60.0, whole=-300.0, needed=-20.0, complete=-100.0, digits=-np.inf
    ),
}
"""Chosen on the speakers of ``benchmarks/phrases.py --part choose``, for few refusals of honest
people (2 to 4 % of six digits). Short words of a free passphrase are easily beaten by one of many
others, so these are lower for words."""

LEAST_LIKENESS = -7.2
"""Least log likelihood a frame of the phrase, averaged over its words (0: in each frame the best
sound of all)."""

LEAST_SPEECH = -9.5
"""The same for the best digits: below it the person is told that no speech was heard."""

DITHER = 1e-3
"""Standard deviation of the noise added to every sample (−60 dBFS): the model never saw digital
silence, and takes it for anything."""

LONGEST_S = 60.0
"""A phrase is not looked for in longer recordings: a second takes a megabyte of scores."""

BYTES_PER_FRAME = 320
"""A hundredth of a second of 16-bit samples: what PocketSphinx scores at a time."""

FRAMES_LOST = 3
"""Frames at the end that are too short to be scored; more is a file cut off."""

SHORTEST = 1600
"""Samples that the decoder is given at least: it fails on less than a few frames."""

DIGITS = {
    "zero": ("Z IH R OW", "Z IY R OW", "HH IH R OW", "HH IY R OW"),
    "one": ("W AH N",),
    "two": ("T UW",),
    "three": ("TH R IY", "F R IY", "HH R IY", "R IY"),
    "four": ("F AO R", "F AO"),
    "five": ("F AY V",),
    "six": ("S IH K S", "F IH K F", "HH IH K", "IH K"),
    "seven": ("S EH V AH N",),
    "eight": ("EY T",),
    "nine": ("N AY N",),
}
"""Pronunciations of the digits: those of the CMU dictionary; "four" as most of the world says it,
without an R; and what is left of a hiss where the microphone or the connection passes nothing
above 4 kHz (of "six" 11 % were heard there, now 53 %)."""


class PocketSphinxRecognizer:
    """Checks an expected phrase; see `membrane.phrase.recognizer.Recognizer`.

    Threads may share it: each utterance gets a decoder and a folder of its own, which takes 8 ms
    of 300. While PocketSphinx decodes, no other thread of the process runs; see
    `membrane.phrase.recognizers.word_processes` for that.
    """

    name = "pocketsphinx"

    def __init__(self) -> None:
        self._last: tuple[bytes, int, _Decoded] | None = None

    @staticmethod
    def unknown_words(phrase: str) -> list[str]:
        """Return the words of a phrase that are not in the packaged dictionary."""
        return [word for word in normalise(phrase).split() if not pronunciations(word)]

    def match(self, samples: Samples, expected: str, *, strict: bool = False) -> PhraseMatch:
        """Judge whether `expected` was said; see `membrane.phrase.recognizer.Recognizer`.

        The score is the log likelihood ratio (natural log) of the phrase to the phrase with its
        least likely word exchanged for the best other word. Another phrase for the same samples
        is judged without listening again.

        Raises
        ------
        RecordingTooLong
            If there are more than 60 seconds.
        """
        words = spoken_words(self, expected)
        seconds = len(samples) / SAMPLE_RATE
        if seconds > LONGEST_S:
            raise RecordingTooLong(
                f"a phrase is looked for in {LONGEST_S:.0f} s at most, this recording has "
                f"{seconds:.0f} s: cut it to the phrase"
            )
        digits = is_digits(words)
        heard = self._heard(samples, len(words) if digits else 0)
        others = () if digits else (*prompt_words(), *DIGITS, *words)
        vocabulary = _competing(tuple(dict.fromkeys(others or DIGITS)))
        gates = GATES["digits" if digits else "words", "strict" if strict else "usual"]
        found = compete(heard.costs, words, vocabulary)
        if found is None:
            return PhraseMatch(" ".join(words), "", False, -np.inf, gates.worst, heard.problem())
        accepted = bool(
            found.advantages.min() >= gates.worst
            and found.advantages.mean() >= gates.mean
            and found.whole >= gates.whole
            and found.needed.min() >= gates.needed
            and found.complete >= gates.complete
            and found.likeness.mean() >= LEAST_LIKENESS
            and heard.likeness >= gates.digits
        )
        best = [vocabulary.words[number] for number in found.scores.argmax(axis=1)]
        fitting = heard.digits if digits else " ".join(best)
        return PhraseMatch(
            expected=" ".join(words),
            heard=" ".join(words) if accepted else fitting,
            accepted=accepted,
            score=float(found.advantages.min()),
            threshold=gates.worst,
            problem="" if accepted else heard.problem(),
        )

    def transcribe(self, samples: Samples) -> str:
        """Return what was heard by free dictation with the packaged language model.

        Six words of eleven were wrong where this was measured: show it, decide nothing by it.

        Raises
        ------
        EngineUnavailable
            If PocketSphinx failed.
        """
        from pocketsphinx import Decoder

        return _decode(Decoder(loglevel="FATAL"), _pcm(samples))

    def _heard(self, samples: Samples, count: int) -> _Decoded:
        """Return what was heard in an utterance of `count` digits, or of any number if 0."""
        sound = _pcm(samples)
        wanted = (blake2b(sound).digest(), count)
        last = self._last  # another thread may replace it meanwhile
        if last is None or last[:2] != wanted:
            self._last = last = (*wanted, _listen(sound, count))
        return last[2]


class _Decoded(NamedTuple):
    """What PocketSphinx made of an utterance.

    Parameters
    ----------
    digits : str
        The digits that fit best.
    likeness : float, natural log
        Their mean score a frame; minus infinity if there are none.
    costs : np.ndarray, shape (frames, senones), int16
        Score of every senone in every frame; 0 is best.
    """

    digits: str
    likeness: float
    costs: npt.NDArray[np.int16]

    def problem(self) -> str:
        """Return why a phrase that was not accepted was not."""
        return "other words" if self.likeness >= LEAST_SPEECH else "not speech"


def _listen(sound: bytes, count: int) -> _Decoded:
    """Decode an utterance of `count` digits, or of any number if 0.

    The decoder and the folder that it writes its scores to serve this utterance alone, so that no
    other thread or process can take them for its own.

    Raises
    ------
    EngineUnavailable
        If PocketSphinx failed.
    """
    slots, choice = " ".join(["<digit>"] * count) or "<digit>+", " | ".join(DIGITS)
    grammar = f"#JSGF V1.0; grammar g; public <slots> = {slots}; <digit> = {choice};"
    try:
        with TemporaryDirectory(prefix="membrane-", ignore_cleanup_errors=True) as folder:
            decoder = _new_decoder(folder)
            decoder.add_jsgf_string("slots", grammar)
            decoder.activate_search("slots")
            digits = _decode(decoder, sound)
            (path,) = Path(folder).iterdir()
            costs = _costs(path.read_bytes(), frames=len(sound) // BYTES_PER_FRAME)
    except (OSError, ValueError) as error:
        raise EngineUnavailable(
            f"PocketSphinx could not write its scores ({error}): is the disk full?"
        ) from None
    return _Decoded(digits, _likeness(decoder) if digits else -np.inf, costs)


def _costs(data: bytes, *, frames: int) -> npt.NDArray[np.int16]:
    """Return the scores in a file of PocketSphinx: a header, then each frame's count and scores."""
    row = packaged_model().senone_count + 1
    start = data.index(b"endhdr\n") + 11
    costs = np.frombuffer(data, np.int16, offset=start).reshape(-1, row)[:, 1:]
    if not 0 <= frames - len(costs) <= FRAMES_LOST:
        raise ValueError(f"they are of {len(costs)} frames instead of {frames}")
    return costs


def _new_decoder(scores: str) -> Any:
    """Return a decoder of digits that writes its senone scores into a folder.

    With `bestpath` words are dropped in noise; without `compallsen` only some senones are scored.
    """
    from pocketsphinx import Decoder

    decoder = Decoder(
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
    for word, ways in DIGITS.items():
        for number, phones in enumerate(ways, start=1):
            decoder.add_word(word if number == 1 else f"{word}({number})", phones, False)
    return decoder


def _decode(decoder: Any, sound: bytes) -> str:
    """Run a decoder over a whole utterance and return the words that fit best."""
    try:
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()
    except RuntimeError as error:
        raise EngineUnavailable(
            f"PocketSphinx failed ({error}): "
            "make room for temporary files on the disk, or reinstall pocketsphinx"
        ) from None
    best = decoder.hyp()
    return best.hypstr if best else ""


def _likeness(decoder: Any) -> float:
    """Return the mean acoustic score a frame over the words of the hypothesis, natural log."""
    log = decoder.get_logmath().log
    words = [part for part in decoder.seg() if part.word[0] not in "<[("]
    frames = sum(part.end_frame - part.start_frame + 1 for part in words)
    return float(SCORE_UNIT * sum(log(part.ascore) for part in words) / frames)


def _pcm(samples: Samples) -> bytes:
    """Return the samples with dither as 16-bit little-endian bytes: nothing else is understood."""
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


@lru_cache(maxsize=8)
def _competing(words: tuple[str, ...]) -> Vocabulary:
    return Vocabulary({word: pronunciations(word) for word in words}, packaged_model())
