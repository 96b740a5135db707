import pytest

torch = pytest.importorskip("torch")

from membrane.training.blending import blended, shares_of  # noqa: E402 (torch is needed)
from membrane.training.network import Network  # noqa: E402


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
