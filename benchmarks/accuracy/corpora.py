"""The held-back speakers of ../shared/speech, what each says, and in which conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.systems import Corpus
from membrane.evaluation.codecs import CODECS, check_codec
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.corpora.recordings import Recording, find_recordings
from membrane.evaluation.trials import enrol_and_probe

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "speech"
HELD_BACK = SPEECH / "heldback.txt"

ENROLMENT = 3
"""Utterances that a speaker enrols with, clean."""

ENROLMENT_DIGITS = 6
"""Digits of such an utterance of fsdd, as many as a login's prompt has."""

BABBLERS = 10
"""Held-back speakers of librispeech-single who are the babble, and never enrolled or probed."""

PIECE_S = 3.0
"""Seconds into which their recordings, one a speaker, are cut."""

MOST_BACKGROUND = 60
"""Recordings of other speakers for a background."""

QUICK = ("clean", "noise 10 dB", "babble 10 dB", "3 s", "1 s")


def found(folder: str, *, held_back: bool, pieces_s: float | None = None) -> list[Recording]:
    """Return the recordings of one folder's speakers, held back or all others."""
    chosen = {"only" if held_back else "without": HELD_BACK}
    return list(find_recordings([SPEECH / folder], pieces_s=pieces_s, **chosen).recordings)


def singles() -> tuple[list[str], tuple[Path, ...]]:
    """Return the speakers of librispeech-single who are judged, and the files of the babble."""
    files = [one.files[0] for one in found("librispeech-single", held_back=True)]
    return [file.stem for file in files[:-BABBLERS]], tuple(files[-BABBLERS:])


def in_noise(*decibels: float) -> list[Condition]:
    """Return conditions of held-back noises, and of babble, at each signal-to-noise ratio."""
    noises = sorted(
        SPEECH / line
        for line in HELD_BACK.read_text(encoding="utf-8").split()
        if line.startswith("noise/")
    )
    sources = {"noise": tuple(noises), "babble": singles()[1]}
    return [
        Condition(f"{kind} {snr_db:g} dB", kind, files, snr_db=snr_db)
        for kind, files in sources.items()
        for snr_db in decibels
    ]


def shortened(*seconds: float) -> list[Condition]:
    """Return conditions of probes that are cut to some seconds."""
    return [Condition(f"{length:g} s", "seconds", seconds=length) for length in seconds]


def conditions_of_bars() -> list[Condition]:
    """Return the conditions that `benchmarks.bars` holds the encoders against each other in."""
    responses = tuple(sorted((SPEECH / "rir").glob("*.flac")))
    coded = [Condition(name, "codec", made=check_codec(name)) for name in CODECS]
    return [
        CLEAN,
        *in_noise(10, 0),
        *coded,
        Condition("reverb", "reverb", responses),
        *shortened(2),
    ]


def digit_strings(recordings: Sequence[Recording], digits: int) -> list[Recording]:
    """Join the digits of each speaker: first the enrolment, then probes of `digits` each."""
    joined: list[Recording] = []
    for speaker in sorted({one.speaker for one in recordings}):
        own = [one for one in recordings if one.speaker == speaker]
        shuffled = [own[place] for place in np.random.default_rng(0).permutation(len(own))]
        enrolling = ENROLMENT * ENROLMENT_DIGITS
        joined += strings_of(shuffled[:enrolling], ENROLMENT_DIGITS)
        joined += strings_of(shuffled[enrolling:], digits)
    return joined


def strings_of(digits: Sequence[Recording], length: int) -> list[Recording]:
    """Join every `length` digits; the rest that does not fill a string is left out."""
    starts = range(0, len(digits) - length + 1, length)
    return [
        replace(digits[at], files=tuple(one.files[0] for one in digits[at : at + length]))
        for at in starts
    ]


def corpus_of(
    name: str, title: str, recordings: Sequence[Recording], others: str, conditions: list[Condition]
) -> Corpus:
    """Return a corpus whose background is every so many recordings of the folder `others`."""
    background = found(others, held_back=False)
    step = max(1, len(background) // MOST_BACKGROUND)
    return Corpus(
        name=name,
        title=title,
        trials=enrol_and_probe(recordings, enroll=(ENROLMENT,)),
        background=tuple(background[::step][:MOST_BACKGROUND]),
        conditions=(CLEAN, *conditions),
    )


def librispeech() -> Corpus:
    """Return sentences of ten readers."""
    return corpus_of(
        "librispeech",
        "LibriSpeech test-other: sentences of 2 to 23 s",
        found("librispeech", held_back=True),
        "librispeech-single",
        [*in_noise(20, 10, 5, 0), *shortened(5, 3, 2, 1)],
    )


def speechocean762() -> Corpus:
    """Return sentences of children and adults whose first language is Mandarin."""
    return corpus_of(
        "speechocean762",
        "speechocean762: sentences of 2 to 15 s, accented, half of them children",
        found("speechocean762", held_back=True),
        "speechocean762",
        [*in_noise(20, 10, 5, 0), *shortened(3, 2, 1)],
    )


def librispeech_single() -> Corpus:
    """Return pieces of one recording of each speaker, without the speakers of the babble."""
    speakers, _ = singles()
    pieces = found("librispeech-single", held_back=True, pieces_s=PIECE_S)
    return corpus_of(
        "librispeech-single",
        "LibriSpeech train-clean-100: pieces of about 3 s, one recording a speaker",
        [one for one in pieces if one.files[0].stem in speakers],
        "librispeech-single",
        [*in_noise(10), *shortened(2, 1)],
    )


def fsdd_three() -> Corpus:
    """Return strings of three digits, as the REST demo has them."""
    return corpus_of(
        "fsdd-3",
        "Free Spoken Digit Dataset: probes of 3 digits",
        digit_strings(found("fsdd", held_back=True), 3),
        "fsdd",
        in_noise(20, 10, 5, 0),
    )


def fsdd_six() -> Corpus:
    """Return strings of six digits, as a login asks for."""
    return corpus_of(
        "fsdd-6",
        "Free Spoken Digit Dataset: probes of 6 digits",
        digit_strings(found("fsdd", held_back=True), 6),
        "fsdd",
        in_noise(10),
    )


def speech_commands() -> Corpus:
    """Return single words of 1 s; who has too few of them to enrol is only an impostor."""
    return corpus_of(
        "speech-commands",
        "Google Speech Commands: three words enrol, probes of one word, 1 s",
        found("speech-commands", held_back=True),
        "speech-commands",
        in_noise(10),
    )


CORPORA: dict[str, Callable[[], Corpus]] = {
    "librispeech": librispeech,
    "speechocean762": speechocean762,
    "librispeech-single": librispeech_single,
    "fsdd-3": fsdd_three,
    "fsdd-6": fsdd_six,
    "speech-commands": speech_commands,
}
"""By the name that ``--corpus`` takes."""
