import csv
import math
import signal
from dataclasses import replace

import numpy as np
import pytest

from membrane.errors import UsageError
from membrane.terminal.console import View
from membrane.training.recipe import AugmentationRecipe, NetworkRecipe, ObjectiveRecipe, Recipe
from tests.training.synthetic_material import material

torch = pytest.importorskip("torch")

from membrane.training import run_folder  # noqa: E402 (torch is needed)
from membrane.training.batches import Batches  # noqa: E402
from membrane.training.distributed import Processes  # noqa: E402
from membrane.training.learner import Learner  # noqa: E402
from membrane.training.network import Network  # noqa: E402
from membrane.training.objectives import Objective  # noqa: E402
from membrane.training.run_folder import RunFolder, deferred  # noqa: E402
from membrane.training.teacher import Targets  # noqa: E402
from membrane.training.trainer import Trainer  # noqa: E402
from membrane.training.validation import Validation  # noqa: E402
from tests.training.test_validation import corpus  # noqa: E402

RECIPE = Recipe(
    steps=12,
    speakers=2,
    frames=160,
    learning_rate=6e-4,
    new_layers_factor=3.0,
    validate_every=3,
    patience=4,
    precision="float32",
    augmentation=AugmentationRecipe(speed_share=0.0),
    objectives=ObjectiveRecipe(margin=0.03, contrastive=0.09),
    network=NetworkRecipe(front=False, side=False, projection=False),
)
VOICES = material(speakers=3, seconds=1.0)


def targets():
    """Targets that no teacher was asked for."""
    chance = np.random.default_rng(0)
    vectors = np.abs(chance.standard_normal((3, 4, 256))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return Targets(tuple(vectors[:, 1:]), vectors[:, 0])


def learner(recipe=RECIPE, seed=0):
    torch.manual_seed(seed)
    objective = Objective(recipe.objectives, targets())
    return Learner(recipe, Network(recipe.network), objective, torch.device("cpu"), Processes())


def batch(step, recipe=RECIPE):
    return Batches(VOICES, recipe).at(step)


class Asked(Validation):
    """A validation whose answers are told beforehand; the first are the teacher's."""

    def __init__(self, *errors):
        super().__init__([corpus("made", 6)])
        self._errors = list(errors)

    def errors(self, _voices):
        error = self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]
        return {("made", "clean"): error, ("made", "noise"): error}


def trainer(folder, *errors, recipe=RECIPE, on_batch=lambda step: None):
    """Return a training in a folder, and what is called before each of its batches."""

    class Told(Batches):
        def at(self, step, rows=slice(None)):
            on_batch(step)
            return super().at(step, rows)

    return Trainer(
        learner=learner(recipe),
        batches=Told(VOICES, recipe),
        validation=Asked(*errors),
        folder=RunFolder(folder),
        view=View(quiet=True),
        workers=0,
        speakers=[voice.speaker for voice in VOICES.voices],
    )


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights(network):
    return torch.cat([parameter.flatten() for parameter in network.parameters()]).detach()


# ---- One learner


