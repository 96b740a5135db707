from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from membrane.errors import UsageError
from membrane.training.network import Voiced
from membrane.training.objectives import (
    Objective,
    contrastive,
    distillation,
    ge2e,
    margin_softmax,
    mask_distance,
    mostly_sound,
)
from membrane.training.recipe import ObjectiveRecipe
from membrane.training.teacher import Targets

STARTS = (0, 77)
NOTHING = dict.fromkeys(("distillation", "contrastive", "ge2e", "margin", "mask"), 0.0)


@pytest.fixture
def chance():
    return np.random.default_rng(0)


def unit(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def vectors(chance, *shape):
    """Random vectors of unit length, as a tensor with a gradient."""
    return torch.tensor(unit(chance.normal(size=shape)), requires_grad=True)


def softmax_loss(logits, own):
    """Minus the logarithm of the share of each row's own column."""
    return np.mean(
        [np.log(np.exp(row).sum()) - row[at] for row, at in zip(logits, own, strict=True)]
    )


def has_its_gradient(loss, *inputs):
    return torch.autograd.gradcheck(loss, inputs)


def test_distillation_is_half_of_the_whole_and_half_of_the_partials_that_are_sound(chance):
    pooled, partials, targets = (vectors(chance, *shape, 5) for shape in ((3,), (2, 3), (3,)))
    sound = np.array([[True, True, True], [True, False, False]])

    def loss(pooled, partials):
        return distillation(Voiced(pooled, partials, pooled), targets, torch.tensor(sound))

    whole, parts, wanted = (one.detach().numpy() for one in (pooled, partials, targets))
    apart = 1 - (parts * wanted).sum(2)
    expected = (np.mean(1 - (whole * wanted).sum(1)) + apart[sound].mean()) / 2
    assert loss(pooled, partials).item() == pytest.approx(expected)
    assert has_its_gradient(loss, pooled, partials)


def test_distillation_of_partials_that_are_all_silent_counts_the_whole_alone(chance):
    pooled, targets = vectors(chance, 2, 5), vectors(chance, 2, 5)
    silent = torch.zeros(1, 2, dtype=torch.bool)
    loss = distillation(Voiced(pooled, pooled[None], pooled), targets, silent)
    assert loss.item() == pytest.approx((1 - (pooled * targets).sum(1)).mean().item() / 2)


def test_a_partial_counts_if_half_of_it_is_sound():
    sound = mostly_sound(torch.tensor([237, 157, 156, 80, 79]), STARTS)
    assert sound.tolist() == [[True, True, True, True, False], [True, True, False, False, False]]


def test_contrastive_is_the_mean_of_finding_the_second_by_the_first_and_the_other_way(chance):
    pooled = vectors(chance, 6, 5)
    speakers = torch.tensor([4, 4, 9, 9, 2, 2])
    rows = pooled.detach().numpy()
    logits = 12 * rows[0::2] @ rows[1::2].T
    expected = (softmax_loss(logits, range(3)) + softmax_loss(logits.T, range(3))) / 2
    assert contrastive(pooled, speakers, 12).item() == pytest.approx(expected)
    assert has_its_gradient(lambda one: contrastive(one, speakers, 12), pooled)


def test_contrastive_finds_the_pairs_in_any_order(chance):
    pooled = vectors(chance, 6, 5)
    speakers = torch.tensor([4, 4, 9, 9, 2, 2])
    order = torch.tensor([0, 2, 4, 1, 3, 5])
    shuffled = contrastive(pooled[order], speakers[order], 12)
    assert shuffled.item() == pytest.approx(contrastive(pooled, speakers, 12).item())


@pytest.mark.parametrize("speakers", [[1, 1, 2], [1, 1, 2, 2, 2], [1, 1, 2, 2, 2, 2]])
def test_contrastive_needs_two_utterances_of_each_speaker(speakers, chance):
    with pytest.raises(UsageError, match="two"):
        contrastive(vectors(chance, len(speakers), 5), torch.tensor(speakers), 12)


def test_ge2e_compares_with_means_and_with_the_own_one_without_the_utterance(chance):
    pooled = vectors(chance, 6, 5)
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    speakers = np.array([3, 3, 8, 8, 8, 5])  # one of them with a single utterance
    rows, names = pooled.detach().numpy(), [3, 5, 8]
    losses = []
    for at, row in enumerate(rows[:5]):
        own = [name == speakers[at] for name in names]
        others = [(speakers == name) & (np.arange(6) != at) for name in names]
        logits = [7 * row @ unit(rows[which].mean(0)) for which in others]
        losses.append(softmax_loss([logits], [own.index(True)]))
    who = torch.tensor(speakers)
    assert ge2e(pooled, who, scale).item() == pytest.approx(np.mean(losses))
    assert has_its_gradient(lambda one, by: ge2e(one, who, by), pooled, scale)


def test_margin_softmax_adds_an_angle_to_that_of_the_own_prototype(chance):
    cosines = torch.tensor(chance.uniform(-0.9, 0.9, (4, 3)), requires_grad=True)
    speakers = torch.tensor([0, 2, 2, 1])
    logits = cosines.detach().numpy().copy()
    for row, own in enumerate(speakers):
        logits[row, own] = np.cos(np.arccos(logits[row, own]) + 0.1)

    def loss(one):
        return margin_softmax(one, speakers, scale=20.0, margin=0.1)

    assert loss(cosines).item() == pytest.approx(softmax_loss(20 * logits, speakers))
    assert has_its_gradient(loss, cosines)


@pytest.mark.parametrize("cosine", [1.0, -1.0, 1.0 + 1e-7])
def test_margin_softmax_has_a_gradient_where_an_angle_is_none_or_half_a_turn(cosine):
    cosines = torch.tensor([[cosine, 0.3]], requires_grad=True)
    margin_softmax(cosines, torch.tensor([0]), scale=20.0, margin=0.2).backward()
    assert torch.isfinite(cosines.grad).all()


def test_margin_softmax_falls_with_the_cosine_everywhere():
    cosines = torch.linspace(-1, 1, 401)
    pairs = torch.stack([cosines, torch.zeros(401)], 1)
    one = [
        margin_softmax(pair[None], torch.tensor([0]), scale=5.0, margin=0.5).item()
        for pair in pairs
    ]
    assert (np.diff(one)[1:-1] < 0).all()


def test_mask_distance_is_that_of_loudness_relative_to_the_mean_of_the_speech(chance):
    cleaned, wanted = chance.uniform(0.5, 1.5, (2, 2, 9, 40))
    lengths = [9, 4]
    losses = [
        np.abs((heard[:n] + 1e-6) ** 0.3 - (clean[:n] + 1e-6) ** 0.3).mean(1)
        / ((clean[:n] + 1e-6) ** 0.3).mean()
        for heard, clean, n in zip(cleaned, wanted, lengths, strict=True)
    ]
    heard = torch.tensor(cleaned, requires_grad=True)

    def loss(one):
        return mask_distance(one, torch.tensor(wanted), torch.tensor(lengths))

    assert loss(heard).item() == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)
    assert has_its_gradient(loss, heard)


