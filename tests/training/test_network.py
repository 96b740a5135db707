from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from membrane.audio.files import read_utterance
from membrane.training import onnx_lstm
from membrane.training.network import (
    LEAST_POWER,
    LOG_SCALE,
    Network,
    encoder_of,
    from_resemblyzer,
    views_of,
)
from membrane.training.recipe import NetworkRecipe
from membrane.voice.encoders import membrane as robust
from membrane.voice.encoders.resemblyzer import DVectorEncoder
from membrane.voice.frontends.partials import PARTIALS_PER_SECOND

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"
BARE = NetworkRecipe(front=False, side=False, attention=False, projection=False)
WHOLE = NetworkRecipe(front=True, side=True, attention=True)
PARTS = {"front": BARE.front, "side": BARE.side, "attention": False, "projection": False}


def spectra(lengths, frames=237):
    """Random mel power, silent after each length."""
    chance = torch.Generator().manual_seed(0)
    mels = torch.rand(len(lengths), frames, 40, generator=chance) ** 8 * 0.1
    for row, length in enumerate(lengths):
        mels[row, length:] = 0
    return mels, torch.tensor(lengths)


def shaken(network):
    """Let every part of a network have its say."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network.eval()


@pytest.mark.parametrize(
    ("recipe", "least"), [(BARE, 1 - 1e-6), (WHOLE, 0.999)], ids=["bare", "whole"]
)
def test_a_new_network_gives_the_vectors_of_resemblyzer(recipe, least, monkeypatch):
    monkeypatch.setattr(robust, "PARTIALS_PER_SECOND", PARTIALS_PER_SECOND)
    encoder, teacher = encoder_of(from_resemblyzer(recipe).eval()), DVectorEncoder()
    for path in sorted(RECORDINGS.rglob("*.flac"))[::5]:
        samples = read_utterance(path).samples
        assert encoder.embed(samples).vector @ teacher.embed(samples).vector > least, path


def test_vectors_have_unit_length_and_the_shapes_that_are_promised():
    mels, lengths = spectra([237, 100])
    voiced = shaken(from_resemblyzer())(mels, lengths, [0, 30, 77])
    assert voiced.pooled.shape == (2, 256)
    assert voiced.partials.shape == (3, 2, 256)
    assert voiced.cleaned.shape == mels.shape
    for vectors in (voiced.pooled, voiced.partials):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))


def test_the_whole_is_the_mean_of_its_partials_without_attention():
    mels, lengths = spectra([237, 237])
    voiced = shaken(from_resemblyzer(NetworkRecipe(attention=False)))(mels, lengths, [0, 77])
    mean = voiced.partials.mean(0)
    torch.testing.assert_close(voiced.pooled, mean / mean.norm(dim=1, keepdim=True))


def test_attention_lets_the_trusted_partial_count_most():
    network = from_resemblyzer()
    mels, lengths = spectra([237])
    _, cleaned = network.listen(mels, lengths)
    hidden = [network.lstm(cleaned[:, at : at + 160])[1][0][-1][0] for at in (0, 77)]
    with torch.no_grad():
        network.attention.weight[0] = 1000 * (hidden[1] - hidden[0])
    voiced = network(mels, lengths, [0, 77])
    torch.testing.assert_close(voiced.pooled[0], voiced.partials[1, 0], atol=1e-4, rtol=0)


def test_the_rows_of_a_batch_do_not_hear_each_other():
    network = shaken(from_resemblyzer())
    mels, lengths = spectra([237, 150, 90])
    together = network(mels, lengths, [0, 77]).pooled
    for row in range(3):
        alone = network(mels[row : row + 1], lengths[row : row + 1], [0, 77]).pooled[0]
        torch.testing.assert_close(alone, together[row], atol=1e-5, rtol=0)


def test_the_front_sees_levels_over_the_mean_the_floor_and_the_frame():
    mels, lengths = spectra([100], frames=120)
    log = np.log(mels[0, :100].numpy().astype(np.float64) + LEAST_POWER)
    over_mean = log - log.mean(0)
    floor = log.mean(0) - np.log(np.exp(-2 * over_mean).mean(0)) / 2
    expected = [over_mean, log - floor, log - log.mean(1, keepdims=True)]
    views = views_of(mels, lengths)[0].numpy()
    np.testing.assert_allclose(views[:100], LOG_SCALE * np.concatenate(expected, 1), atol=1e-4)
    assert not views[100:].any()


def test_what_fills_up_a_batch_does_not_change_how_a_front_sees_the_sound():
    mels, lengths = spectra([100], frames=120)
    longer = torch.nn.functional.pad(mels, (0, 0, 0, 50))
    torch.testing.assert_close(views_of(longer, lengths)[:, :120], views_of(mels, lengths))


def test_a_louder_recording_looks_the_same_to_the_front():
    mels, lengths = spectra([237])
    mels += 0.1
    seen, louder = views_of(mels, lengths), views_of(mels * 4, lengths)
    torch.testing.assert_close(louder, seen, atol=1e-4, rtol=0)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_left_out(part):
    names = {name.split(".")[0] for name in Network(NetworkRecipe(**{part: False})).state_dict()}
    assert names == {*PARTS, "lstm", "linear"} - {part}


def test_every_parameter_learns():
    network = shaken(from_resemblyzer()).train()
    mels, lengths = spectra([237, 200])
    voiced = network(mels, lengths, [0, 77])
    (voiced.pooled[0] @ voiced.pooled[1] + voiced.cleaned.sum()).backward()
    learnt = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    still = {name for name, one in learnt if not one.grad.abs().sum() > 0}
    assert still <= {"attention.bias"}  # the same for all partials, it takes nothing from any


def test_the_gates_of_an_lstm_come_back_as_they_were():
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(40, onnx_lstm.HIDDEN, onnx_lstm.LAYERS)
    state = {f"lstm.{name}": one.detach().numpy() for name, one in lstm.named_parameters()}
    back = onnx_lstm.torch_lstm(onnx_lstm.lstm_weights(state))
    assert back.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array)


def test_a_network_knows_whether_it_projects():
    network = Network()
    assert not network.projects
    network.projection.bias.data[0] = 1
    assert network.projects
    assert not Network(BARE).projects