def test_learning_lowers_the_loss():
    one = learner(replace(RECIPE, learning_rate=3e-3))
    rows = batch(0)
    losses = [one.learn(rows)["loss"] for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_parts_of_the_loss_are_told_by_name():
    one = learner()
    assert set(one.learn(batch(0))) == {"loss", *one.objective.weights}


def test_new_layers_and_prototypes_learn_faster():
    recipe = replace(RECIPE, network=NetworkRecipe(), learning_rate=1e-4)
    one = learner(recipe)
    old, new, own = one.whole_stage.optimiser.param_groups
    assert new["max_lr"] == own["max_lr"] == pytest.approx(3 * old["max_lr"])
    assert sum(p.numel() for p in old["params"]) == sum(
        p.numel()
        for name, p in one.network.named_parameters()
        if name.startswith(("lstm", "linear"))
    )
    assert own["params"] == [one.objective.prototypes]


@pytest.mark.parametrize(
    ("steps", "share"), [(1, 0.15), (10, 0.1), (3, 0.0), (20, 0.9), (7, 1 / 7)]
)
def test_the_rate_rises_and_falls_over_any_number_of_steps(steps, share):
    one = learner(replace(RECIPE, steps=steps, warmup_share=share))
    rates = [one.rate]
    for _ in range(steps):
        one.whole_stage.step(limited=[], limit=1.0)
        rates.append(one.rate)
    assert all(0 < rate <= RECIPE.learning_rate * (1 + 1e-6) for rate in rates[:-1])
    assert max(rates) > 10 * min(rates)


def test_at_first_the_front_may_learn_alone():
    one = learner(replace(RECIPE, front_steps=2, network=NetworkRecipe()))
    before = [weights(one.network.front), weights(one.network.lstm)]
    assert [set(one.learn(batch(step))) for step in (0, 1)] == [{"loss", "mask"}] * 2
    assert not torch.equal(weights(one.network.front), before[0])
    assert torch.equal(weights(one.network.lstm), before[1])
    assert set(one.learn(batch(2))) == {"loss", *one.objective.weights}
    assert not torch.equal(weights(one.network.lstm), before[1])


def test_the_average_follows_the_network_slowly():
    one = learner()
    before = weights(one.network)
    one.learn(batch(0))
    decay = min(RECIPE.average_decay, 1 / 21)
    expected = decay * before + (1 - decay) * weights(one.network)
    assert torch.allclose(weights(one.average), expected, atol=1e-7)


@pytest.mark.parametrize("front_steps", [0, 2, 3])
def test_a_restored_learner_goes_on_exactly_as_the_first_would_have(front_steps):
    recipe = replace(RECIPE, front_steps=front_steps, network=NetworkRecipe())
    whole, first, second = learner(recipe), learner(recipe), learner(recipe, seed=5)
    for step in range(2):
        whole.learn(batch(step))
        first.learn(batch(step))
    second.restore(first.state())
    for step in (2, 3):
        assert whole.learn(batch(step)) == second.learn(batch(step))
    assert torch.equal(weights(whole.network), weights(second.network))
    assert torch.equal(weights(whole.average), weights(second.average))


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_network():
    one = learner()
    bad = batch(0)
    bad.heard[0] = math.nan
    before = weights(one.network)
    with pytest.raises(UsageError, match="at step 1: lower learning_rate"):
        one.learn(bad)
    assert torch.equal(weights(one.network), before)


def test_an_objective_without_parameters_can_be_learnt_from():
    recipe = replace(RECIPE, objectives=ObjectiveRecipe(margin=0.0))
    assert learner(recipe).learn(batch(0))["loss"] > 0


# ---- One training


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    one = trainer(tmp_path, 10.0, 5.0, 2.0, 6.0, 7.0)
    one.run()
    best = run_folder.load_checkpoint(RunFolder(tmp_path).best)
    last = run_folder.load_checkpoint(RunFolder(tmp_path).last)
    assert (best["step"], last["step"], one.best.step) == (6, 12, 6)
    assert one.best_errors["made", "clean"] == 2.0
    assert not torch.equal(best["average"]["linear.bias"], last["average"]["linear.bias"])


def test_training_ends_early_when_validation_no_longer_improves(tmp_path):
    trainer(tmp_path, 10.0, 5.0, 6.0, 7.0, 8.0, recipe=replace(RECIPE, patience=2)).run()
    rows = table(tmp_path / "validation.csv")
    assert [row["step"] for row in rows] == ["0", "3", "6", "9"]


def test_what_ended_early_does_not_begin_again(tmp_path):
    recipe = replace(RECIPE, patience=1)
    trainer(tmp_path, 10.0, 5.0, 6.0, recipe=recipe).run()
    again = trainer(tmp_path, 1.0, recipe=recipe)
    again.restore(run_folder.load_checkpoint(RunFolder(tmp_path).last))
    again.run()
    assert again.learner.step == 6


def test_the_first_validation_is_the_teachers(tmp_path):
    trainer(tmp_path, 10.0, 5.0).run()
    first, second, *_ = table(tmp_path / "validation.csv")
    assert (first["step"], first["ratio"], first["made: noise"]) == ("0", "1", "10")
    assert float(second["ratio"]) == pytest.approx(5.3 / 10.3, rel=1e-5)


def test_the_log_has_a_row_every_ten_steps(tmp_path):
    trainer(tmp_path, 10.0, 5.0).run()
    (row,) = table(tmp_path / "log.csv")
    assert row["step"] == "10"
    assert all(math.isfinite(float(value)) for value in row.values())


ERRORS = (10.0, 5.0, 4.0, 3.0, 2.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    trainer(folder, *ERRORS).run()
    return folder


def told(folder, name):
    """Return a table without the seconds, which no two trainings share."""
    rows = table(folder / name)
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


@pytest.mark.parametrize("at", [6, 7])
def test_a_training_that_was_interrupted_goes_on_with_the_next_step(whole, tmp_path, at):
    def interrupt(step):
        if step == at:
            raise KeyboardInterrupt

    stopped = trainer(tmp_path, *ERRORS, on_batch=interrupt)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert stopped.learner.step == at
    again = trainer(tmp_path, *ERRORS[1 + at // 3 :])
    again.restore(run_folder.load_checkpoint(RunFolder(tmp_path).last))
    again.run()
    for name in ("log.csv", "validation.csv"):
        assert told(tmp_path, name) == told(whole, name)


def test_error_rates_survive_a_checkpoint(tmp_path):
    one = trainer(tmp_path, 10.0, 5.0)
    one.run()
    again = trainer(tmp_path, 10.0, 5.0)
    again.restore(run_folder.load_checkpoint(RunFolder(tmp_path).last))
    assert again.teachers == one.teachers == {("made", "clean"): 10.0, ("made", "noise"): 10.0}
    assert again.best_errors == one.best_errors == {("made", "clean"): 5.0, ("made", "noise"): 5.0}


def test_an_interrupt_before_the_first_step_can_be_gone_on_from_too(tmp_path):
    one = trainer(tmp_path, 10.0, 5.0)

    def interrupted(_voices):
        raise KeyboardInterrupt

    one.validation.errors = interrupted
    with pytest.raises(KeyboardInterrupt):
        one.run()
    again = trainer(tmp_path, 10.0, 5.0)
    again.restore(run_folder.load_checkpoint(RunFolder(tmp_path).last))
    again.run()
    rows = table(tmp_path / "validation.csv")
    assert [row["step"] for row in rows] == ["0", "3", "6", "9", "12"]


def test_a_validation_that_was_broken_off_is_done_again(tmp_path):
    one = trainer(tmp_path, 10.0, 5.0)
    asked = one.validation.errors

    def broken_off(voices):
        if one.learner.step:
            raise KeyboardInterrupt
        return asked(voices)

    one.validation.errors = broken_off
    with pytest.raises(KeyboardInterrupt):
        one.run()
    again = trainer(tmp_path, 5.0)
    again.restore(run_folder.load_checkpoint(RunFolder(tmp_path).last))
    again.run()
    assert [row["step"] for row in table(tmp_path / "validation.csv")] == ["0", "3", "6", "9", "12"]


# ---- Interrupts


def test_ctrl_c_waits_until_a_step_is_done():
    done = []

    def step():
        with deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("step")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == ["step"]


def test_after_that_ctrl_c_is_answered_at_once_again():
    with deferred():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


# ---- Blending with the teacher


def blended_share(folder, *errors):
    """Return what was chosen of the teacher, where validation says these errors one by one."""
    torch.manual_seed(0)
    one = trainer(folder, 10.0, 5.0, *errors, recipe=replace(RECIPE, steps=3, blends=2))
    one.run()
    learnt = weights(one.learner.average)
    teacher = Network(RECIPE.network)
    one.finish(teacher)
    kept = run_folder.load_checkpoint(one.folder.best)
    network = Network(RECIPE.network)
    network.load_state_dict(kept["average"])
    lstm = network.lstm.weight_hh_l0 - one.learner.average.lstm.weight_hh_l0
    whole = teacher.lstm.weight_hh_l0 - one.learner.average.lstm.weight_hh_l0
    assert torch.allclose(lstm, kept["teacher_share"] * whole, atol=1e-6)
    assert torch.equal(learnt, weights(one.learner.average))
    return kept["teacher_share"], one


def test_the_share_of_the_teacher_that_validates_best_is_kept(tmp_path):
    assert blended_share(tmp_path, 4.0, 3.0)[0] == pytest.approx(2 / 3)


def test_what_was_learnt_is_kept_where_no_share_of_the_teacher_helps(tmp_path):
    assert blended_share(tmp_path, 6.0, 7.0)[0] == 0.0


def test_a_network_is_blended_once_however_often_the_training_goes_on(tmp_path):
    _, one = blended_share(tmp_path, 4.0, 3.0, 1.0)
    before = one.folder.best.read_bytes()
    one.finish(Network(RECIPE.network))
    assert one.folder.best.read_bytes() == before


def test_the_rates_of_the_finished_network_are_there_for_whoever_resumes(tmp_path):
    _, one = blended_share(tmp_path, 4.0, 3.0)
    again = trainer(tmp_path, 9.0, recipe=one.learner.recipe)
    again.restore(run_folder.load_checkpoint(one.folder.last))
    assert again.best_errors == {("made", "clean"): 3.0, ("made", "noise"): 3.0}
