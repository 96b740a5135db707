"""LSTM layers in ONNX: PyTorch's weights in the order of ONNX's LSTM operator, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from membrane.errors import EngineUnavailable

LAYERS = 3
"""``model_num_layers`` (resemblyzer/hparams.py)."""

HIDDEN = 256
"""``model_hidden_size`` (resemblyzer/hparams.py)."""

State = Mapping[str, np.ndarray]


def require_onnx() -> ModuleType:
    """Return the package onnx.

    Raises
    ------
    EngineUnavailable
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable(
            f'onnx cannot be loaded ({error}): pip install "membrane-voice-login[train]"'
        ) from None
    return onnx


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return the weights in an ONNX file, by name.

    Raises
    ------
    EngineUnavailable
        If the package onnx is not installed.
    """
    onnx = require_onnx()
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor).copy()
        for tensor in onnx.load(path).graph.initializer
    }


def onnx_gates(stacked: np.ndarray) -> np.ndarray:
    """Turn PyTorch's gate order (input, forget, cell, output) into ONNX's (i, o, f, c)."""
    entry, forget, cell, output = np.split(stacked, 4)
    return np.concatenate([entry, output, forget, cell])


def torch_gates(stacked: np.ndarray) -> np.ndarray:
    """Turn ONNX's gate order (input, output, forget, cell) into PyTorch's (i, f, c, o)."""
    entry, output, forget, cell = np.split(stacked, 4)
    return np.concatenate([entry, forget, cell, output])


def lstm_weights(state: State) -> dict[str, np.ndarray]:
    """Return the weight tensors of ONNX LSTM nodes.

    Parameters
    ----------
    state : mapping of str to np.ndarray
        State of a network with a `torch.nn.LSTM` named ``lstm``.

    Returns
    -------
    dict
        ``W0``, ``R0`` and ``B0`` for the first layer, and so on.
    """
    tensors = {}
    for layer in range(LAYERS):
        biases = [onnx_gates(state[f"lstm.bias_{kind}_l{layer}"]) for kind in ("ih", "hh")]
        tensors[f"W{layer}"] = onnx_gates(state[f"lstm.weight_ih_l{layer}"])[None]
        tensors[f"R{layer}"] = onnx_gates(state[f"lstm.weight_hh_l{layer}"])[None]
        tensors[f"B{layer}"] = np.concatenate(biases)[None]
    return tensors


def torch_lstm(tensors: State) -> dict[str, np.ndarray]:
    """Return the state that `lstm_weights` was made from."""
    state = {}
    for layer in range(LAYERS):
        state[f"lstm.weight_ih_l{layer}"] = torch_gates(tensors[f"W{layer}"][0])
        state[f"lstm.weight_hh_l{layer}"] = torch_gates(tensors[f"R{layer}"][0])
        own, recurrent = np.split(tensors[f"B{layer}"][0], 2)
        state[f"lstm.bias_ih_l{layer}"] = torch_gates(own)
        state[f"lstm.bias_hh_l{layer}"] = torch_gates(recurrent)
    return state


def lstm_nodes() -> list[Any]:
    """Return the nodes from ``frames0``, shape (frames, n, inputs), to ``last``, shape (n, HIDDEN).

    Every layer but the last passes on its whole sequence. The nodes need the weights and the
    constants ``direction`` = [1] and ``first`` = [0].
    """
    from onnx import helper

    nodes = []
    for layer in range(LAYERS):
        inputs = [f"frames{layer}", f"W{layer}", f"R{layer}", f"B{layer}"]
        outputs, axis, passed = [f"sequence{layer}"], "direction", f"frames{layer + 1}"
        if layer == LAYERS - 1:
            outputs, axis, passed = ["", "hidden"], "first", "last"
        nodes += [
            helper.make_node("LSTM", inputs, outputs, name=f"lstm{layer}", hidden_size=HIDDEN),
            helper.make_node("Squeeze", [outputs[-1], axis], [passed]),
        ]
    return nodes
