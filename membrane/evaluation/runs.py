"""What an evaluator can ask for: error rates of recordings, shown and written."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from membrane import __version__
from membrane.errors import MembraneError, ModelUnavailable, OutputUnwritable, UsageError
from membrane.evaluation.calibrating import Calibrated, Goal, HeardTrials, calibrate
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.labels import counted, csv_text
from membrane.evaluation.corpora.recordings import Found, Recording, find_recordings
from membrane.evaluation.corpora.transcripts import digit_strings, read_transcripts
from membrane.evaluation.evaluation import Evaluation, evaluate
from membrane.evaluation.phrases import CSV_HEADS, HEADS, INTERVAL_HEADS, evaluate_phrases
from membrane.evaluation.report import tables
from membrane.evaluation.report.page import write_report
from membrane.evaluation.report.plots import draw_all
from membrane.evaluation.scoring import mean_voices
from membrane.evaluation.trials import (
    Trials,
    against_database,
    all_pairs,
    enrol_and_probe,
    read_trial_list,
    side_by_side,
)
from membrane.evaluation.voices import Heard, Job, VoiceCache, hear
from membrane.evaluation.word_checks import kept_decisions
from membrane.login.voices import Voices
from membrane.models.registry import find, sha256_of
from membrane.settings import Settings, calibration_file
from membrane.store.joblib_store import open_store
from membrane.terminal.console import View
from membrane.terminal.tasks import require_writable
from membrane.terminal.text import sentence
from membrane.voice.calibration import require_place
from membrane.voice.judge import COHORT, Judge, cohort_beside
from membrane.voice.normalisation import Cohort, normalisation_named, save_cohort
from membrane.voice.voice import Voice


@dataclass(frozen=True)
class Selection:
    """Whose recordings are compared, and how.

    Parameters
    ----------
    folders : tuple of Path
        Each holds a folder per speaker.
    enroll : tuple of int
        Utterances that make a voiceprint.
    pairs : bool
        Compare every recording with every other, instead of enrolling.
    trial_list, root : Path or None
        A list of trials, and the folder that its files are in.
    database : bool
        Compare the probes with the people who are enrolled.
    labels, only, without : Path or None
        Files, as `find_recordings` takes them.
    pieces_s : tuple of float, seconds
        Lengths to join and cut recordings to, one after the other; empty for as they are.
    cohort : Path or None
        A folder of strangers to normalise with, instead of the shipped cohort.
    """

    folders: tuple[Path, ...] = ()
    enroll: tuple[int, ...] = (3,)
    pairs: bool = False
    trial_list: Path | None = None
    root: Path | None = None
    database: bool = False
    labels: Path | None = None
    only: Path | None = None
    without: Path | None = None
    pieces_s: tuple[float, ...] = ()
    cohort: Path | None = None

    def __post_init__(self) -> None:
        listed = self.trial_list is not None
        refused = {
            "name a folder that holds a folder per speaker, or give --trials": not (
                listed or self.folders
            ),
            "--pairs, --trials and --enrolled exclude each other": (
                self.pairs + self.database + listed > 1
            ),
            "--trials names its files itself: give their folder with --root": (
                listed and self.folders
            ),
            "--only, --without and --pieces go with folders, not with --trials": (
                listed and (self.only or self.without or self.pieces_s)
            ),
            "--root goes with --trials": self.root is not None and not listed,
        }
        for problem, wrong in refused.items():
            if wrong:
                raise UsageError(problem)

    @property
    def enrolling(self) -> bool:
        """Whether voiceprints are made as `membrane enroll` makes them."""
        return not self.pairs and self.trial_list is None


@dataclass
class Evaluations:
    """Everything that is asked of recordings of known speakers.

    Parameters
    ----------
    settings : Settings
    view : View
    material : Selection
    gate : bool
        Refuse what a login would refuse.
    how : dict of str to Any
        How recordings are heard, as `voices.hear` and `word_checks.check_words` take it.
    """

    settings: Settings
    view: View
    material: Selection
    gate: bool
    how: Mapping[str, Any]

    def evaluate(  # noqa: PLR0913 (each is an option of the command)
        self,
        conditions: Sequence[Condition],
        *,
        by: Sequence[str],
        resamples: int,
        as_csv: bool,
        plots: Path | None,
        report: Path | None,
    ) -> None:
        """Measure error rates, show them and write them."""
        _require_places(plots, report)
        notes, trials = self.trials()
        evaluation = evaluate(
            trials,
            self.voice(),
            self.listen,
            conditions=conditions,
            enrolling=self.material.enrolling,
            by=by,
            resamples=resamples,
        )
        evaluation = replace(
            evaluation,
            notes=tuple(dict.fromkeys((*notes, *evaluation.notes))),
            provenance=self.provenance(trials, conditions),
        )
        self._show(evaluation, as_csv=as_csv)
        if plots is not None:
            for path in draw_all(evaluation, plots):
                self.view.note(f"Drawn: {path}")
        if report is not None:
            write_report(evaluation, report)
            self.view.note(f"Written: {report}")

    def evaluate_phrases(
        self,
        conditions: Sequence[Condition],
        *,
        transcripts: Path | None,
        digits: int | None,
        recognizers: Sequence[str],
        as_csv: bool,
    ) -> None:
        """Measure how often words are judged wrongly, and show it."""
        found = self._found()
        if (transcripts is None) == (digits is None):
            raise UsageError(
                "--phrases needs to know what is said: give --transcripts FILE, or --digits N to "
                "join recordings that are named by their digit"
            )
        if transcripts is None:
            said = digit_strings(found.recordings, digits or 0)
        else:
            said = read_transcripts(transcripts, found.recordings)
        names = tuple(recognizers) or (self.settings.recognizer,)
        with self.view.counting("Judging", len(said) * len(conditions) * len(names)) as progress:
            evaluation = evaluate_phrases(
                said,
                self.settings,
                conditions=conditions,
                recognizers=names,
                kept=kept_decisions(),
                progress=progress,
                **self.how,
            )
        about = provenance_of((one.recording for one in said), self.settings)
        evaluation = replace(evaluation, provenance=about)
        silent = len(found.recordings) - len(said)
        if transcripts is not None and silent:
            self.view.warn(f"{counted(silent, 'recording')} left out: {transcripts} lacks them.")
        self._warn(found.notes, evaluation.notes)
        if self.view.as_json:
            self.view.json(evaluation.as_json())
        elif as_csv:
            self.view.text(csv_text((CSV_HEADS, *evaluation.csv_rows())))
        else:
            self.view.table(HEADS, evaluation.rows())
            self.view.table(INTERVAL_HEADS, evaluation.intervals())

    def trials(
        self, *, only: Path | None = None, without: Path | None = None
    ) -> tuple[list[str], Trials]:
        """Return who is compared with which recordings, and what was left out of them."""
        material = self.material
        if material.trial_list is not None:
            root = material.root or Path.cwd()
            return [], read_trial_list(material.trial_list, root, labels=material.labels)
        # A piece of one length may hold the sound of one of another: they are not compared.
        lengths = material.pieces_s or (None,)
        found = [self._found(length, only=only, without=without) for length in lengths]
        notes = list(dict.fromkeys(note for one in found for note in one.notes))
        return notes, side_by_side([self._compared(one) for one in found])

    def _warn(self, *notes: Sequence[str]) -> None:
        for note in dict.fromkeys(chain(*notes)):
            self.view.warn(note)

    def _compared(self, found: Found) -> Trials:
        if self.material.pairs:
            return all_pairs(found.recordings)
        if self.material.database:
            gallery = open_store(self.settings.database_path).gallery()
            return against_database(gallery, found.recordings, encoder=self.settings.encoder)
        return enrol_and_probe(found.recordings, enroll=self.material.enroll)

    def _found(
        self,
        pieces_s: float | None = None,
        *,
        only: Path | None = None,
        without: Path | None = None,
    ) -> Found:
        material = self.material
        return find_recordings(
            material.folders,
            labels=material.labels,
            pieces_s=pieces_s,
            only=only or material.only,
            without=without or material.without,
        )

    @cached_property
    def cohort(self) -> Cohort | None:
        """The strangers of one's own to normalise with, one voice of each."""
        if self.material.cohort is None:
            return None
        found = find_recordings((self.material.cohort,))
        heard = self.listen([Job(recording) for recording in found.recordings])
        speakers, numbers = np.unique(
            [one.speaker for one in found.recordings], return_inverse=True
        )
        means = mean_voices(numbers, heard, len(speakers))
        voiced = means[np.isfinite(means).all(axis=1)]
        return Cohort.of(voiced, provenance_of(found.recordings, self.settings))

    def voice(self) -> Voice:
        """Return the voice that judges a login, as the settings want it."""
        voice = Voices(self.settings).own
        if self.cohort is None:
            return voice
        return replace(voice, judge=replace(voice.judge, cohort=self.cohort))

    def provenance(self, trials: Trials, conditions: Sequence[Condition]) -> dict[str, Any]:
        """Return what was measured on what, and how."""
        enrolment = (one for who in trials.enrolled for one in who.recordings)
        return {
            **provenance_of((*enrolment, *trials.probes), self.settings),
            "folders": [folder.resolve().name for folder in self.material.folders],
            "conditions": [condition.name for condition in conditions],
            "quality_gate": self.gate,
        }

    def listen(self, jobs: Sequence[Job]) -> list[Heard]:
        """Hear every job, in parallel, with a progress bar; what was heard before is kept."""
        cache = VoiceCache()
        with self.view.counting("Listening", len(jobs)) as progress:
            heard = hear(
                jobs,
                self.settings,
                cache=cache,
                progress=progress,
                gate=self.gate,
                **self.how,
            )
        if cache.problem:
            self.view.warn(sentence(cache.problem))
        return heard

    def _show(self, evaluation: Evaluation, *, as_csv: bool) -> None:
        self._warn(evaluation.notes)
        if self.view.as_json:
            self.view.json(evaluation.as_json())
        elif as_csv:
            self.view.text(tables.as_csv(evaluation))
        else:
            first = evaluation.outcomes[0]
            self.view.table(("measured on", first.condition), tables.counts(first))
            self.view.table(("measure", "value (95 % interval)"), tables.measured(first))
            if len(evaluation.outcomes) > 1:
                rows = tables.in_short(evaluation, intervals=self.view.wide)
                self.view.table(tables.HEADS, rows)
                if not self.view.wide:
                    self.view.note("Wider, or with --csv, the intervals are shown, too.")

    def calibrate(  # noqa: PLR0913 (each is an option of the command)
        self,
        conditions: Sequence[Condition],
        goal: Goal,
        *,
        held_back: Path | None = None,
        resamples: int = 200,
        output: Path | None = None,
        dry_run: bool = False,
    ) -> None:
        """Fit scores and thresholds, show what they change, and write them."""
        if held_back is not None and (self.material.only or self.material.without):
            raise UsageError("--held-back goes with neither --only nor --without")
        path = output or calibration_file()
        if not dry_run:
            require_place(path)
        before = self._in_use()
        normalisation = normalisation_named(
            self.settings.normalise or before.judge.normalisation.name,
            before.name,
            cohort=self.cohort,
        )
        notes, trials = self.trials(without=held_back)
        several = [trials] if held_back is None else [trials, self.trials(only=held_back)[1]]
        choosing, *others = (
            HeardTrials.of(one, self.listen, conditions, enrolling=self.material.enrolling)
            for one in several
        )
        calibrated = calibrate(
            choosing,
            before,
            goal,
            normalisation,
            reporting=others[0] if others else None,
            resamples=resamples,
            provenance=self.provenance(trials, conditions),
        )
        self._warn(notes, trials.notes)
        self._show_calibrated(calibrated)
        if dry_run:
            self.view.note("Nothing was written: this was a dry run.")
            return
        provenance = dict(calibrated.calibration.provenance)
        if self.cohort is not None:
            cohort_file = cohort_beside(path, before.name)
            save_cohort(self.cohort, cohort_file)
            provenance[COHORT] = sha256_of(cohort_file)
        replace(calibrated.calibration, provenance=provenance).save(path)
        self.view.note(f"Written: {path}")

    def _in_use(self) -> Voice:
        """Return the voice that judges by calibration until now.

        A calibration of one's own that is damaged, or lacks the level, must not keep anybody from
        making a better one: then it is the shipped one. Of an encoder that nothing is shipped for
        yet, it is the bare similarity.
        """
        voice = Voices(replace(self.settings, normalise="", threshold=None)).own
        problem = _problem_of(voice.judge)
        if not problem:
            return voice
        shipped, what = replace(voice.judge, calibration_file=None), "shipped calibration"
        if _problem_of(shipped):
            shipped, what = replace(shipped, cosine=shipped.stretch_threshold), "bare similarity"
        self.view.warn(f"Compared with the {what}, because {problem}.")
        return replace(voice, judge=shipped)

    def _show_calibrated(self, calibrated: Calibrated) -> None:
        if self.view.as_json:
            self.view.json(tables.calibrated_as_json(calibrated))
            return
        self.view.table(
            ("looked at", "Cllr, cross-validated over speakers"), tables.choice(calibrated)
        )
        self.view.table(
            ("level", "strangers", "let in above", "rests on"), tables.levels(calibrated)
        )
        self.view.table(("measure", "before", "after"), tables.compared(calibrated))
        self.view.note(f"Measured on {calibrated.reported_on}.")


