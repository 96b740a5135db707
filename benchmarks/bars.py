"""Whether an encoder meets the bars that it must meet to take the place of another.

    python -m benchmarks.bars [--encoder membrane] [--reference resemblyzer] [--write]

Both hear the held-back speakers of ../shared/speech in held-back noises and in babble of held-back
people, which no choice was made on. Voiceprints are made of three clean utterances; the score is
the cosine; no quality gate, no normalisation, no calibration. Bars are held against the reference
without denoising; the last column of the table is the ratio to the reference as Membrane uses it,
denoised where that helps. A ratio's interval resamples the speakers, the same for both.

A bar is "met" where the whole interval lies below it, "not met" where it all lies above, and else
"cannot be told": then a bold ratio is one that would meet it.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.accuracy.cells import scored_trials, speakers_of
from benchmarks.accuracy.corpora import CORPORA, SPEECH, conditions_of_bars
from benchmarks.accuracy.plain import Plain
from benchmarks.accuracy.ratios import mean_of, measured
from benchmarks.accuracy.systems import Corpus, Floats, Task
from benchmarks.accuracy.verdicts import Bar, Line, line_of, summary, table_of
from benchmarks.embedding import cpu_of, ratio_of
from membrane.errors import MembraneError
from membrane.evaluation.conditions import Condition
from membrane.evaluation.metrics import ScoredTrials
from membrane.evaluation.voices import cache_folder
from membrane.models.registry import registry
from membrane.voice.encoder import ENCODERS, load_encoder

TABLE = Path(__file__).with_name("BARS.md")

CORPORA_OF_BARS = (
    "librispeech",
    "speechocean762",
    "librispeech-single",
    "fsdd-3",
    "speech-commands",
)

TOO_SHORT_TO_CUT = ("fsdd-3", "speech-commands")
"""Corpora whose probes hold less than two seconds of speech as they are."""

RESAMPLES = 400
SECONDS = 5.0
ROUNDS = 60
"""Clips of so many seconds that the cost of the encoders is measured on."""

ADULT = 18
"""Years; nobody of speechocean762 is 16 to 18."""

GROUPS = ("f", "m", "children", "adults")
GROUPED = "speechocean762"
GROUPED_IN = ("clean", "noise 10 dB", "babble 10 dB")


BARS = (
    Bar("clean", 0.7),
    Bar("clean", 0.7, "minDCF"),
    Bar("noise 10 dB", 0.25),
    Bar("babble 10 dB", 0.25),
    Bar("noise 0 dB", 0.2),
    Bar("babble 0 dB", 0.4),
    Bar("telephone", 0.6),
    Bar("gsm", 0.6),
    Bar("mp3", 0.6),
    Bar("opus", 0.6),
    Bar("reverb", 0.6),
    Bar("2 s", 0.6),
)

EQUAL = 1.0
"""What the ratio of a group of speakers, and the ratio of the cost, must not exceed."""

COST_IF_HALVED = 2.0
"""What the cost may be if the mean error rates are half of what the bars ask for."""

Scored = dict[tuple[str, str], list[ScoredTrials]]
"""By corpus and condition: the trials as each system scored them."""


def lines_of_bars(scored: Scored) -> Iterator[Line]:
    """Yield each bar on each corpus, then on average."""
    for bar in BARS:
        what = f"{bar.condition}, {bar.measure}"
        found = {
            corpus: measured(systems, measure=bar.measure, resamples=RESAMPLES)
            for (corpus, condition), systems in scored.items()
            if condition == bar.condition
        }
        for corpus, each in found.items():
            yield line_of(what, corpus, each, bar)
        if len(found) > 1:
            where = f"mean of {len(found)} corpora"
            yield line_of(what, where, mean_of(list(found.values())), bar, average=True)


def lines_of_groups(scored: Scored, corpus: Corpus) -> Iterator[Line]:
    """Yield how each group of speakers fares: trials between people of the group."""
    for condition in GROUPED_IN:
        systems = scored.get((corpus.name, condition))
        for group, inside in groups_of(corpus).items() if systems else ():
            own = inside[systems[0].enrolled_speakers] & inside[systems[0].probe_speakers]
            found = measured(
                [one.where(own) for one in systems], measure="EER", resamples=RESAMPLES
            )
            bar = Bar(condition, EQUAL)
            yield line_of(f"{condition}, EER", f"{corpus.name}, {group}", found, bar)


def groups_of(corpus: Corpus) -> dict[str, np.ndarray]:
    """Return which of the speakers, in their order, are of each group."""
    table = (SPEECH / corpus.name / "speakers.tsv").read_text(encoding="utf-8")
    people = {row["speaker"]: row for row in csv.DictReader(table.splitlines(), delimiter="\t")}
    of_speaker = [
        (person["gender"], "children" if int(person["age"]) < ADULT else "adults")
        for person in (people[name.split("/")[-1]] for name in speakers_of(corpus.trials))
    ]
    return {group: np.array([group in own for own in of_speaker]) for group in GROUPS}


def line_of_cost(tested: str, reference: str, lines: Sequence[Line]) -> Line:
    """Return what embedding costs, and what it may."""
    encoders = [load_encoder(tested), load_encoder(reference)]
    spent = cpu_of(encoders, seconds=SECONDS, rounds=ROUNDS)
    shown = [f"{1000 * median:.1f} ms" for median in np.median(spent, axis=0)]
    return Line(
        what=f"CPU of embedding {SECONDS:g} s",
        where="librispeech",
        values=(shown[0], shown[1]),
        compared=ratio_of(spent[:, 0], spent[:, 1]),
        most=COST_IF_HALVED if halved(lines) else EQUAL,
    )


def halved(lines: Iterable[Line]) -> bool:
    """Return whether the mean error rates are half of what the bars ask for, or less."""
    average = [line for line in lines if line.average]
    return bool(average) and all(line.compared.value <= line.most / 2 for line in average)


# ---- Hearing


def scored_by_all(
    systems: Sequence[Plain],
    corpora: Sequence[Corpus],
    conditions: Sequence[Condition],
    chosen: argparse.Namespace,
) -> Scored:
    """Return the trials of every corpus and condition as each system scored them."""
    scored: Scored = {}
    with Progress(console=Console(stderr=True)) as progress:
        for corpus in corpora:
            own = [one for one in conditions if is_for(one, corpus)]
            found = [similarities(each, corpus, own, chosen, progress) for each in systems]
            for place, condition in enumerate(own):
                task = Task(corpus, condition)
                scored[corpus.name, condition.name] = [
                    scored_trials(task, of_system[place]) for of_system in found
                ]
    return scored


def is_for(condition: Condition, corpus: Corpus) -> bool:
    """Return whether a condition changes the probes of a corpus."""
    return condition.seconds is None or corpus.name not in TOO_SHORT_TO_CUT


def similarities(
    system: Plain,
    corpus: Corpus,
    conditions: Sequence[Condition],
    chosen: argparse.Namespace,
    progress: Progress,
) -> list[Floats]:
    """Return what a system makes of a corpus, and show how far it is."""
    title = f"{corpus.name}: {system.encoder}, denoise {system.denoise}"
    bar = progress.add_task(title, total=None)
    return system.similarities(
        corpus,
        conditions,
        cache=chosen.cache,
        workers=chosen.workers,
        progress=lambda done, total: progress.update(bar, completed=done, total=total),
    )


def as_markdown(lines: Sequence[Line], notes: Sequence[str], tested: str, reference: str) -> str:
    """Return the whole of BARS.md."""
    about = [paragraph.replace("\n", " ") for paragraph in (__doc__ or "").split("\n\n")[2:]]
    parts = [
        f"# Is {tested} better than {reference}?",
        "Written by `python -m benchmarks.bars --write`.",
        *(paragraph.strip() for paragraph in about),
        summary(lines),
        table_of(lines, tested, reference),
        *notes,
    ]
    return "\n\n".join(parts) + "\n"


def notes_of(corpora: Iterable[Corpus], names: Iterable[str]) -> list[str]:
    """Return what else is to be known of the numbers."""
    models = [f"{name} {registry()[name].sha256[:12]}" for name in names if name in registry()]
    people = [f"{one.name} {len(speakers_of(one.trials))}" for one in corpora]
    return [
        f"Models, by the beginning of their SHA-256: {', '.join(dict.fromkeys(models))}.",
        f"Held-back speakers: {', '.join(people)}. Three say little of fsdd whatever they say.",
        "None of the four room responses of `rir` is held back: reverberation is a fair test only "
        "of an encoder that was trained on other rooms.",
    ]


# ---- The command


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bars",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--encoder", default="membrane", help=f"one of {', '.join(ENCODERS)}")
    add("--reference", default="resemblyzer")
    add("--corpus", nargs="+", choices=CORPORA_OF_BARS, default=list(CORPORA_OF_BARS))
    add("--condition", nargs="+", metavar="NAME", help="such as 'noise 10 dB'; by default all")
    add("--write", action="store_true", help=f"write {TABLE.name}")
    add("--workers", type=int, help="processes; by default one for each core")
    add("--cache", type=Path, metavar="DIR", default=cache_folder().parent / "accuracy" / "voices")
    chosen = parser.parse_args()
    if chosen.write and (chosen.condition or len(chosen.corpus) < len(CORPORA_OF_BARS)):
        parser.error("--write is for all bars: leave out --corpus and --condition")
    return chosen


def chosen_conditions(names: Sequence[str] | None) -> list[Condition]:
    """Return the conditions of these names, or all."""
    known = conditions_of_bars()
    wrong = set(names or ()) - {one.name for one in known}
    if wrong:
        sys.exit(
            f"no condition is called {', '.join(sorted(wrong))}: choose from "
            f"{', '.join(one.name for one in known)}"
        )
    return [one for one in known if not names or one.name in names]


def run(chosen: argparse.Namespace) -> None:
    """Measure, print, and write."""
    load_encoder(chosen.encoder)
    systems = [
        Plain(chosen.encoder, "auto"),
        Plain(chosen.reference, "never"),
        Plain(chosen.reference, "auto"),
    ]
    corpora = [CORPORA[name]() for name in chosen.corpus]
    scored = scored_by_all(systems, corpora, chosen_conditions(chosen.condition), chosen)
    lines = list(lines_of_bars(scored))
    for corpus in corpora:
        if corpus.name == GROUPED:
            lines += lines_of_groups(scored, corpus)
    lines.append(line_of_cost(chosen.encoder, chosen.reference, lines))
    notes = notes_of(corpora, (chosen.encoder, chosen.reference))
    text = as_markdown(lines, notes, chosen.encoder, chosen.reference)
    print(text)
    if chosen.write:
        TABLE.write_text(text, encoding="utf-8")


def main() -> None:
    """Check the bars."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores between them
    try:
        run(options())
    except MembraneError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
