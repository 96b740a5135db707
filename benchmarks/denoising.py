"""What denoising does to the words and to the voice, in each noise: what `auto` follows.

    python -m benchmarks.denoising [--encoder NAME] [--snr 20 10] [--noise pink] [--part choose]

Words: strings of six digits, joined from takes of the Free Spoken Digit Dataset; how often the
words that were said are refused, and how often one changed digit is accepted. Voice: speakers of
speechocean762, enrolled with three clean utterances; equal error rate, and how many times as high
it is denoised as it is as heard, with a 95 % interval that resamples the speakers. Voiceprints are
of the utterances as they were heard, or half of them denoised, as Membrane makes them for an
encoder that is given denoised sound. No quality gate.

Noises: "pink" is made, "noise" comes from files, "babble" from other speakers. The room is heard
for two seconds before, as at a microphone, and is the noise profile; "first quarter" takes that
of the probe for it instead, as the original did. Without added noise the profile is the
recording's own non-speech parts. The second column is the median signal-to-noise ratio that was
measured, which `auto` decides by.

Policies are chosen with ``--part choose``, on speakers and noises that are not held back.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.accuracy.cells import scored_trials
from benchmarks.accuracy.corpora import found
from benchmarks.accuracy.ratios import measured
from benchmarks.accuracy.systems import Corpus, Floats, Task, cosines
from benchmarks.accuracy.treatments import (
    BOTH,
    CHANGED,
    DENOISED,
    FIRST_QUARTER,
    HEARD,
    NOISES,
    TREATMENTS,
    Voiced,
    Worded,
    conditions_of,
    hear_voice,
    judge_words,
    voiceprint,
)
from benchmarks.accuracy.verdicts import ratio_shown
from membrane.errors import MembraneError
from membrane.evaluation.asked import RIGHT, Asked, asked_about
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.transcripts import Said, digit_strings
from membrane.evaluation.intervals import clopper_pearson
from membrane.evaluation.parallel import as_they_finish
from membrane.evaluation.trials import enrol_and_probe
from membrane.phrase.matching import DIGIT_WORDS
from membrane.settings import Settings
from membrane.voice.encoder import ENCODERS, Vector

CORPUS = "speechocean762"
DIGITS = 6
RESAMPLES = 200


# ---- Words


def strings_of(part: str, most: int) -> list[tuple[Said, tuple[Asked, ...]]]:
    """Return strings of digits, as many of each speaker, with what is claimed of them."""
    strings = digit_strings(found("fsdd", held_back=part == "report"), DIGITS)
    by_speaker: dict[str, list[Said]] = defaultdict(list)
    for said in strings:
        by_speaker[said.recording.speaker].append(said)
    chosen = [said for own in by_speaker.values() for said in own[: most or None]]
    claims = asked_about([said.words for said in chosen], DIGIT_WORDS)
    kept = [tuple(one for one in each if one.kind in (RIGHT, CHANGED)) for each in claims]
    return list(zip(chosen, kept, strict=True))


def words_table(judged: Sequence[Worded], conditions: Sequence[Condition]) -> Iterable[str]:
    """Yield a line for each condition."""
    columns = [(kind, treatment) for kind in (RIGHT, CHANGED) for treatment in (HEARD, DENOISED)]
    titles = {RIGHT: "refused", CHANGED: "changed"}
    heads = "".join(f"{f'{titles[kind]}, {treatment}':>22}" for kind, treatment in columns)
    yield f"{'words':14}{'measured':>10}{heads}"
    for condition in conditions:
        own = [one for one in judged if one.condition == condition.name]
        cells = [[one.wrong[treatment, kind] for one in own] for kind, treatment in columns]
        shares = "".join(f"{share_of(cell):>22}" for cell in cells)
        yield f"{condition.name:14}{median_snr(own):>10}{shares}"


def share_of(wrong: Sequence[bool]) -> str:
    """Return a share in per cent with its exact 95 % interval."""
    low, high = clopper_pearson(sum(wrong), len(wrong))
    return f"{100 * np.mean(wrong):.1f} ({100 * low:.1f}–{100 * high:.1f})"


# ---- Voice


def voice_table(
    corpus: Corpus,
    prints: dict[int, dict[str, Vector]],
    voiced: Sequence[Voiced],
    conditions: Sequence[Condition],
) -> Iterable[str]:
    """Yield a line for each condition and kind of voiceprint."""
    heads = "".join(f"{name:>15}" for name in TREATMENTS)
    yield f"{'voice':14}{'measured':>10}  {'voiceprint':12}{heads}{'denoised / as heard':>24}"
    for condition in conditions:
        own = [one for one in voiced if one.condition == condition.name]
        for kind in (HEARD, BOTH):
            owners = [prints[place][kind] for place in range(len(prints))]
            scores = [scores_of(owners, own, name) for name in (DENOISED, HEARD, FIRST_QUARTER)]
            task = Task(corpus, condition)
            rates = measured(
                [scored_trials(task, each) for each in scores], measure="EER", resamples=RESAMPLES
            )
            shown = "".join(f"{100 * rates.values[place]:>15.2f}" for place in (1, 0, 2))
            start = f"{condition.name:14}{median_snr(own):>10}  {kind:12}"
            yield f"{start}{shown}{ratio_shown(rates.ratio()):>24}"


def scores_of(owners: Sequence[Vector], probes: Sequence[Voiced], treatment: str) -> Floats:
    """Return the cosine of every voiceprint and probe; not-a-number where there is no voice."""
    missing = np.full(len(owners[0]), np.nan, np.float32)
    ordered = sorted(probes, key=lambda one: one.place)
    vectors = [one.vectors.get(treatment, missing) for one in ordered]
    return cosines(owners, np.stack(vectors))


def median_snr(judged: Sequence[Worded | Voiced]) -> str:
    """Return the median of the ratios that were measured."""
    return f"{np.median([one.snr_db for one in judged]):.0f} dB"


def people(part: str, most: int) -> Corpus:
    """Return the speakers of a part, or the first so many of them."""
    recordings = found(CORPUS, held_back=part == "report")
    names = sorted({one.speaker for one in recordings})[: most or None]
    trials = enrol_and_probe([one for one in recordings if one.speaker in names])
    return Corpus(CORPUS, "", trials, (), ())


# ---- The command


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.denoising",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--encoder", choices=ENCODERS, default=Settings.encoder)
    add("--snr", type=float, nargs="+", default=[20.0, 10.0, 5.0, 0.0], help="dB")
    add("--noise", nargs="+", choices=NOISES, default=["pink", "noise", "babble"])
    add("--part", choices=("report", "choose"), default="report")
    add("--only", choices=("words", "voice"), help="by default both")
    add("--speakers", type=int, default=0, metavar="N", help="the first N alone; by default all")
    add("--strings", type=int, default=12, metavar="N", help="of each speaker; 0 for all")
    add("--workers", type=int, help="processes; by default one for each core")
    return parser.parse_args()


def run(chosen: argparse.Namespace) -> None:
    """Measure and print."""
    conditions = conditions_of(chosen.part, chosen.noise, chosen.snr)
    if chosen.only != "voice":
        show_words(chosen, conditions)
    if chosen.only != "words":
        show_voice(chosen, conditions)


def show_words(chosen: argparse.Namespace, conditions: Sequence[Condition]) -> None:
    """Judge strings of digits and print how often the recognizer is wrong."""
    strings = strings_of(chosen.part, chosen.strings)
    calls = [(*each, condition) for condition in conditions for each in strings]
    judged = finished(judge_words, calls, chosen.workers)
    print(f"{len(strings)} strings of {DIGITS} digits; per cent, exact 95 % interval over strings")
    print(*words_table(judged, conditions), sep="\n", flush=True)


def show_voice(chosen: argparse.Namespace, conditions: Sequence[Condition]) -> None:
    """Hear voices and print how often the encoder is wrong."""
    corpus = people(chosen.part, chosen.speakers)
    trials = corpus.trials
    owners = [(chosen.encoder, place, who) for place, who in enumerate(trials.enrolled)]
    prints = dict(finished(voiceprint, owners, chosen.workers))
    probes = [
        (chosen.encoder, place, probe, condition)
        for condition in conditions
        for place, probe in enumerate(trials.probes)
    ]
    voiced = finished(hear_voice, probes, chosen.workers)
    print(f"encoder {chosen.encoder}, {len(owners)} speakers, equal error rate in per cent")
    print(*voice_table(corpus, prints, voiced, conditions), sep="\n", flush=True)


def finished(function: Callable, calls: list[tuple], workers: int | None) -> list:
    """Return what the function made of each call, in no particular order."""
    results = as_they_finish(function, calls, workers=workers)
    console = Console(stderr=True)
    return list(track(results, total=len(calls), console=console, description=function.__name__))


def main() -> None:
    """Measure what denoising does."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores between them
    try:
        run(options())
    except MembraneError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
