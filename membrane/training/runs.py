"""What `train` does: from folders of sound to a network that runs without torch."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from membrane.errors import Declined, MembraneError, UsageError
from membrane.terminal.console import View
from membrane.training.batches import Batches
from membrane.training.distributed import Processes, joined
from membrane.training.export import Weights, export
from membrane.training.learner import Learner
from membrane.training.material import Material, Sources, gather, split
from membrane.training.network import Network, from_resemblyzer
from membrane.training.objectives import Objective
from membrane.training.progress import TensorBoard
from membrane.training.recipe import Recipe, read_recipe
from membrane.training.run_folder import SPEAKERS, RunFolder, load_checkpoint
from membrane.training.teacher import targets_of
from membrane.training.trainer import Trainer
from membrane.training.validation import Validation, probes_of


@dataclass(frozen=True)
class Plan:
    """The options of a training.

    Parameters
    ----------
    output : Path
        The folder of the run.
    recipe : Path or None
        None for the numbers of ``Recipe()``.
    steps, seed : int or None
        Values to use instead of the recipe's.
    initial : Path or None
        A checkpoint to train further. By default, training starts from Resemblyzer.
    resume : bool
        Continue the training in `output`.
    workers : int
        Processes that make batches.
    tensorboard : bool
        Also write curves for TensorBoard.
    export : Path or None
        File to write the best network to.
    weights : {"float32", "float16", "int8"}
        Precision of the exported weights.
    """

    output: Path
    sources: Sources
    recipe: Path | None = None
    steps: int | None = None
    seed: int | None = None
    initial: Path | None = None
    resume: bool = False
    workers: int = 1
    tensorboard: bool = False
    export: Path | None = None
    weights: Weights = "float32"

    @property
    def chosen(self) -> Recipe:
        """The recipe with the given values in place of its own.

        Raises
        ------
        NoSuchFile, UsageError
        """
        recipe = Recipe() if self.recipe is None else read_recipe(self.recipe)
        steps = recipe.steps if self.steps is None else self.steps
        seed = recipe.seed if self.seed is None else self.seed
        return replace(recipe, steps=steps, seed=seed).check()


def train_and_export(plan: Plan, view: View) -> None:
    """Train, show the result, and export the best network.

    Raises
    ------
    MembraneError
        If a needed file is missing, damaged or cannot be written.
    Declined
        If it was interrupted. What was learnt is kept.
    """
    with joined() as processes:
        if processes.first:
            _train_and_export(plan, processes, view)
            return
        try:
            _train_and_export(plan, processes, View(quiet=True))
        except MembraneError as error:
            raise SystemExit(error.exit_code) from None  # the first process says why


def _train_and_export(plan: Plan, processes: Processes, view: View) -> None:
    from membrane.terminal.tasks import require_writable

    recipe, folder = plan.chosen, RunFolder(plan.output)
    processes.rows(2 * recipe.speakers)
    if plan.export is not None:
        require_writable(plan.export)
    state = folder.resumed(recipe) if plan.resume else None
    if state is None:
        folder.require_free()
    trainer = _trainer(plan, recipe, processes, view, state)
    if processes.first:
        folder.keep(recipe)
    finished = False
    with suppress(KeyboardInterrupt):  # reported below, or only the interrupt would show
        trainer.run()
        trainer.finish(from_resemblyzer(recipe.network))
        finished = True
    if not finished:
        raise Declined(
            f"training was stopped at step {trainer.learner.step} and kept: go on with the same "
            "command and --resume"
        )
    if processes.first:
        rows = [
            (*key, f"{error:.1f} %", f"{trainer.teachers[key]:.1f} %")
            for key, error in trainer.best_errors.items()
        ]
        view.table(("corpus", "condition", "EER", "teacher's"), rows)
        _export(plan, recipe, folder, view)


def _trainer(
    plan: Plan, recipe: Recipe, processes: Processes, view: View, state: dict[str, Any] | None
) -> Trainer:
    """Return a training that is ready to start or to continue from a checkpoint."""
    # The workers keep their cores; ``OMP_NUM_THREADS`` says it, too, and has the last word.
    given = os.environ.get("OMP_NUM_THREADS", "")
    cores = (os.cpu_count() or 1) // processes.count - plan.workers
    torch.set_num_threads(int(given) if given.isdigit() and int(given) else max(1, cores))
    training, validating = _material(plan, recipe, view)
    speakers = [voice.speaker for voice in training.voices]
    if state is not None and state[SPEAKERS] != speakers:
        raise UsageError(
            "the checkpoint was made with other speakers than are found now: give the same "
            "folders, or train anew into another --output"
        )
    charts = None
    if plan.tensorboard and processes.first:
        charts = TensorBoard(plan.output, after=0 if state is None else state["step"])
    trainer = Trainer(
        learner=_learner(plan, recipe, training, processes, view),
        batches=Batches(training, recipe),
        validation=Validation(probes_of(validating, recipe.seed)) if processes.first else None,
        folder=RunFolder(plan.output),
        view=view,
        workers=plan.workers,
        speakers=speakers,
        charts=charts,
    )
    if state is not None:
        trainer.restore(state)
    return trainer


def _material(plan: Plan, recipe: Recipe, view: View) -> tuple[Material, Material]:
    with view.counting("Reading", 0) as progress:
        material = gather(plan.sources, progress=progress)
    for note in material.notes:
        view.warn(note)
    training, validating = split(material, recipe.seed, recipe.validation_share)
    view.note(
        f"Learning from {len(training.voices):,} speakers ({training.seconds / 3600:.1f} hours), "
        f"{len(training.noises):,} noises and {len(training.rooms):,} rooms; validating on "
        f"{len(validating.voices):,} other speakers."
    )
    return training, validating


def _learner(
    plan: Plan, recipe: Recipe, material: Material, processes: Processes, view: View
) -> Learner:
    torch.manual_seed(recipe.seed)
    network = from_resemblyzer(recipe.network)
    if plan.initial is not None:
        _fill(network, plan.initial)
    changed = recipe.augmentation.speeds if recipe.augmentation.speed_share else ()
    with view.counting("Asking the teacher", len(material.voices)) as progress:
        targets = targets_of(material.voices, speeds=(1.0, *changed), progress=progress)
    if network.projection is not None and network.projects:
        layer = network.projection
        targets = targets.projected(layer.weight.numpy(), layer.bias.numpy())
    objective = Objective(recipe.objectives, targets)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Learner(recipe, network, objective, device, processes)


def _fill(network: Network, path: Path) -> None:
    """Give a network the averaged weights of a checkpoint."""
    try:
        network.load_state_dict(load_checkpoint(path)["average"])
    except (KeyError, RuntimeError):
        raise UsageError(
            f"{path} holds another kind of network than the recipe asks for: change its part "
            "[network], or name another checkpoint"
        ) from None


def _export(plan: Plan, recipe: Recipe, folder: RunFolder, view: View) -> None:
    if plan.export is None:
        return
    network = Network(recipe.network)
    _fill(network, folder.best)
    about = {"recipe": recipe.as_toml(), "step": str(load_checkpoint(folder.best)["step"])}
    exported = export(network, plan.export, weights=plan.weights, metadata=about)
    view.note(
        f"Written: {plan.export} ({exported.size / 1e6:.1f} MB; its vectors have a cosine of "
        f"{exported.likeness:.5f} or more to those of the trained network)."
    )
