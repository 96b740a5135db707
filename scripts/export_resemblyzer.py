"""Export the network of the Resemblyzer package to weights/resemblyzer.onnx.

Runs where requirements-reference.txt is installed::

    .venv-reference/bin/python -m scripts.export_resemblyzer

The graph is written node by node rather than traced, so that the same weights always give the
same bytes, and so that it holds nothing but what `resemblyzer.VoiceEncoder.forward` computes:
three LSTM layers over 160 mel frames, a linear layer on the last hidden state, ReLU, and division
by the Euclidean norm. Where ReLU leaves nothing the division gives NaN, as it does there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from resemblyzer.hparams import (
    mel_n_channels,
    model_embedding_size,
    partials_n_frames,
)

from membrane.training.onnx_lstm import lstm_nodes, lstm_weights

OPSET = 17
IR_VERSION = 8
TOLERANCE = 1e-5
WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "resemblyzer.onnx"


def torch_state() -> dict[str, np.ndarray]:
    """Return the pretrained weights of the package by their PyTorch names."""
    import resemblyzer

    path = Path(resemblyzer.__file__).with_name("pretrained.pt")
    state = torch.load(path, map_location="cpu")["model_state"]
    return {name: tensor.numpy().astype(np.float32) for name, tensor in state.items()}


def value(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    """Return the declaration of an input or output of 32-bit floats."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def build(state: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return the network as an ONNX model."""
    tensors = {"direction": np.array([1], dtype=np.int64), "first": np.array([0], dtype=np.int64)}
    tensors |= lstm_weights(state)
    tensors |= {"linear": state["linear.weight"], "offset": state["linear.bias"]}
    nodes = [
        helper.make_node("Transpose", ["mels"], ["frames0"], perm=[1, 0, 2]),
        *lstm_nodes(),
        helper.make_node("Gemm", ["last", "linear", "offset"], ["raw"], transB=1),
        helper.make_node("Relu", ["raw"], ["positive"]),
        helper.make_node("ReduceL2", ["positive"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Div", ["positive", "norm"], ["embeds"]),
    ]
    graph = helper.make_graph(
        nodes,
        "resemblyzer",
        [value("mels", ["partials", partials_n_frames, mel_n_channels])],
        [value("embeds", ["partials", model_embedding_size])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="membrane")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_difference(path: Path) -> float:
    """Return the largest difference between the exported network and the package's own."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from resemblyzer import VoiceEncoder

    shape = (7, partials_n_frames, mel_n_channels)
    mels = np.random.default_rng(0).exponential(0.01, shape).astype(np.float32)
    with torch.no_grad():
        expected = VoiceEncoder("cpu", verbose=False)(torch.from_numpy(mels)).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, {"mels": mels})[0] - expected).max())


def main() -> None:
    """Write the model, compare it with the package, and say what belongs in registry.toml."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=WEIGHTS)
    path = parser.parse_args().output
    path.write_bytes(build(torch_state()).SerializeToString(deterministic=True))
    difference = largest_difference(path)
    if not difference < TOLERANCE:
        raise SystemExit(f"{path} differs from the package by {difference:.1e}: do not ship it")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: differs from the package by at most {difference:.1e}")
    print(f'size = {path.stat().st_size}\nsha256 = "{digest}"')


if __name__ == "__main__":
    main()