@pytest.fixture
def targets(chance):
    """What a teacher hears of three speakers with two, one and three utterances."""
    utterances = tuple(unit(chance.normal(size=(n, 256))).astype(np.float32) for n in (2, 1, 3))
    return Targets(utterances, unit(np.stack([one.mean(0) for one in utterances])))


@pytest.fixture
def batch(chance):
    return SimpleNamespace(
        wanted=torch.tensor(chance.exponential(0.01, (6, 237, 40)), dtype=torch.float32),
        lengths=torch.tensor([237, 237, 237, 100, 200, 50]),
        speakers=torch.tensor([0, 0, 2, 2, 1, 1]),
        utterances=torch.tensor([0, 1, 2, 0, 0, 0]),
    )


@pytest.fixture
def voiced(chance):
    pooled, partials = (vectors(chance, *shape, 256).float() for shape in ((6,), (2, 6)))
    cleaned = torch.tensor(chance.exponential(0.01, (6, 237, 40)), dtype=torch.float32)
    return Voiced(pooled, partials, cleaned)


def test_the_total_is_the_weighted_sum_of_the_parts(targets, batch, voiced):
    weights = {"distillation": 1.0, "contrastive": 0.5, "ge2e": 0.25, "margin": 2.0, "mask": 3.0}
    objective = Objective(ObjectiveRecipe(**weights), targets)
    loss = objective(batch, voiced, STARTS)
    assert tuple(loss.parts) == tuple(objective.weights)
    assert set(loss.parts) == set(weights)
    expected = sum(weights[name] * part.item() for name, part in loss.parts.items())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NOTHING)
def test_a_part_that_weighs_nothing_is_not_computed(name, targets, batch, voiced):
    objective = Objective(ObjectiveRecipe(**{**NOTHING, name: 1.0}), targets)
    loss = objective(batch, voiced, STARTS)
    assert tuple(objective.weights) == tuple(loss.parts) == (name,)
    assert loss.total.item() == pytest.approx(loss.parts[name].item())


def test_targets_lie_between_the_utterance_and_the_speaker(targets, batch):
    for blend in (0.0, 0.3, 1.0):
        objective = Objective(ObjectiveRecipe(speaker_blend=blend), targets)
        found = objective.targets(batch.speakers, batch.utterances).numpy()
        for row, (speaker, one) in enumerate(zip(batch.speakers, batch.utterances, strict=True)):
            own, mean = targets.utterances[speaker][one], targets.speakers[speaker]
            expected = unit((1 - blend) * own + blend * mean)
            np.testing.assert_allclose(found[row], expected, atol=1e-6)


def test_prototypes_begin_as_the_teachers_means_and_learn(targets, batch, voiced):
    objective = Objective(ObjectiveRecipe(ge2e=0.1, margin=0.1), targets)
    np.testing.assert_allclose(objective.prototypes.detach().numpy(), targets.speakers)
    objective(batch, voiced, STARTS).total.backward()
    assert all(one.grad.abs().sum() > 0 for one in objective.parameters())


def test_a_checkpoint_holds_what_was_learnt_but_no_targets(targets):
    assert set(Objective(ObjectiveRecipe(ge2e=0.1, margin=0.1), targets).state_dict()) == {
        "prototypes",
        "log_scale",
    }
    assert not Objective(ObjectiveRecipe(margin=0.0), targets).state_dict()
