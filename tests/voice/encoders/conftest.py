from pathlib import Path

import pytest

from membrane.audio.files import read_utterance

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A network file: what training starts from, with partials that count unequally."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from membrane.training.export import export
    from membrane.training.network import from_resemblyzer

    network = from_resemblyzer()
    network.attention.weight.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    return export(network, tmp_path_factory.mktemp("model") / "membrane.onnx").path


@pytest.fixture(scope="session")
def someone():
    """The samples of one recording."""
    return read_utterance(min(RECORDINGS.rglob("*.flac"))).samples
