"""Enumeration: whether whoever is refused can tell that there is somebody of that name.

The same recording, of somebody who is not enrolled and says the right words, is claimed to be an
enrolled person, and a person whom nobody knows. Both must be answered in the same words, with the
same exit code, after the same time. Everything is switched on, as it is for a login; failures are
taken back between two attempts, because otherwise both names would have to wait. Times are of the
CPU, of both names in random order one right after the other: a clock on the wall shows less. The
difference has a 95 % interval by resampling the pairs; p is Wilcoxon's for pairs (signed ranks) and
Mann and Whitney's, which leaves the pairing out. Last, how often each name would have to be tried
until the difference is noticed, unpaired as an attacker sees it; a name is locked after fifty
failures.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.attacks.logins import enrolment_of, recorded_logins, said_by
from benchmarks.attacks.people import DIGIT_SPEAKERS
from benchmarks.attacks.tally import table
from benchmarks.attacks.work import Work
from membrane.audio.files import save_recording
from membrane.audio.fingerprint import fingerprint_of
from membrane.audio.utterance import Utterance
from membrane.login.membrane import Membrane
from membrane.phrase.matching import normalise
from membrane.settings import load_settings

KNOWN = ("albert", "bertha", "conrad", "dorothy", "ernest")
UNKNOWN = ("agatha", "bernard", "clement", "dorinda", "edmund")
"""Of the same lengths, so that the names themselves take as long."""

STRANGER = DIGIT_SPEAKERS[-1]
DIGITS = "730951"

PAIRS = {False: 120, True: 6}
DECIDED = {False: 1000, True: 20}
COMMANDS = {False: 5, True: 1}
"""By whether it must be quick: pairs of whole verifications, of decisions alone, of commands."""

LOGINS = 20
"""As many recordings of logins as are remembered of each person."""

RESAMPLES = 2000

TOOK = re.compile(r"time: [0-9.]+ s")
"""What the command says of its own time, which is never twice the same."""

Floats = npt.NDArray[np.float64]


def report(work: Work) -> str:
    """Return what was measured, in Markdown."""
    membrane = Membrane(load_settings(database=work.folder / "voiceprints.joblib"))
    for name, speaker in zip(KNOWN, DIGIT_SPEAKERS, strict=False):
        phrases = [membrane.examine(one, enrolling=True) for one in enrolment_of(speaker)]
        membrane.enroll(name, phrases)
    said = said_by(STRANGER, DIGITS, np.random.default_rng(9)).utterance
    rows = _rows(membrane, said, quick=work.quick)
    for name, speaker in zip(KNOWN, DIGIT_SPEAKERS, strict=False):
        _let_in(membrane, name, speaker)
    later = _rows(membrane, said, quick=work.quick)
    head = ["what", "pairs", "known, median ms", "unknown, median ms", "known − unknown, median ms"]
    later = [[f"{what}, after {LOGINS} logins of each person", *cells] for what, *cells in later]
    timed = table([*head, "p, Wilcoxon", "p, Mann–Whitney", "attempts to notice"], [*rows, *later])
    return f"{timed}\n\n{_answers(membrane, said, COMMANDS[work.quick])}"


def _rows(membrane: Membrane, said: Utterance, *, quick: bool) -> list[list[str]]:
    asked = normalise(DIGITS)
    examined = membrane.examine(said, expected=asked)
    for name in (KNOWN[0], UNKNOWN[0]):  # loads what is loaded once
        membrane.verify(name, said, expected=asked)

    def verify(name: str, sound: Utterance) -> object:
        return membrane.verify(name, sound, expected=asked)

    def decide(name: str, sound: Utterance) -> object:
        return membrane.decide(name, examined)

    sounds = [_quieter(said, 1e-4 * number) for number in range(PAIRS[quick])]
    return [
        ["verify, from the recording on", *compared(membrane, verify, sounds)],
        ["the decision alone", *compared(membrane, decide, [said] * DECIDED[quick])],
    ]


def _let_in(membrane: Membrane, name: str, speaker: str) -> None:
    """Let somebody have logged in as often as is remembered."""
    chance = np.random.default_rng(2)
    for login in recorded_logins(speaker, LOGINS, len(DIGITS), chance):
        turn = membrane.guard.attempts.begin(name)
        membrane.guard.attempts.succeed(turn, fingerprint_of(login.samples).to_bytes())


def _quieter(said: Utterance, by: float) -> Utterance:
    """Return a sound that was never heard before, so that it is listened to anew."""
    return Utterance(said.samples * np.float32(1 - by))


def compared(
    membrane: Membrane, judge: Callable[[str, Utterance], object], sounds: Sequence[Utterance]
) -> list[str]:
    """Return the cells of one row: how long known and unknown names take."""
    chance = np.random.default_rng(1)
    seconds = np.zeros((len(sounds), 2))
    for number, sound in enumerate(sounds):
        names = (KNOWN[number % len(KNOWN)], UNKNOWN[number % len(UNKNOWN)])
        for place in chance.permutation(2):
            membrane.guard.attempts.unlock(names[place])
            # Another sound than that of its pair, or the words would be heard already.
            own = _quieter(sound, 3e-5 * place)
            started = time.process_time()
            judge(names[place], own)
            seconds[number, place] = time.process_time() - started
    return _cells(1000 * seconds)


def _cells(milliseconds: Floats) -> list[str]:
    from scipy.stats import mannwhitneyu, wilcoxon

    known, unknown = milliseconds.T
    low, high = median_interval(known - unknown)
    difference = f"{np.median(known - unknown):+.2f} ({low:+.2f} to {high:+.2f})"
    return [
        f"{len(known)}",
        f"{np.median(known):.2f}",
        f"{np.median(unknown):.2f}",
        difference,
        f"{wilcoxon(known, unknown).pvalue:.2g}",
        f"{mannwhitneyu(known, unknown).pvalue:.2g}",
        f"{attempts_to_notice(known, unknown):,.0f}",
    ]


def attempts_to_notice(known: Floats, unknown: Floats) -> float:
    """Return how often each of two names must be tried until their times tell them apart.

    With an error of 5 % on both sides and a power of 80 %: ``2 (1.96 + 0.84)² s² / d²``, as for two
    normal samples of equal size (J. Cohen, "Statistical power analysis", chapter 2).
    """
    variance = (np.var(known, ddof=1) + np.var(unknown, ddof=1)) / 2
    difference = float(np.median(known - unknown))
    return float(2 * (1.96 + 0.84) ** 2 * variance / max(difference**2, 1e-12))


def median_interval(differences: Floats, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a median, by resampling."""
    chance = np.random.default_rng(seed)
    drawn = np.median(chance.choice(differences, (RESAMPLES, len(differences))), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _answers(membrane: Membrane, said: Utterance, count: int) -> str:
    """Return whether the command answers known and unknown names alike."""
    database = membrane.settings.database_path
    sound = database.with_name("said.flac")
    save_recording(sound, said.samples)
    answers = []
    for name in (*KNOWN[:count], *UNKNOWN[:count]):
        membrane.guard.attempts.unlock(name)
        answers.append(_answer(name, sound, database))
    same = len(set(answers)) == 1
    code, text = answers[0]
    return (
        f"The command `membrane verify`, {count} names of each kind: "
        f"{'all answered alike' if same else '**answered differently**'}, exit code {code}: "
        f"“{' '.join(text.split())}”"
    )


def _answer(name: str, sound: Path, database: Path) -> tuple[int, str]:
    """Return the exit code of the command, and all that it says, without the name."""
    options = ["-u", name, "-f", str(sound), "--expect", DIGITS, "--database", str(database)]
    command = [sys.executable, "-m", "membrane", "verify", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).replace(name, "NAME")
    return done.returncode, TOOK.sub("time: …", said)
