"""The training loop: learn from batches, validate now and then, write checkpoints."""

from __future__ import annotations

import copy
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from membrane.terminal.console import View
from membrane.training.batches import Batches
from membrane.training.finishing import blended, heard_by, shares_of, whitened
from membrane.training.learner import Learner, Losses
from membrane.training.network import Network
from membrane.training.progress import Bar, Lines, Table, TensorBoard, following
from membrane.training.run_folder import (
    RECIPE,
    SPEAKERS,
    RunFolder,
    deferred,
    load_checkpoint,
    save_checkpoint,
)
from membrane.training.validation import (
    Best,
    Errors,
    Validation,
    Voices,
    network_voices,
    teacher_voices,
)

LOG_EVERY = 10
"""Steps between two rows of the log."""

TEACHER_SHARE = "teacher_share"
"""Key of the teacher's share of the weights in a checkpoint, once that is chosen."""

KEEP_EVERY_S = 60.0
"""Seconds of work that may be lost when the machine goes down."""


@dataclass
class Trainer:
    """One training, from its first step or from a checkpoint to its end.

    Parameters
    ----------
    validation : Validation or None
        None in all processes but the first.
    view : View
        Quiet in all processes but the first.
    workers : int
        Processes that make batches.
    speakers : list of str
        Speakers to learn from.
    charts : TensorBoard or None
        Curves to write besides the tables.
    """

    learner: Learner
    batches: Batches
    validation: Validation | None
    folder: RunFolder
    view: View
    workers: int
    speakers: list[str]
    charts: TensorBoard | None = None
    best: Best = field(default_factory=Best)
    teachers: Errors = field(default_factory=dict)
    best_errors: Errors = field(default_factory=dict)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Parameters
        ----------
        state : dict
            As `membrane.training.run_folder.load_checkpoint` returns it.
        """
        self.learner.restore(state)
        self.best = Best(**state["best"])
        self.teachers = {(corpus, name): error for corpus, name, error in state["teachers"]}
        self.best_errors = {(corpus, name): error for corpus, name, error in state["best_errors"]}

    def run(self) -> None:
        """Train until the last step, or until validation has not improved for too long.

        However this ends, also by Ctrl-C, it writes a checkpoint.

        Raises
        ------
        OutputUnwritable
            If the run's folder cannot be written.
        UsageError
            If the loss is not a number any more.
        """
        try:
            if self.validation is not None:
                self._begin(self.validation)
            last = self.learner.recipe.steps
            with following(self.view, first=self.learner.step, last=last) as progress:
                self._learn(progress)
        except (KeyboardInterrupt, SystemExit):
            self._keep()
            raise
        finally:
            if self.charts:
                self.charts.close()

    def finish(self, teacher: Network) -> None:
        """Blend and whiten the best network if validation improves.

        Parameters
        ----------
        teacher : Network
            A network of the same recipe with the old layers as they were before training.

        Raises
        ------
        OutputUnwritable
        """
        if self.validation is None:
            return  # the first process does it
        kept = load_checkpoint(self.folder.best)
        if TEACHER_SHARE in kept:
            return
        network = copy.deepcopy(self.learner.average)
        network.load_state_dict(kept["average"])
        network, share = self._blended(network, teacher.to(self.learner.device))
        self._keep_best(self._whitened(network), kept["step"], **{TEACHER_SHARE: share})
        self._keep()  # a resumed run shows the final rates

    def _blended(self, learnt: Network, teacher: Network) -> tuple[Network, float]:
        best, share = learnt, 0.0
        for tried in shares_of(self.learner.recipe.blends)[1:]:
            network = blended(learnt, teacher, tried)
            if self._better(network, f"With {tried:.0%} of the teacher"):
                best, share = network, tried
        return best, share

    def _whitened(self, network: Network) -> Network:
        recipe = self.learner.recipe
        if network.projection is None or network.projects:
            return network
        last = recipe.steps + recipe.whitening_batches
        with closing(self.batches.iterate(recipe.steps, last, workers=self.workers)) as unheard:
            heard = heard_by(network, unheard, self.learner.starts)
        power, shrinkage = recipe.whitening_power, recipe.whitening_shrinkage
        projected = whitened(network, heard, power=power, shrinkage=shrinkage)
        return projected if self._better(projected, "Whitened") else network

    def _better(self, network: Network, name: str) -> bool:
        """Return whether a network has the best validation so far."""
        assert self.validation is not None, "only the first process finishes"
        errors = self.validation.errors(partial(network_voices, network))
        ratio = self.validation.ratio(errors, self.teachers)
        self.view.note(f"{name}: {ratio:.3f} times the teacher's EER.")
        if ratio >= self.best.ratio:
            return False
        self.best.ratio, self.best_errors = ratio, errors
        return True

    def _begin(self, validation: Validation) -> None:
        """Open the tables and measure the teacher once, as step 0."""
        after = self.learner.step
        losses = ["loss", *self.learner.objective.weights]
        self._log = Table(self.folder.log, [*losses, "rate", "seconds"], after=after)
        rates = [f"{it.corpus}: {name}" for it in validation.corpora for name in it.conditions]
        self._validations = Table(
            self.folder.validations, ["ratio", "mean", "seconds", *rates], after=after
        )
        if not self.teachers:
            _, mean, _ = self._measured(validation, teacher_voices)
            self.view.note(f"Validation: the teacher's EER is {mean:.1f} % on average.")

    def _learn(self, progress: Bar | Lines) -> None:
        if self._due():
            self._validate(progress)
        if self._finished():
            return
        recipe, step = self.learner.recipe, self.learner.step
        rows = self.learner.processes.rows(2 * recipe.speakers)
        remaining = self.batches.iterate(step, recipe.steps, workers=self.workers, rows=rows)
        with closing(remaining):
            kept_at = began = time.monotonic()
            for batch in remaining:
                with deferred():
                    losses = self.learner.learn(batch)
                    self._note(losses, time.monotonic() - began)
                progress.step(self.learner.step, losses["loss"])
                if self._due():
                    self._validate(progress)
                    kept_at = time.monotonic()
                    if self._finished():
                        return
                elif time.monotonic() - kept_at > KEEP_EVERY_S:
                    self._keep()
                    kept_at = time.monotonic()

    def _due(self) -> bool:
        """Return whether this step still needs a validation."""
        recipe, step = self.learner.recipe, self.learner.step
        at_end = step % recipe.validate_every == 0 or step == recipe.steps
        return at_end and self.best.asked_at < step

    def _finished(self) -> bool:
        """Return whether training is done, the same in all processes."""
        done = self.learner.step >= self.learner.recipe.steps
        worse = self.best.worse_since >= self.learner.recipe.patience
        if worse and not done:
            self.view.note(
                f"Ended at step {self.learner.step}: {self.best.worse_since} validations in a row "
                f"were no better than that at step {self.best.step}."
            )
        return bool(self.learner.processes.agreed(done or worse))

    def _note(self, losses: Losses, seconds: float) -> None:
        """Add to the log if it is time."""
        step = self.learner.step
        if self.validation is None or step % LOG_EVERY:
            return
        self._log.add(step, {**losses, "rate": self.learner.rate, "seconds": seconds})
        if self.charts:
            self.charts.add(step, {**losses, "rate": self.learner.rate})

    def _validate(self, progress: Bar | Lines) -> None:
        if self.validation is None:
            return
        average = partial(network_voices, self.learner.average)
        errors, mean, ratio = self._measured(self.validation, average)
        if self.charts:
            self.charts.add(self.learner.step, {"mean EER": mean, "ratio": ratio})
        progress.validated(mean)
        improved = self.best.improved(self.learner.step, ratio)
        self.view.note(
            f"Validation at step {self.learner.step}: EER {mean:.1f} %, {ratio:.3f} times the "
            f"teacher's{', the best so far' if improved else ''}."
        )
        if improved:
            self.best_errors = errors
            self._keep_best(self.learner.average, self.learner.step)
        self._keep()

    def _measured(self, validation: Validation, voices: Voices) -> tuple[Errors, float, float]:
        """Tabulate and return error rates, their mean and their ratio to the teacher's."""
        began = time.monotonic()
        errors = validation.errors(voices)
        self.teachers = self.teachers or errors
        mean, ratio = validation.mean(errors), validation.ratio(errors, self.teachers)
        rates = {f"{corpus}: {condition}": rate for (corpus, condition), rate in errors.items()}
        seconds = time.monotonic() - began
        self._validations.add(
            self.learner.step, {"ratio": ratio, "mean": mean, "seconds": seconds, **rates}
        )
        return errors, mean, ratio

    def _keep(self) -> None:
        """Write a checkpoint to go on from."""
        self._save(
            self.folder.last,
            **self.learner.state(),
            best=asdict(self.best),
            teachers=[(*key, error) for key, error in self.teachers.items()],
            best_errors=[(*key, error) for key, error in self.best_errors.items()],
        )

    def _keep_best(self, network: Network, step: int, **more: float) -> None:
        """Write a network that is the best so far."""
        self._save(self.folder.best, step=step, average=network.state_dict(), **more)

    def _save(self, path: Path, **state: Any) -> None:
        """Write a checkpoint in the first process only."""
        if self.learner.processes.first:
            recipe = self.learner.recipe.as_toml()
            save_checkpoint(path, {RECIPE: recipe, SPEAKERS: self.speakers, **state})
