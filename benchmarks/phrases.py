"""How often the right words are refused and other words accepted, with PocketSphinx.

Real digits: strings joined from the Free Spoken Digit Dataset and the digit strings of
speechocean762; sentences of speechocean762 as passphrases; words of synthetic voices where
espeak-ng is installed. Beside our method stands the one it replaced: two passes over the whole
phrase, and the difference of their scores. Thresholds were chosen with ``--part choose``; the
other part reports.

    python benchmarks/phrases.py [--quick | --size 4] [--part report|choose] [--jobs 2]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from joblib import Parallel, delayed

from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.evaluation.intervals import clopper_pearson
from membrane.phrase.matching import DIGIT_WORDS, is_digits, normalise
from membrane.phrase.prompts import prompt_words
from membrane.phrase.recognizers.pocketsphinx import PocketSphinxRecognizer, pronunciations

SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"
SPEAKERS = {"choose": ("jackson", "nicolas", "yweweler"), "report": ("george", "lucas", "theo")}
VOICES = ("en-029+f4", "en-gb-x-rp+m7", "en-us+klatt2", "en-us+f2", "en-gb-scotland+m5")
FLOOR = 1e-3
"""Standard deviation of the noise that strings are joined over (−60 dBFS)."""


class Sound(NamedTuple):
    """One utterance and what was said in it, if it was a phrase."""

    group: str
    samples: Samples
    said: str


class Outcome(NamedTuple):
    """What one method decided about one claim."""

    group: str
    claim: str
    method: str
    balanced: bool
    strict: bool
    score: float


class TwoPasses:
    """The method before: the whole phrase aligned, against as many free words."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(
            lm=None,
            dict=None,
            bestpath=False,
            compallsen=True,
            lw=1,
            silprob=0.9,
            wip=1e-4,
            loglevel="FATAL",
        )
        self._known: set[str] = set()
        self._last: tuple[Samples, tuple[str, ...], int, float] | None = None

    def judge(self, samples: Samples, said: list[str]) -> tuple[bool, bool, float]:
        """Return the decisions at −300 and −200, and the score."""
        words = tuple(DIGIT_WORDS) if is_digits(said) else prompt_words()
        words = tuple(dict.fromkeys((*words, *said)))
        for word in set(words) - self._known:
            for number, phones in enumerate(_plain(word), start=1):
                name = word if number == 1 else f"{word}({number})"
                self._decoder.add_word(name, phones, False)
            self._known.add(word)
        free = self._free(samples, words, len(said))
        self._decoder.set_align_text(" ".join(said))
        aligned, heard, likeness = self._pass(samples)
        score = (aligned - free) / len(said) if heard == " ".join(said) else -np.inf
        return score >= -300 and likeness >= -70, score >= -200 and likeness >= -70, score

    def _free(self, samples: Samples, words: tuple[str, ...], count: int) -> float:
        """Return the score of the best `count` words; the last one is kept."""
        last = self._last
        if last and last[0] is samples and last[1:3] == (words, count):
            return last[3]
        slots, choice = " ".join(["<word>"] * count), " | ".join(words)
        grammar = f"#JSGF V1.0; grammar g; public <slots> = {slots}; <word> = {choice};"
        self._decoder.add_jsgf_string("slots", grammar)
        self._decoder.activate_search("slots")
        self._last = (samples, words, count, self._pass(samples)[0])
        return self._last[3]

    def _pass(self, samples: Samples) -> tuple[float, str, float]:
        noise = np.random.default_rng(0).normal(scale=FLOOR, size=len(samples))
        sound = (np.clip(samples + noise, -1, 1) * 32767).astype("<i2").tobytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._decoder.start_stream()
        self._decoder.start_utt()
        self._decoder.process_raw(sound, full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        if best is None or not best.hypstr:
            return -np.inf, "", -np.inf
        log = self._decoder.get_logmath().log
        words = [part for part in self._decoder.seg() if part.word[0] not in "<[("]
        frames = sum(part.end_frame - part.start_frame + 1 for part in words)
        return log(best.score), best.hypstr, sum(log(part.ascore) for part in words) / frames


def _plain(word: str) -> list[str]:
    """Return the pronunciations of the dictionary, without those for narrow bands."""
    count = {"zero": 2}.get(word, 1) if word in DIGIT_WORDS else None
    return list(pronunciations(word)[:count])


def heldback(folder: str) -> set[str]:
    """Return what of a folder is for reporting only."""
    lines = (SPEECH / "heldback.txt").read_text(encoding="utf-8").splitlines()
    return {line.partition("/")[2] for line in lines if line.startswith(folder + "/")}


def of_part(paths: list[Path], folder: str, part: str) -> list[Path]:
    """Return the files of a part, in a fixed but mixed order."""
    reported = heldback(folder)
    kept = [path for path in paths if (path.name in reported) == (part == "report")]
    return [kept[place] for place in np.random.default_rng(5).permutation(len(kept))]


@cache
def load(path: Path) -> Samples:
    """Return a recording at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32")
    return samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE)


def joined_digits(
    speaker: str, digits: str, chance: np.random.Generator, *, takes: range = range(15)
) -> Samples:
    """Join digits of one speaker, of some of their takes, with short pauses over a noise floor."""

    def pause(least: float, most: float) -> Samples:
        return np.zeros(int(SAMPLE_RATE * chance.uniform(least, most)), np.float32)

    pieces = [pause(0.2, 0.5)]
    for digit in digits:
        take = (
            SPEECH
            / "fsdd"
            / speaker
            / f"{digit}_{speaker}_{chance.integers(takes.start, takes.stop)}.flac"
        )
        pieces += [load(take), pause(0.04, 0.3)]
    joined = np.concatenate([*pieces, pause(0.2, 0.4)])
    joined *= 0.3 / np.abs(joined).max()
    return joined + chance.normal(scale=FLOOR, size=len(joined)).astype(np.float32)


def babble(length: int, part: str, chance: np.random.Generator) -> Samples:
    """Return six voices at once, at an effective value of 1."""
    voices = of_part(sorted((SPEECH / "librispeech-single").iterdir()), "librispeech-single", part)
    chosen = chance.choice(len(voices), 6, replace=False)
    mixed = sum(np.resize(load(voices[place]), length) for place in chosen)
    return (mixed / np.sqrt(np.mean(mixed**2))).astype(np.float32)


def digit_strings(part: str, count: int, conditions: tuple[str, ...]) -> Iterator[Sound]:
    """Yield joined strings of 4, 6 and 8 digits, clean and in babble."""
    for condition in conditions:
        for length in (4, 6, 8):
            chance = np.random.default_rng([length, part == "report"])
            for speaker in SPEAKERS[part]:
                for _ in range(count):
                    digits = "".join(map(str, chance.integers(10, size=length)))
                    samples = joined_digits(speaker, digits, chance)
                    if condition != "clean":
                        ratio = 10 ** (-float(condition.split()[1]) / 20)
                        level = np.sqrt(np.mean(samples**2))
                        samples += ratio * level * babble(len(samples), part, chance)
                    yield Sound(f"{length} digits, {condition}", samples, normalise(digits))


def spoken_lines(part: str) -> Iterator[tuple[str, Path]]:
    """Yield text and recording of speechocean762's part."""
    reported = heldback("speechocean762")
    listed = (SPEECH / "speechocean762" / "transcripts.tsv").read_text(encoding="utf-8")
    for name, text in (line.split("\t")[:2] for line in listed.splitlines()):
        speaker = f"spk{int(name[:5]):04d}"
        if (speaker in reported) == (part == "report"):
            yield normalise(text), SPEECH / "speechocean762" / speaker / f"{name}.flac"


def spoken_digits(part: str) -> Iterator[Sound]:
    """Yield the digit strings of speechocean762."""
    for text, path in spoken_lines(part):
        if len(text.split()) >= 3 and is_digits(text.split()):
            yield Sound("speechocean762 digits", load(path), text)


def passphrases(part: str, count: int) -> Iterator[Sound]:
    """Yield sentences of speechocean762 of at least four words."""
    known = PocketSphinxRecognizer().unknown_words
    lines = [
        (text, path)
        for text, path in spoken_lines(part)
        if len(text.split()) >= 4 and not is_digits(text.split()) and not known(text)
    ]
    for place in np.random.default_rng(7).permutation(len(lines))[:count]:
        text, path = lines[place]
        yield Sound("passphrases", load(path), text)


def synthetic_words(count: int) -> Iterator[Sound]:
    """Yield prompts of four words in synthetic voices, over a noise floor."""
    if shutil.which("espeak-ng") is None:
        return
    chance = np.random.default_rng(11)
    for number in range(count):
        text = " ".join(chance.choice(prompt_words(), 4, replace=False))
        voice = VOICES[number % len(VOICES)]
        command = ["espeak-ng", "-v", voice, "-s", "130", "-g", "12", "--stdout", text]
        spoken = subprocess.run(command, check=True, capture_output=True).stdout
        samples, rate = soundfile.read(BytesIO(spoken), dtype="float32")
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
        floor = chance.normal(scale=FLOOR, size=len(samples)).astype(np.float32)
        yield Sound("4 words, synthetic", samples + floor, text)


def other_sounds(part: str, count: int) -> Iterator[Sound]:
    """Yield what no phrase is said in."""
    chance = np.random.default_rng(13)
    length = 4 * SAMPLE_RATE
    for _ in range(max(1, count // 5)):
        yield Sound("silence", np.zeros(length, np.float32), "")
        level = 10 ** chance.uniform(-4, -0.5)
        yield Sound("noise", chance.normal(scale=level, size=length).astype(np.float32), "")
    for path in of_part(sorted((SPEECH / "noise").iterdir()), "noise", part)[:count]:
        yield Sound("noise", load(path), "")
    folders = of_part(sorted((SPEECH / "librispeech").iterdir()), "librispeech", "report")
    read = [path for folder in folders for path in sorted(folder.iterdir())]
    read += of_part(sorted((SPEECH / "librispeech-single").iterdir()), "librispeech-single", part)
    for place in chance.permutation(len(read))[:count]:
        yield Sound("other speech", load(read[place])[:length], "")
    for _ in range(count):
        yield Sound("babble alone", 0.05 * babble(length, part, chance), "")


def claims(sound: Sound, seed: int) -> Iterator[tuple[str, str]]:
    """Yield kinds of claim about a sound, each with the words claimed.

    "One more" asks for a word that was not said, "one fewer" for all but one that was.
    """
    chance = np.random.default_rng([seed, 17])

    def fresh(count: int, words: tuple[str, ...]) -> list[str]:
        return [str(word) for word in chance.choice(words, count, replace=words is DIGIT_WORDS)]

    if not sound.said:
        yield "anything", " ".join(fresh(6, DIGIT_WORDS))
        return
    said = sound.said.split()
    words = DIGIT_WORDS if is_digits(said) else prompt_words()
    yield "right", sound.said
    other = fresh(len(said), words)
    yield "other words", " ".join(other)
    changed = list(said)
    place = chance.integers(len(said))
    changed[place] = str(chance.choice([word for word in words if word != said[place]]))
    yield "one changed", " ".join(changed)
    place = int(chance.integers(1, len(said)))
    for where, at in (("first", 0), ("inside", place), ("last", len(said))):
        word = fresh(1, words)
        yield f"one more {where}", " ".join([*said[:at], *word, *said[at:]])
    for where, at in (("first", 0), ("inside", min(place, len(said) - 2)), ("last", len(said) - 1)):
        yield f"one fewer {where}", " ".join([*said[:at], *said[at + 1 :]])
    if len(set(said)) > 1:
        order = said
        while order == said:
            order = [said[place] for place in chance.permutation(len(said))]
        yield "other order", " ".join(order)


@cache
def ours() -> PocketSphinxRecognizer:
    """Return this process's recognizer."""
    return PocketSphinxRecognizer()


@cache
def before() -> TwoPasses:
    """Return this process's recognizer of the method before."""
    return TwoPasses()


def try_sound(sound: Sound, seed: int) -> list[Outcome]:
    """Return what both methods decide about every claim."""
    outcomes = []
    for claim, text in claims(sound, seed):
        match = ours().match(sound.samples, text)
        strict = ours().match(sound.samples, text, strict=True).accepted
        outcomes.append(Outcome(sound.group, claim, "ours", match.accepted, strict, match.score))
        decided = before().judge(sound.samples, normalise(text).split())
        outcomes.append(Outcome(sound.group, claim, "before", *decided))
    return outcomes


def interval(hits: int, trials: int) -> str:
    """Return a share in per cent with its exact 95 % interval."""
    low, high = clopper_pearson(hits, trials)
    return f"{100 * hits / trials:5.1f} ({100 * low:.1f}-{100 * high:.1f})"


def show(outcomes: list[Outcome]) -> None:
    """Print one line for each group, claim and level."""
    grouped = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.group, outcome.claim].append(outcome)
    print("per cent (exact 95 % interval): right words refused, anything else accepted")
    print(f"{'':48}{'ours':>36}{'two passes (before)':>36}")
    columns = f"{'balanced':>18}{'strict':>18}"
    print(f"{'sound':24}{'claim':18}{'n':>6}{columns}{columns}")
    for (group, claim), found in grouped.items():
        line = f"{group:24}{claim:18}{len(found) // 2:6}"
        for method in ("ours", "before"):
            for level in ("balanced", "strict"):
                accepted = [getattr(each, level) for each in found if each.method == method]
                wrong = [yes != (claim == "right") for yes in accepted]
                line += f"{interval(sum(wrong), len(wrong)):>18}"
        print(line)


def cost(sound: Sound) -> str:
    """Return the CPU time of one check, the recognizer already made."""

    def seconds(run: Callable[[Samples], object]) -> float:
        run(sound.samples)
        start = time.process_time()
        for part in (0.9, 0.8, 0.7, 0.6, 0.5):
            run(part * sound.samples)  # never the same, which is not listened to again
        return (time.process_time() - start) / 5

    mine = seconds(lambda samples: ours().match(samples, sound.said))
    theirs = seconds(lambda samples: before().judge(samples, sound.said.split()))
    length = len(sound.samples) / SAMPLE_RATE
    return f"one check of six digits in {length:.1f} s: {mine:.2f} s CPU, two passes {theirs:.2f} s"


def main() -> None:
    """Run all trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="as --size 1")
    parser.add_argument("--size", type=int, default=4, help="how many trials: about half an hour")
    parser.add_argument("--part", choices=("report", "choose"), default="report")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    part, scale = options.part, 1 if options.quick else options.size
    sounds = [
        *digit_strings(part, 6 * scale, ("clean",)),
        *digit_strings(part, 3 * scale, ("babble 20 dB", "babble 10 dB")),
        *spoken_digits(part),
        *synthetic_words(8 * scale),
        *passphrases(part, 8 * scale),
        *other_sounds(part, 8 * scale),
    ]
    work = (delayed(try_sound)(sound, seed) for seed, sound in enumerate(sounds))
    outcomes = [
        each for found in Parallel(options.jobs, backend="multiprocessing")(work) for each in found
    ]
    show(outcomes)
    print(cost(next(sound for sound in sounds if sound.group == "6 digits, clean")))


if __name__ == "__main__":
    main()