def _require_places(plots: Path | None, report: Path | None) -> None:
    """Refuse what cannot be written before hours were spent on it."""
    if report is not None:
        require_writable(report)
    if plots is not None:
        try:
            plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputUnwritable(f"{plots} is no folder for plots ({error.strerror})") from None
        require_writable(plots / "det.png")


def _problem_of(judge: Judge) -> str:
    """Return why a judge can judge nothing; empty if it can."""
    try:
        _ = judge.threshold, judge.normalisation
    except (UsageError, ModelUnavailable) as error:
        return str(error)
    return ""


# ---- What was measured on what, so that a figure can be made again


LIBRARIES = ("joblib", "noisereduce", "numpy", "onnxruntime", "scipy", "soundfile", "soxr")
"""Libraries whose versions can move a figure."""


def provenance_of(recordings: Iterable[Recording], settings: Settings) -> dict[str, Any]:
    """Return the recordings' numbers and hash, the versions, the settings and the command.

    Parameters
    ----------
    recordings : iterable of Recording
    settings : Settings
    """
    different = set(recordings)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["membrane", *sys.argv[1:]]),
        "speakers": len({one.speaker for one in different}),
        "recordings": len(different),
        "files": len({file for one in different for file in one.files}),
        "recordings_sha256": content_hash(different),
        "encoder": settings.encoder,
        "encoder_sha256": find(settings.encoder).sha256,
        "settings": {
            name: str(value)
            for name, value in asdict(settings).items()
            if value and value != getattr(Settings, name)
        },
        "versions": {
            "membrane": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def content_hash(recordings: Iterable[Recording]) -> str:
    """Return one SHA-256 of the contents of recordings, whatever their order; missing files too."""
    hashes = sorted(f"{one.speaker} {_hash(one)}" for one in recordings)
    return sha256("\n".join(hashes).encode()).hexdigest()


def _hash(recording: Recording) -> str:
    try:
        return recording.content_hash()
    except MembraneError:
        return "unreadable"
