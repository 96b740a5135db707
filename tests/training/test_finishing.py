import numpy as np
import pytest

torch = pytest.importorskip("torch")

from membrane.training.finishing import (  # noqa: E402 (torch is needed)
    Vectors,
    blended,
    heard_by,
    shares_of,
    whitened,
    whitening,
)
from membrane.training.network import Network  # noqa: E402
from membrane.training.recipe import NetworkRecipe  # noqa: E402
from tests.training.synthetic_material import material  # noqa: E402


def voices(speakers=40, utterances=30, loud=5.0):
    """Return vectors of speakers who differ in all directions, and themselves mostly in one."""
    chance = np.random.default_rng(0)
    means = np.repeat(chance.standard_normal((speakers, 256)), utterances, axis=0)
    within = chance.standard_normal(means.shape)
    within[:, 0] *= loud
    return Vectors((means + within).astype(np.float32), np.repeat(np.arange(speakers), utterances))


def within_variances(vectors, speakers):
    means = np.stack([vectors[speakers == one].mean(axis=0) for one in np.unique(speakers)])
    return (vectors - means[speakers]).var(axis=0)


def test_at_a_half_one_person_differs_alike_in_all_directions():
    heard = voices()
    matrix, offset = whitening(heard, power=0.5, shrinkage=1e-6)
    moved = heard.vectors @ matrix.T + offset
    assert within_variances(heard.vectors, heard.speakers)[0] > 15
    assert np.allclose(within_variances(moved, heard.speakers), 1, atol=0.15)
    assert np.allclose(moved.mean(axis=0), 0, atol=1e-4)


def test_at_nothing_only_the_mean_is_taken_away():
    heard = voices()
    matrix, offset = whitening(heard, power=0.0, shrinkage=0.5)
    assert np.allclose(matrix, np.eye(256), atol=1e-9)
    assert np.allclose(offset, -heard.vectors.mean(axis=0), atol=1e-5)


def test_shrinkage_leaves_directions_more_as_they_are():
    heard = voices()
    firm = np.linalg.cond(whitening(heard, power=0.5, shrinkage=10.0)[0])
    free = np.linalg.cond(whitening(heard, power=0.5, shrinkage=0.01)[0])
    assert 1 < firm < free


def test_a_speaker_heard_once_says_nothing_of_what_differs_within():
    heard = voices()
    strangers = np.random.default_rng(1).standard_normal((500, 256)).astype(np.float32) * 30
    more = Vectors(
        np.concatenate([heard.vectors, strangers]),
        np.concatenate([heard.speakers, 1000 + np.arange(500)]),
    )
    one, _ = whitening(heard, power=0.5, shrinkage=0.1)
    other, _ = whitening(more, power=0.5, shrinkage=0.1)
    assert np.allclose(one, other, atol=1e-6)


def test_a_network_projects_its_partials_and_keeps_their_length():
    torch.manual_seed(0)
    network = Network().eval()
    mels, lengths = torch.rand(3, 237, 40) * 0.01, torch.tensor([237, 237, 200])
    with torch.no_grad():
        before = network(mels, lengths, (0, 77)).partials
        after = whitened(network, voices(), power=0.5, shrinkage=0.5)(mels, lengths, (0, 77))
    matrix, offset = whitening(voices(), power=0.5, shrinkage=0.5)
    expected = before.numpy() @ matrix.T + offset
    expected /= np.linalg.norm(expected, axis=2, keepdims=True)
    assert np.allclose(after.partials.numpy(), expected, atol=1e-5)


def test_partials_that_are_mostly_silence_are_not_heard():
    from membrane.training.batches import Batches
    from membrane.training.recipe import Recipe

    recipe = Recipe(speakers=2, network=NetworkRecipe(front=False, side=False))
    batches = Batches(material(speakers=3, seconds=1.0), recipe)
    batch = batches.at(0)
    heard = heard_by(Network(recipe.network).eval(), [batch], (0, 77))
    sound = sum((batch.lengths - start >= 80).sum() for start in (0, 77))
    assert len(heard.vectors) == len(heard.speakers) == sound
    assert set(heard.speakers) <= set(batch.speakers)


def test_shares_lie_equally_far_apart_and_begin_without_the_teacher():
    assert shares_of(0) == (0.0,)
    assert shares_of(4) == pytest.approx((0.0, 0.2, 0.4, 0.6, 0.8))


def test_old_layers_lie_between_and_new_ones_stay_as_they_were_learnt():
    learnt, teacher = Network(), Network()
    torch.nn.init.ones_(learnt.front.exit.weight)
    before = {name: value.clone() for name, value in learnt.state_dict().items()}

    between = blended(learnt, teacher, 0.25).state_dict()

    weight = "lstm.weight_hh_l1"
    expected = 0.75 * before[weight] + 0.25 * teacher.state_dict()[weight]
    assert torch.allclose(between[weight], expected, atol=1e-6)
    assert torch.equal(between["front.exit.weight"], before["front.exit.weight"])
    assert all(torch.equal(value, before[name]) for name, value in learnt.state_dict().items())


def test_nothing_of_the_teacher_is_what_was_learnt():
    learnt, teacher = Network(), Network()
    same = blended(learnt, teacher, 0.0).state_dict()
    assert all(torch.equal(same[name], value) for name, value in learnt.state_dict().items())
