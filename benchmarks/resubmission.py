"""How surely a recording that was heard before is recognised, and nothing else.

    python -m benchmarks.resubmission [--part choose|report] [--size 3]

Every recording is disturbed in many ways and compared with its own fingerprint: what is missed is
the attacker's (APCER). Recordings of one person, the same words above all, and of different people
are compared with each other: what is taken for the same is an honest login refused (BPCER). Then
words are cut out of remembered recordings, and sound is made of fingerprints. The constants of
`membrane.audio.fingerprint` were chosen with ``--part choose``.

The pairs share recordings, and the strings of digits share takes (15 for each digit and speaker),
so that the intervals, which take them as independent, are too narrow.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.honest_users import Person, Tally, enrol, fsdd, speechocean
from benchmarks.inversion import INVERSIONS, MADE_LEVEL_DBFS
from benchmarks.phrases import FLOOR, SPEAKERS, SPEECH, heldback, joined_digits, load, ours
from membrane.audio.alignment import in_common
from membrane.audio.fingerprint import SAME, Fingerprint, fingerprint_of
from membrane.audio.level import at_level
from membrane.audio.preparation import prepare
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.errors import PoorQuality
from membrane.evaluation.codecs import coded
from membrane.evaluation.disturbances import in_room, pink_noise, power
from membrane.evaluation.intervals import clopper_pearson
from membrane.login.membrane import Membrane
from membrane.phrase.matching import DIGIT_WORDS, normalise
from membrane.settings import EVALUATING, load_settings

Disturbance = Callable[[Samples], Samples]
Recordings = dict[str, list[Samples]]
Outcome = tuple[bool, bool, bool, bool, bool]
"""Good enough to be judged; right words, and other words, heard; right voice; let in."""

TAKES = 15
DIGITS = 6
REMEMBERED = 23
FRAME = 512


def chance_of(*numbers: int) -> np.random.Generator:
    """Return what decides everything random."""
    return np.random.default_rng([23, *numbers])


# ---- Disturbances


def rewritten(container: str, coding: str, **options: object) -> Disturbance:
    """Return what a file of another kind makes of a recording."""

    def disturb(samples: Samples) -> Samples:
        with BytesIO() as file:
            soundfile.write(file, samples, SAMPLE_RATE, coding, format=container, **options)
            file.seek(0)
            heard: Samples = soundfile.read(file, dtype="float32")[0]
        return heard

    return disturb


def mp3(kilobits: int) -> Disturbance:
    """Return MP3 at a constant rate; libsndfile counts from 160 kbit/s at level 0 to 8 at 1."""
    level = (160 - kilobits) / 152
    return rewritten("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=level)


def by_codec(name: str) -> Disturbance:
    """Return what one of Membrane's own codecs makes of a recording."""
    return lambda samples: coded(samples, name)


def by_rate(rate: int) -> Disturbance:
    """Return a recording at another rate, and back."""

    def disturb(samples: Samples) -> Samples:
        return soxr.resample(soxr.resample(samples, SAMPLE_RATE, rate), rate, SAMPLE_RATE)

    return disturb


def at_speed(factor: float) -> Disturbance:
    """Return a recording played faster, and so higher."""
    return lambda samples: soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE)


