"""Choose what parts of a recording must reach, and write it to weights/thresholds.toml.

    python -m benchmarks.thresholds [--encoder NAME] [--write]

Chosen on the speakers of ../shared/speech that are not held back, reported on those that are.
Three utterances enrol a speaker; the probes are what is left, joined where it is short, with at
least 2.5 s of net speech. Impostors are the other speakers of the same corpus: strangers of
another corpus are easier to tell apart, because they used other microphones. Every sound takes
the way that a login takes: quality gate, automatic denoising, trimming. (The words of
speech-commands are too few a speaker to make a probe.)

The threshold "enrolment" is the greatest that asks at most 2.5 % of the speakers to repeat one of
their three phrases, because it is not enough like the other two. The threshold "stretch" is the
greatest that refuses at most 1 % of the probes that are let in as a whole, because one of their
stretches of 1.6 s is not enough like the voiceprint. (The whole is judged by the calibration:
`membrane calibrate`.) Of an encoder that has no calibration yet all probes are looked at: choose
again after scripts/make_calibration.py, which needs these thresholds.

Only the tables of that encoder are written; those of others are kept.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from joblib import Parallel, delayed

from membrane.audio.files import read_utterance
from membrane.audio.preparation import prepare
from membrane.audio.quality import Quality
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.errors import ModelUnavailable, PoorQuality
from membrane.evaluation.intervals import clopper_pearson
from membrane.login.examine import Examiner
from membrane.login.voices import Voices
from membrane.settings import Settings
from membrane.voice.encoder import Embedding, Vector
from membrane.voice.judge import Judge
from membrane.voice.ratio import Circumstances

SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"
THRESHOLDS = Path(__file__).resolve().parents[1] / "weights" / "thresholds.toml"
HEADER = "# Chosen by benchmarks/thresholds.py; rates with exact 95 % intervals over trials.\n\n"
CORPORA = ("librispeech", "librispeech-single", "speechocean762", "fsdd")
MOST_ASKED_AGAIN = 0.025
MOST_CUT = 0.01
ENROLMENT = 3
PROBE_S = 2.5
PIECE_S = 3.0
DIGITS_JOINED = 6


@dataclass
class Speaker:
    """A voiceprint and probes of one speaker."""

    name: str
    voiceprint: Vector
    speech_s: float
    probes: list[Heard]
    enrolled: list[Embedding]


@dataclass
class Heard:
    """The voice of one utterance, and its quality."""

    embedding: Embedding
    quality: Quality


def utterances_of(corpus: str) -> Iterator[tuple[str, list[Path]]]:
    """Yield each speaker of a corpus with their files in a fixed order."""
    if corpus == "librispeech-single":
        for file in sorted((SPEECH / corpus).glob("*.flac")):
            yield file.name.split("-")[0], [file]
        return
    for folder in sorted(path for path in (SPEECH / corpus).iterdir() if path.is_dir()):
        yield folder.name, sorted(folder.glob("*.flac"))


def sounds_of(corpus: str, files: list[Path]) -> list[Samples]:
    """Return the utterances of one speaker: files, pieces of a long one, or joined digits."""
    sounds = [read_utterance(file).samples for file in files]
    if corpus == "librispeech-single":
        piece = int(PIECE_S * SAMPLE_RATE)
        cuts = [piece * i for i in range(1, ENROLMENT + 1)]
        return np.split(sounds[0], cuts)
    if corpus == "fsdd":
        order = np.random.default_rng(0).permutation(len(sounds))
        strings = order[: len(order) // DIGITS_JOINED * DIGITS_JOINED].reshape(-1, DIGITS_JOINED)
        return [np.concatenate([sounds[i] for i in string]) for string in strings]
    return sounds


def probes_of(sounds: Iterable[Samples]) -> Iterator[Samples]:
    """Join sounds until each holds enough net speech."""
    joined: list[Samples] = []
    for sound in sounds:
        joined.append(sound)
        whole = np.concatenate(joined)
        if prepare(Utterance(whole)).quality.speech_s >= PROBE_S:
            yield whole
            joined = []


def heard(examiner: Examiner, sound: Samples, *, enrolling: bool) -> Heard | None:
    """Return the voice of a sound, or None where the quality gate refuses it."""
    try:
        examined = examiner.examine(Utterance(sound), enrolling=enrolling)
    except PoorQuality:
        return None
    return Heard(examined.embedding, examined.prepared.quality)


def speaker_of(encoder: str, corpus: str, name: str, files: list[Path]) -> Speaker | None:
    """Enrol one speaker and embed their probes; None where too little is left of them."""
    examiner = Examiner(Voices(Settings(encoder=encoder)).own)
    sounds = sounds_of(corpus, files)
    phrases = (heard(examiner, sound, enrolling=True) for sound in sounds)
    enrolled = list(islice((phrase for phrase in phrases if phrase), ENROLMENT))
    if len(enrolled) < ENROLMENT:
        return None
    voices = [one.embedding for one in enrolled]
    speech_s = sum(one.quality.speech_s for one in enrolled)
    rest = (heard(examiner, one, enrolling=False) for one in probes_of(sounds[ENROLMENT:]))
    probes = [probe for probe in rest if probe]
    return Speaker(name, mean_of(voices), speech_s, probes, voices) if probes else None


def mean_of(voices: list[Embedding]) -> Vector:
    """Return the voiceprint of utterances, as an enrolment makes it."""
    lengths = [np.linalg.norm(voice.partials.sum(axis=0)) for voice in voices]
    total = np.sum(
        [length * voice.vector for length, voice in zip(lengths, voices, strict=True)], axis=0
    )
    return total / np.linalg.norm(total)


def least_agreement(voices: list[Embedding]) -> float:
    """Return the least similarity of one utterance to the mean of the others."""
    return min(
        float(mean_of([*voices[:place], *voices[place + 1 :]]) @ voice.vector)
        for place, voice in enumerate(voices)
    )


def enrolment_threshold(halves: dict[str, list[Speaker]]) -> tuple[float, dict[str, str]]:
    """Return what phrases of one enrolment must reach, and its rates."""
    agreements = [least_agreement(one.enrolled) for one in halves["choosing"]]
    threshold = float(np.floor(np.quantile(agreements, MOST_ASKED_AGAIN) * 100) / 100)
    return threshold, {half: agreement_report(some, threshold) for half, some in halves.items()}


def judge_of(encoder: str) -> Judge | None:
    """Return what is shipped to judge an encoder's voices; None where nothing is yet."""
    judge = Judge(encoder)
    try:
        _ = judge.threshold, judge.normalisation
    except ModelUnavailable as error:
        print(f"Nothing is calibrated for {encoder} yet, so that all probes count: {error}")
        return None
    return judge


