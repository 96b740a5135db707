import copy
import hashlib

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
import torch

from membrane.errors import OutputUnwritable
from membrane.training import export as exporting
from membrane.training.export import as_stored, export
from membrane.training.network import Network, encoder_of
from membrane.training.recipe import NetworkRecipe
from membrane.voice.encoders.membrane import RobustEncoder

RATE = 16_000


@pytest.fixture(scope="module")
def network():
    """A network of which every part has its say, but none drowns the others."""
    torch.manual_seed(0)
    made = Network()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return made.eval()


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    """The network, exported."""
    return export(network, tmp_path_factory.mktemp("written") / "net.onnx")


@pytest.fixture(autouse=True)
def _brief(written, monkeypatch):
    """Check on short utterances only, but for the one file above."""
    monkeypatch.setattr(exporting, "LENGTHS_S", (0.5, 2.9))


@pytest.fixture(scope="module")
def speech():
    return np.random.default_rng(1).normal(0, 0.05, 4 * RATE).astype(np.float32)


def test_the_file_computes_what_the_network_does(network, written, speech):
    exported, expected = RobustEncoder(written.path).run(speech), encoder_of(network).run(speech)
    np.testing.assert_allclose(exported[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(exported[1], expected[1], atol=1e-5)
    assert written.difference < 1e-5
    assert written.likeness > 1 - 1e-6


@pytest.mark.parametrize("part", ["front", "side", "attention", "all"])
def test_a_network_without_some_parts_is_exported_too(part, speech, tmp_path):
    torch.manual_seed(0)
    left_out = ("front", "side", "attention") if part == "all" else (part,)
    bare = Network(NetworkRecipe(**dict.fromkeys(left_out, False))).eval()
    written = export(bare, tmp_path / "net.onnx")
    exported = RobustEncoder(written.path).embed_speech(speech).vector
    np.testing.assert_allclose(exported, encoder_of(bare).embed_speech(speech).vector, atol=1e-5)


def test_the_same_network_gives_the_same_bytes(network, written, tmp_path):
    again = export(network, tmp_path / "again.onnx")
    assert again.path.read_bytes() == written.path.read_bytes()
    assert again.sha256 == hashlib.sha256(written.path.read_bytes()).hexdigest()
    assert again.size == written.path.stat().st_size < 8_000_000


@pytest.mark.parametrize(
    ("weights", "share", "likeness"), [("float16", 0.52, 0.9999), ("int8", 0.28, 0.97)]
)
def test_fewer_bits_make_a_smaller_file_of_nearly_the_same_network(
    weights, share, likeness, network, written, tmp_path
):
    small = export(network, tmp_path / "small.onnx", weights=weights)
    assert small.size < share * written.size
    assert 1 + 1e-6 > small.likeness > likeness
    assert small.difference < 1e-5


def test_whole_numbers_have_a_scale_for_each_output():
    array = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    array *= np.geomspace(1e-4, 1, 100, dtype=np.float32)[:, None]
    array[7] = 0
    apart = np.abs(as_stored(array, "int8") - array)
    assert (apart.max(1) <= np.abs(array).max(1) / 127 / 2 * 1.001).all()


def test_small_tensors_are_kept_as_they_are():
    bias = np.array([1 / 3, 1e-9], np.float32)
    np.testing.assert_array_equal(as_stored(bias, "int8"), bias)


def test_the_file_says_what_it_is(network, tmp_path):
    written = export(network, tmp_path / "net.onnx", metadata={"steps": "3", "licence": "Apache-2"})
    model = onnx.load(written.path)
    assert {one.key: one.value for one in model.metadata_props} == {
        "steps": "3",
        "licence": "Apache-2",
    }
    assert model.opset_import[0].version == 17


def test_nothing_is_written_if_onnx_runtime_computes_something_else(network, tmp_path, monkeypatch):
    other = copy.deepcopy(network)
    other.linear.bias.data += 0.1
    build = exporting.build
    state = {name: one.numpy() for name, one in other.state_dict().items()}
    monkeypatch.setattr(exporting, "build", lambda _state, *rest: build(state, *rest))
    with pytest.raises(OutputUnwritable, match="differ"):
        export(network, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, -1e6], ids=["not numbers", "dead"])
def test_a_network_that_finds_no_voice_is_not_written(value, network, tmp_path):
    broken = copy.deepcopy(network)
    broken.linear.bias.data.fill_(value)
    with pytest.raises(OutputUnwritable, match="no voice"):
        export(broken, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_of_in_one_line(network, tmp_path):
    with pytest.raises(OutputUnwritable):
        export(network, tmp_path / "missing" / "net.onnx")


def test_exporting_leaves_the_network_as_it_was(network, tmp_path):
    network.train()
    before = copy.deepcopy(network.state_dict())
    export(network, tmp_path / "net.onnx", weights="int8")
    assert network.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    network.eval()