def at_tempo(factor: float) -> Disturbance:
    """Return a recording played faster at the same pitch: WSOLA (Verhelst and Roelands 1993)."""

    def disturb(samples: Samples) -> Samples:
        window, reach = np.hanning(FRAME).astype(np.float32), FRAME // 4
        made = np.zeros(int(len(samples) / factor) + FRAME, np.float32)
        previous = 0
        for start in range(0, len(made) - FRAME, FRAME // 2):
            wanted = samples[previous + FRAME // 2 :][:FRAME] if start else samples[:FRAME]
            around = samples[max(0, int(start * factor) - reach) :][: FRAME + 2 * reach]
            if len(wanted) < FRAME or len(around) < FRAME + 2 * reach:
                break
            at = int(np.argmax(np.correlate(around, wanted, "valid"))) if start else 0
            previous = max(0, int(start * factor) - reach) + at if start else 0
            made[start : start + FRAME] += window * samples[previous : previous + FRAME]
        return made

    return disturb


def noisy(snr_db: float) -> Disturbance:
    """Return a recording in pink noise."""

    def disturb(samples: Samples) -> Samples:
        noise = pink_noise(len(samples), chance_of(len(samples)))
        return samples + noise * np.float32(np.sqrt(power(samples) / 10 ** (snr_db / 10)))

    return disturb


@cache
def rooms() -> dict[str, Samples]:
    """Return the room responses, by their names."""
    return {path.stem: load(path) for path in sorted((SPEECH / "rir").glob("*.flac"))}


def in_that_room(name: str) -> Disturbance:
    """Return a recording played in a room."""
    return lambda samples: in_room(Utterance(samples), rooms()[name]).samples


def padded(samples: Samples) -> Samples:
    """Return a recording after some silence, no whole number of frames of it."""
    return np.concatenate([np.zeros(5_921, np.float32), samples])


def clipped(samples: Samples) -> Samples:
    """Return a recording so loud that one sample in a hundred is clipped."""
    limit = np.percentile(np.abs(samples), 99)
    return np.clip(samples, -limit, limit) / np.float32(limit)


def disturbances() -> dict[str, Disturbance]:
    """Return what is done to recordings, by its name in the table."""
    return {
        "as it is": lambda samples: samples,
        "20 dB quieter": lambda samples: samples * np.float32(0.1),
        "1 % of samples clipped": clipped,
        "polarity flipped": lambda samples: -samples,
        "0.37 s of silence before": padded,
        "5.3 ms cut from the start": lambda samples: samples[85:],
        "last half second cut": lambda samples: samples[: -SAMPLE_RATE // 2],
        "MP3 64 kbit/s": mp3(64),
        "MP3 32 kbit/s": mp3(32),
        "Ogg Vorbis": rewritten("OGG", "VORBIS", compression_level=0.9),
        "Opus 16 kbit/s": by_codec("opus"),
        "GSM 13 kbit/s": by_codec("gsm"),
        "telephone, mu-law": by_codec("telephone"),
        "8 bits a sample": rewritten("WAV", "PCM_U8"),
        "48 kHz and back": by_rate(48_000),
        "8 kHz and back": by_rate(8_000),
        "pink noise at 20 dB": noisy(20),
        "pink noise at 10 dB": noisy(10),
        "pink noise at 5 dB": noisy(5),
        "denoised by Membrane": lambda samples: prepare(Utterance(samples)).sound.denoised,
        **{f"{percent} % faster": at_speed(1 + percent / 100) for percent in (1, 2, 5, 8)},
        "5 % slower": at_speed(0.95),
        **{f"{percent} % faster, pitch kept": at_tempo(1 + percent / 100) for percent in (1, 3, 5)},
        **{f"played in room {name[-1]}": in_that_room(name) for name in rooms()},
        "room 3, telephone, noise 20 dB": lambda samples: noisy(20)(
            coded(in_that_room("sb_rir3")(samples), "telephone")
        ),
    }


# ---- Recordings


def strings(part: str, count: int) -> Iterator[list[Samples]]:
    """Yield the same six digits of one speaker in 15 recordings that share no take."""
    for speaker in SPEAKERS[part]:
        chance = chance_of(*speaker.encode())
        for _ in range(count):
            digits = "".join(map(str, chance.permutation(10)[:DIGITS]))
            yield [
                joined_digits(speaker, digits, chance, takes=range(take, take + 1))
                for take in range(TAKES)
            ]


def folders(corpus: str, part: str) -> Iterator[list[Path]]:
    """Yield the files of each speaker of a corpus."""
    reported = heldback(corpus)
    for folder in sorted((SPEECH / corpus).iterdir()):
        if folder.is_dir() and (folder.name in reported) == (part == "report"):
            yield sorted(folder.glob("*.flac"))


def recordings(part: str, count: int) -> Recordings:
    """Return recordings to disturb, by corpus."""
    found = {
        "fsdd": [takes[0] for takes in strings(part, 3 * count)],
        "librispeech": [load(f) for files in folders("librispeech", part) for f in files[:count]],
        "speechocean762": [load(files[0]) for files in folders("speechocean762", part)],
    }
    return {corpus: sounds for corpus, sounds in found.items() if sounds}


# ---- Tables


def rate(hits: int, trials: int) -> str:
    """Return a share in per cent with its exact 95 % interval."""
    low, high = clopper_pearson(hits, trials)
    return f"{100 * hits / trials:6.2f} ({100 * low:.3f} to {100 * high:.3f}) of {trials}"


def show_detection(found: Recordings) -> None:
    """Print how many disturbed recordings are recognised."""
    print(f"\nrecognised, per cent{'':14}" + "".join(f"{each:>16}" for each in found) + "   all")
    known = {corpus: [fingerprint_of(each) for each in sounds] for corpus, sounds in found.items()}
    for name, disturb in disturbances().items():
        likeness = {
            corpus: np.array(
                [
                    one.likeness(fingerprint_of(disturb(samples)))
                    for one, samples in zip(known[corpus], sounds, strict=True)
                ]
            )
            for corpus, sounds in found.items()
        }
        every = np.concatenate(list(likeness.values()))
        shares = "".join(f"{100 * np.mean(each >= SAME):16.1f}" for each in likeness.values())
        least = f"least likeness {every.min():.2f}, median {np.median(every):.2f}"
        print(f"{name:34}{shares}   {rate(int(np.sum(every >= SAME)), len(every))}, {least}")


def show_false_alarms(part: str, count: int) -> None:
    """Print how many pairs of different recordings are taken for the same."""
    print("\ntaken for the same although recorded apart, per cent of pairs")
    for name, pairs in (
        ("one person, the same six digits", same_words(part, 40 * count)),
        ("one person, the same word", same_word(part)),
        ("one person, other words", same_people(part)),
        ("different people", different_people(part, 4_000 * count)),
    ):
        likeness = np.array([one.likeness(other) for one, other in pairs])
        highest = ", ".join(f"{each:.2f}" for each in np.sort(likeness)[:-6:-1])
        above = rate(int(np.sum(likeness >= SAME)), len(likeness))
        print(f"{name:34}{above}, above 0 {100 * np.mean(likeness > 0):.2f}, highest {highest}")


def show_honest_logins(part: str, count: int) -> None:
    """Print how many logins are taken for something that is put together from many recordings."""
    shares = np.array([*honest_logins(part, 25 * count)])
    above = rate(int(np.sum(shares >= SAME)), len(shares))
    print(f"{'a login beside 23 of other takes':34}{above}, highest {shares.max():.2f}")


def honest_logins(part: str, count: int) -> Iterator[float]:
    """Yield what share of a login is heard in what a login's person is remembered by.

    That is three recordings of the enrolment and twenty of the last logins, of random digits.
    """
    for speaker in SPEAKERS[part]:
        chance = chance_of(*speaker.encode(), REMEMBERED)
        known = [said(speaker, chance, range(5, TAKES)) for _ in range(REMEMBERED)]
        for _ in range(count):
            yield share_in(said(speaker, chance, range(5)), known)


def share_in(one: Fingerprint, others: Iterable[Fingerprint]) -> float:
    """Return how much of a recording is heard in any of the others, together.

    Returns
    -------
    float in [0, 1]
        A share of the recording's peaks: high for words that were cut out of many recordings, each
        of which is like this one only for a word's length.
    """
    heard = np.zeros(len(one.times_s), bool)
    for other in others:
        heard |= in_common(one, other)[0]
    return float(heard.mean()) if len(heard) else 0.0


def said(speaker: str, chance: np.random.Generator, takes: range) -> Fingerprint:
    """Return random digits by one speaker, out of some of the takes."""
    digits = "".join(map(str, chance.integers(10, size=DIGITS)))
    return fingerprint_of(joined_digits(speaker, digits, chance, takes=takes))


def same_words(part: str, count: int) -> Iterator[tuple[Fingerprint, Fingerprint]]:
    """Yield all pairs of recordings of the same digits by the same speaker, other takes."""
    for takes in strings(part, count):
        yield from combinations([fingerprint_of(each) for each in takes], 2)


def same_word(part: str) -> Iterator[tuple[Fingerprint, Fingerprint]]:
    """Yield all pairs of single words of speech-commands, the same word by the same speaker."""
    for files in folders("speech-commands", part):
        for word in sorted({path.stem.split("_")[0] for path in files}):
            said = [path for path in files if path.stem.split("_")[0] == word]
            yield from combinations([fingerprint_of(load(path)) for path in said], 2)


def same_people(part: str) -> Iterator[tuple[Fingerprint, Fingerprint]]:
    """Yield all pairs of one speaker's sentences."""
    for corpus in ("librispeech", "speechocean762"):
        for files in folders(corpus, part):
            yield from combinations([fingerprint_of(load(path)) for path in files], 2)


def different_people(part: str, count: int) -> Iterator[tuple[Fingerprint, Fingerprint]]:
    """Yield pairs of recordings of different speakers of one corpus."""
    for corpus in ("librispeech", "speechocean762"):
        known = [[fingerprint_of(load(f)) for f in files] for files in folders(corpus, part)]
        chance = chance_of(len(known))
        for _ in range(count // 2 if known else 0):
            one, other = (known[place] for place in chance.choice(len(known), 2, replace=False))
            yield one[chance.integers(len(one))], other[chance.integers(len(other))]


# ---- Patchworks


def show_patchworks(part: str, count: int) -> None:
    """Print what becomes of strings that are made of remembered recordings."""
    print(
        f"\nstrings of {DIGITS} digits cut together, per cent refused (likeness, or share in all)"
    )
    kinds: dict[str, list[tuple[float, float]]] = {}
    for speaker in SPEAKERS[part]:
        for number in range(10 * count):
            for kind, value in patchworks(speaker, chance_of(number, *speaker.encode())):
                kinds.setdefault(kind, []).append(value)
    for kind, values in kinds.items():
        pair, whole = np.array(values).T
        one = rate(int(np.sum(pair >= SAME)), len(pair))
        every = rate(int(np.sum(whole >= SAME)), len(whole))
        medians = f"median {np.median(pair):.2f}, {np.median(whole):.2f}"
        print(f"{kind:34}one: {one}; all: {every}; {medians}")


def patchworks(
    speaker: str, chance: np.random.Generator
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield kinds of patchwork with the greatest likeness to a recording, and the share in all.

    Ten recordings are remembered, each of its own takes; five takes were never heard.
    """
    asked = [chance.permutation(10)[:DIGITS] for _ in range(10)]
    known = [
        fingerprint_of(cut_together(speaker, [(digit, take) for digit in digits], chance))
        for take, digits in enumerate(asked)
    ]
    wanted = chance.permutation(asked[0])
    for heard in (0, 1, 2, 3, DIGITS):
        takes = [0] * heard + list(chance.integers(10, TAKES, DIGITS - heard))
        samples = cut_together(speaker, list(zip(wanted, takes, strict=True)), chance)
        yield f"{heard} of one recording", judged(samples, known)
    pieces = [(asked[take][chance.integers(DIGITS)], take) for take in chance.permutation(10)]
    samples = cut_together(speaker, pieces[:DIGITS], chance)
    yield "each of another recording", judged(samples, known)
    yield "the same, Opus 16 kbit/s", judged(coded(samples, "opus"), known)
    yield "the same, telephone", judged(coded(samples, "telephone"), known)


def cut_together(
    speaker: str, pieces: Sequence[tuple[int, int]], chance: np.random.Generator
) -> Samples:
    """Return digits, each of a take, as `joined_digits` joins them."""
    sounds = []
    for digit, take in pieces:
        pause = np.zeros(int(SAMPLE_RATE * chance.uniform(0.04, 0.3)), np.float32)
        sounds += [pause, load(SPEECH / "fsdd" / speaker / f"{digit}_{speaker}_{take}.flac")]
    joined = np.concatenate([*sounds, np.zeros(SAMPLE_RATE // 4, np.float32)])
    joined *= 0.3 / np.abs(joined).max()
    return joined + chance.normal(scale=FLOOR, size=len(joined)).astype(np.float32)


def judged(samples: Samples, known: Sequence[Fingerprint]) -> tuple[float, float]:
    """Return the greatest likeness to one recording, and the share in all."""
    one = fingerprint_of(samples)
    return max(one.likeness(other) for other in known), share_in(one, known)


# ---- Sound made of fingerprints


def show_inversions(part: str, count: int) -> None:
    """Print whether sound that is made of a login's fingerprint can log in."""
    print("\nlogins with sound made of the fingerprint of a login, the same words asked for")
    people = [*fsdd(part, 5 * count), *speechocean(part)]
    tallies: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "voiceprints.joblib"
        membrane = Membrane(load_settings(database=database, **EVALUATING))
        for person in (each for each in people if enrol(membrane, each, Tally())):
            for kind, outcome in tried(membrane, person):
                tallies.setdefault(kind, []).append(outcome)
    for kind, outcomes in tallies.items():
        judged, words, others, voice, accepted = np.sum(outcomes, axis=0)
        told = f"good enough {judged}, right words {words}, other words {others}, voice {voice}"
        print(f"{kind:34}accepted {rate(accepted, len(outcomes))}, {told}")


def tried(membrane: Membrane, person: Person) -> Iterator[tuple[str, Outcome]]:
    """Yield what becomes of each login, and of sound made of its fingerprint."""
    for number, (asked, utterance) in enumerate(person.logins):
        yield "the recording itself", outcome_of(membrane, person.name, asked, utterance.samples)
        one = Fingerprint.from_bytes(fingerprint_of(utterance.samples).to_bytes())
        for make in INVERSIONS:
            chance = chance_of(number)
            made = at_level(make(one, chance), MADE_LEVEL_DBFS)
            made = made + chance.normal(scale=FLOOR, size=len(made)).astype(np.float32)
            name = make.__name__.replace("_", " ")
            yield name, outcome_of(membrane, person.name, asked, made)


def outcome_of(membrane: Membrane, name: str, asked: str, samples: Samples) -> Outcome:
    """Return what becomes of a login.

    The recognizer is asked even where the quality gate does not let it hear the sound, and for
    other digits as well: what it takes for both tells nothing of the words.
    """
    digits = normalise(asked).split()
    turned = " ".join(DIGIT_WORDS[(DIGIT_WORDS.index(digit) + 3) % 10] for digit in digits)
    words, others = (ours().match(samples, text).accepted for text in (asked, turned))
    with suppress(PoorQuality):
        decision = membrane.verify(name, Utterance(samples), expected=asked)
        voice = decision.voice is not None and decision.voice.accepted
        return True, words, others, voice, decision.accepted
    return False, words, others, False, False


# ---- Cost


def show_cost(found: Recordings) -> None:
    """Print CPU time and bytes."""
    sounds = [np.resize(samples, 5 * SAMPLE_RATE) for each in found.values() for samples in each]
    start = time.process_time()
    known = [fingerprint_of(samples) for samples in sounds]
    made = time.process_time()
    for one, other in pairwise(known):
        one.likeness(other)
    compared = time.process_time()
    size = [len(one.to_bytes()) for one in known]
    peaks = np.mean([len(one.times_s) for one in known]) / 5
    print(f"\n5 s of speech: {1e3 * (made - start) / len(known):.1f} ms CPU for the fingerprint,")
    print(f"{1e3 * (compared - made) / (len(known) - 1):.1f} ms for a comparison, ", end="")
    print(f"{np.mean(size):.0f} bytes (at most {max(size)}), {peaks:.1f} peaks a second")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=("report", "choose"), default="report")
    parser.add_argument("--size", type=int, default=3, help="how many trials")
    options = parser.parse_args()
    if not SPEECH.is_dir():
        parser.exit(2, f"{SPEECH} is missing\n")
    found = recordings(options.part, options.size)
    show_cost(found)
    show_detection(found)
    show_false_alarms(options.part, options.size)
    show_honest_logins(options.part, options.size)
    show_patchworks(options.part, options.size)
    show_inversions(options.part, options.size)


if __name__ == "__main__":
    main()