def let_in(judge: Judge | None, owner: Speaker, probe: Heard) -> bool:
    """Return whether a probe as a whole is let in as its owner."""
    if judge is None:
        return True
    vector = probe.embedding.vector
    scores = judge.scores(
        np.array([owner.voiceprint @ vector], np.float64),
        judge.normalisation.similarities(owner.voiceprint[np.newaxis], vector).astype(np.float64),
        Circumstances(probe.quality.speech_s, probe.quality.snr_db, owner.speech_s),
    )
    return bool(scores[0] >= judge.threshold)


def stretch_threshold(
    halves: dict[str, list[Speaker]], judge: Judge | None
) -> tuple[float, dict[str, str]]:
    """Return what every stretch of a probe must reach, and its rates."""

    def least(owner: Speaker, probe: Heard) -> float:
        return float((probe.embedding.partials @ owner.voiceprint).min())

    def honest(speakers: list[Speaker]) -> list[float]:
        return [
            least(one, probe)
            for one in speakers
            for probe in one.probes
            if let_in(judge, one, probe)
        ]

    threshold = float(np.floor(np.quantile(honest(halves["choosing"]), MOST_CUT) * 100) / 100)
    rates = {}
    for half, speakers in halves.items():
        own = honest(speakers)
        others = [
            least(one, probe) >= threshold
            for one in speakers
            for other in speakers
            if one is not other
            for probe in other.probes
        ]
        rates[half] = (
            f"refused besides {interval(sum(value < threshold for value in own), len(own))} "
            f"strangers' speech unnoticed {interval(sum(others), len(others))}"
        )
    return threshold, rates


def agreement_report(speakers: list[Speaker], threshold: float) -> str:
    """Return how many speakers are asked again, and how many strangers' phrases are not noticed."""
    again = sum(least_agreement(one.enrolled) < threshold for one in speakers)
    strangers = [
        float(mean_of(one.enrolled[:-1]) @ other.enrolled[-1].vector) >= threshold
        for one in speakers
        for other in speakers
        if one is not other
    ]
    return (
        f"asked again {interval(again, len(speakers))} "
        f"stranger unnoticed {interval(sum(strangers), len(strangers))}"
    )


def interval(errors: int, trials: int) -> str:
    """Return a rate with its exact 95 % interval, in per cent."""
    if not trials:
        return "no trials"
    low, high = clopper_pearson(errors, trials)
    return f"{errors / trials:.3%} ({low:.3%} to {high:.3%}) of {trials}"


def halves_of(corpus: str) -> dict[str, list[tuple[str, list[Path]]]]:
    """Return the speakers of a corpus to choose on, and those to report on."""
    held_back = set((SPEECH / "heldback.txt").read_text(encoding="utf-8").split())
    halves: dict[str, list[tuple[str, list[Path]]]] = defaultdict(list)
    for name, files in utterances_of(corpus):
        held = f"{corpus}/{name}" in held_back or f"{corpus}/{files[0].name}" in held_back
        halves["reporting" if held else "choosing"].append((name, files))
    return halves


def tables_of(encoder: str, *, processes: int = 2) -> dict[str, Any]:
    """Return the thresholds of an encoder, with their rates and on how many speakers."""
    enrolments: dict[str, list[Speaker]] = defaultdict(list)
    counts = []
    for corpus in CORPORA:
        for half, people in halves_of(corpus).items():
            calls = (delayed(speaker_of)(encoder, corpus, *person) for person in people)
            speakers = [speaker for speaker in Parallel(processes)(calls) if speaker]
            enrolments[half] += speakers
            counts.append(f"{half}: {len(speakers)} of {len(people)} speakers of {corpus}")
            print(counts[-1])
    chosen = {
        "stretch": stretch_threshold(enrolments, judge_of(encoder)),
        "enrolment": enrolment_threshold(enrolments),
    }
    parts = {part: {"similarity": least, **rates} for part, (least, rates) in chosen.items()}
    return {"speakers": counts, **parts}


def write(encoder: str, tables: dict[str, Any], path: Path = THRESHOLDS) -> None:
    """Write the tables of one encoder, and keep those of the others."""
    kept = tomllib.loads(path.read_text(encoding="utf-8"))
    path.write_text(HEADER + tomli_w.dumps({**kept, encoder: tables}), encoding="utf-8")


def main() -> None:
    """Choose, report, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default=Settings.encoder)
    parser.add_argument("--write", action="store_true", help="write weights/thresholds.toml")
    options = parser.parse_args()
    tables = tables_of(options.encoder)
    print(tomli_w.dumps({options.encoder: tables}))
    if options.write:
        write(options.encoder, tables)


if __name__ == "__main__":
    main()
