"""The trained network as an ONNX file, which runs without torch and is checked before it is saved.

The graph is written node by node rather than traced. So the same weights always give the same
bytes, and the graph holds only what `membrane.training.network` computes.

Conventions
-----------
Inputs: ``mels`` (frames, 40) float32, an utterance; ``length`` (1,) int64, how many of the frames
are sound; ``places`` (n, 160) int64, the frames of each partial. Outputs: ``partials`` (n, 256)
float32, of unit length; ``weights`` (n,) float32, whose softmax is the partials' shares.
"""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, starmap
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import OutputUnwritable, PoorQuality
from membrane.training.network import (
    DILATIONS,
    DIMENSION,
    FLOOR_SHARPNESS,
    KERNEL,
    LEAST_LENGTH,
    LEAST_POWER,
    LOG_SCALE,
    SIDE_SCALE,
    WIDTH,
    Network,
    encoder_of,
)
from membrane.training.onnx_lstm import State, lstm_nodes, lstm_weights, require_onnx
from membrane.training.run_folder import write
from membrane.voice.encoders.membrane import RobustEncoder
from membrane.voice.frontends.mels import CHANNELS
from membrane.voice.frontends.partials import PARTIAL_FRAMES

OPSET = 17
IR_VERSION = 8
"""As old as the operators allow, for old runtimes."""

TOLERANCE = 1e-4
"""Largest difference between torch and ONNX Runtime in any number of a vector."""

LENGTHS_S = (0.3, 1.6, 2.9, 7.0, 27.0)
"""Lengths of the utterances to compare both on: within a partial, several, more than at once."""

SMALLEST_REDUCED = 4096
"""Least count of numbers in a tensor that is worth storing in fewer bits."""

INT8_MOST = 127

Weights = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Parameters
    ----------
    size : int, bytes
        Size of the file.
    sha256 : str
        Hash of the file, in hexadecimal.
    difference : float
        Largest difference between torch and ONNX Runtime in any number of a vector.
    likeness : float
        Least cosine between vectors with the stored weights and with the trained ones.
    """

    path: Path
    size: int
    sha256: str
    difference: float
    likeness: float


def export(
    network: Network,
    path: Path,
    *,
    weights: Weights = "float32",
    metadata: Mapping[str, str] | None = None,
) -> Exported:
    """Write a network as an ONNX file if the file computes the same as the network.

    Parameters
    ----------
    weights : {"float32", "float16", "int8"}
        Precision of the stored weights. Computing always uses 32-bit floats.
    metadata : mapping of str to str, optional
        Metadata of the file: the recipe, the steps, the licence.

    Raises
    ------
    EngineUnavailable
        If the package onnx is not installed.
    OutputUnwritable
        If the file cannot be written, ONNX Runtime computes something else, or the network never
        finds a voice.
    """
    trained = copy.deepcopy(network).cpu().float().eval()
    stored = copy.deepcopy(trained)
    stored.load_state_dict(
        {
            name: torch.from_numpy(as_stored(array, weights))
            for name, array in _arrays(trained).items()
        }
    )
    likeness = _likeness(stored, trained, path)
    content = build(_arrays(stored), weights, metadata or {})
    difference = difference_of(content, stored)
    if not difference <= TOLERANCE:
        raise OutputUnwritable(
            f"{path} was not written: ONNX Runtime's vectors differ from torch's by "
            f"{difference:.1e}. Try another version of either"
        )
    write(path, content)
    return Exported(path, len(content), hashlib.sha256(content).hexdigest(), difference, likeness)


def _arrays(network: Network) -> dict[str, np.ndarray]:
    return {name: it.cpu().float().numpy() for name, it in network.state_dict().items()}


def as_stored(array: np.ndarray, weights: Weights) -> np.ndarray:
    """Return a tensor as it comes back from a file.

    Parameters
    ----------
    array : np.ndarray, float32
        One tensor of weights.
    weights : {"float32", "float16", "int8"}
        For ``int8``, each slice of the first axis has its own scale.
    """
    if weights == "float32" or array.size < SMALLEST_REDUCED:
        return array
    if weights == "float16":
        return array.astype(np.float16).astype(np.float32)
    whole, scale = _int8(array, axis=0)
    return np.asarray(whole * scale)


def _int8(array: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers and a scale for each slice along an axis. Their product is near."""
    others = tuple(one for one in range(array.ndim) if one != axis)
    most = np.abs(array).max(others, keepdims=True)
    scale = np.maximum(most / INT8_MOST, np.finfo(np.float32).tiny).astype(np.float32)
    return np.round(array / scale).astype(np.int8), scale


def build(state: State, weights: Weights, metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of an ONNX file that holds a network.

    Parameters
    ----------
    state : mapping of str to np.ndarray
        State of the network as numpy arrays.
    weights : {"float32", "float16", "int8"}
        Precision in which the weights are stored.
    metadata : mapping of str to str
        Metadata of the file.

    Raises
    ------
    EngineUnavailable
        If the package onnx is not installed.
    """
    onnx = require_onnx()
    helper = onnx.helper
    nodes = _nodes(state)
    used = {name for node in nodes for name in node.input}
    known: dict[str, np.ndarray] = {
        **{name: np.array(value, np.float32) for name, value in NUMBERS.items()},
        **{name: np.array(value, np.int64) for name, value in INDICES.items()},
        **lstm_weights(state),
        **state,
    }
    tensors = {name: array for name, array in known.items() if name in used}
    restoring, held = _storage(tensors, weights)
    number, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    describe = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*restoring, *nodes],
        "membrane",
        [
            describe("mels", number, ["frames", CHANNELS]),
            describe("length", whole, [1]),
            describe("places", whole, ["n", PARTIAL_FRAMES]),
        ],
        [describe("partials", number, ["n", DIMENSION]), describe("weights", number, ["n"])],
        held,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="membrane")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


NUMBERS = {
    "least_power": LEAST_POWER,
    "log_scale": LOG_SCALE,
    "sharpness": FLOOR_SHARPNESS,
    "minus_sharpness": -FLOOR_SHARPNESS,
    "least_length": LEAST_LENGTH,
    "half": 0.5,
    "unit": 1.0,
    "root_two": 2**0.5,
    "nothing": 0.0,
}
INDICES = {"first": [0], "direction": [1], "zero": 0, "one": 1, "channels": [CHANNELS]}


def _storage(tensors: Mapping[str, np.ndarray], weights: Weights) -> tuple[list[Any], list[Any]]:
    """Return the nodes that restore the tensors, and the tensors that the file stores instead."""
    nodes, held = [], {}
    for name, array in tensors.items():
        if weights == "float32" or array.size < SMALLEST_REDUCED:
            held[name] = array
        elif weights == "float16":
            held[f"{name}.stored"] = array.astype(np.float16)
            nodes.append(_node("Cast", f"{name}.stored", name, to=1))
        else:
            axis = array.ndim - 2 if array.shape[0] == 1 else 0  # LSTM: (direction, gates, inputs)
            whole, scale = _int8(array, axis=axis)
            held |= {f"{name}.stored": whole, f"{name}.scale": scale}
            # ONNX Runtime would run DequantizeLinear at every call, but this only once.
            nodes += [
                _node("Cast", f"{name}.stored", f"{name}.whole", to=1),
                _node("Mul", f"{name}.whole {name}.scale", name),
            ]
    return nodes, [
        require_onnx().numpy_helper.from_array(array, name) for name, array in held.items()
    ]


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    make = require_onnx().helper.make_node
    return make(operator, inputs.split(), [output], name=output, **attributes)


def _nodes(state: State) -> list[Any]:
    """Return all nodes from the inputs to the outputs."""
    front, side = "front.exit.weight" in state, "side.weight" in state
    return [
        *(_views() if front or side else ()),
        *(_front() if front else [_node("Identity", "mels", "cleaned")]),
        *(_side() if side else [_node("Identity", "cleaned", "features")]),
        _node("Gather", "features places", "stretches", axis=0),
        _node("Transpose", "stretches", "frames0", perm=[1, 0, 2]),
        *lstm_nodes(),
        *(
            [*_voice("voices"), *_projection()]
            if "projection.weight" in state
            else _voice("partials")
        ),
        *(_attention() if "attention.weight" in state else _no_attention()),
    ]


def _views() -> list[Any]:
    """Return what `network.views_of` does, for one utterance."""
    return [
        _node("Shape", "mels", "sizes", end=1),
        _node("Squeeze", "sizes first", "frame_count"),
        _node("Range", "zero frame_count one", "frame_numbers"),
        _node("Less", "frame_numbers length", "is_sound"),
        _node("Cast", "is_sound", "sound_row", to=1),
        _node("Unsqueeze", "sound_row direction", "sound"),
        _node("Cast", "length", "count", to=1),
        _node("Add", "mels least_power", "raised"),
        _node("Log", "raised", "log"),
        _node("Mul", "log sound", "log_sound"),
        _node("ReduceSum", "log_sound first", "log_sum"),
        _node("Div", "log_sum count", "log_mean"),
        _node("Sub", "log log_mean", "over_mean"),
        _node("Mul", "over_mean minus_sharpness", "sharpened"),
        _node("Exp", "sharpened", "softness"),
        _node("Mul", "softness sound", "softness_sound"),
        _node("ReduceSum", "softness_sound first", "softness_sum"),
        _node("Div", "softness_sum count", "softness_mean"),
        _node("Log", "softness_mean", "softness_log"),
        _node("Div", "softness_log sharpness", "depth"),
        _node("Add", "over_mean depth", "over_floor"),
        _node("ReduceMean", "log", "frame_mean", axes=[1]),
        _node("Sub", "log frame_mean", "over_frame"),
        _node("Concat", "over_mean over_floor over_frame", "all_views", axis=1),
        _node("Mul", "all_views log_scale", "scaled_views"),
        _node("Mul", "scaled_views sound", "views"),
    ]


def _front() -> list[Any]:
    """Return what `network.Front` does, and the mask applied."""
    return [
        _node("Transpose", "views", "views_in_time", perm=[1, 0]),
        _node("Unsqueeze", "views_in_time first", "views_batch"),
        _convolution("front.entry", "views_batch", "entered", pads=[KERNEL // 2] * 2),
        _node("Relu", "entered", "block0"),
        *chain.from_iterable(starmap(_block, enumerate(DILATIONS))),
        _convolution("front.exit", f"block{len(DILATIONS)}", "exited"),
        _node("Sigmoid", "exited", "mask_batch"),
        _node("Squeeze", "mask_batch first", "mask_in_time"),
        _node("Transpose", "mask_in_time", "mask", perm=[1, 0]),
        _node("Mul", "mels mask", "cleaned"),
    ]


def _convolution(layer: str, source: str, output: str, **attributes: Any) -> Any:
    return _node("Conv", f"{source} {layer}.weight {layer}.bias", output, **attributes)


def _block(number: int, dilation: int) -> list[Any]:
    """Return what `network.Block` does; GELU is ``x (1 + erf(x / sqrt 2)) / 2``."""
    layer, mine = f"front.blocks.{number}", f"block{number}"
    apart = {"group": WIDTH, "dilations": [dilation], "pads": [KERNEL // 2 * dilation] * 2}
    return [
        _convolution(f"{layer}.along", mine, f"{mine}.along", **apart),
        _node("Relu", f"{mine}.along", f"{mine}.positive"),
        _convolution(f"{layer}.widen", f"{mine}.positive", f"{mine}.wide"),
        _node("Div", f"{mine}.wide root_two", f"{mine}.normal"),
        _node("Erf", f"{mine}.normal", f"{mine}.erf"),
        _node("Add", f"{mine}.erf unit", f"{mine}.erf_up"),
        _node("Mul", f"{mine}.wide {mine}.erf_up", f"{mine}.twice"),
        _node("Mul", f"{mine}.twice half", f"{mine}.gelu"),
        _convolution(f"{layer}.narrow", f"{mine}.gelu", f"{mine}.narrow"),
        _node("Add", f"{mine} {mine}.narrow", f"block{number + 1}"),
    ]


def _side() -> list[Any]:
    scale = {"alpha": SIDE_SCALE, "beta": SIDE_SCALE}
    return [
        _node("Slice", "views first channels direction", "over_mean_view"),
        _node("Gemm", "over_mean_view side.weight side.bias", "beside", transB=1, **scale),
        _node("Add", "cleaned beside", "features"),
    ]


def _voice(output: str) -> list[Any]:
    return [
        _node("Gemm", "last linear.weight linear.bias", "raw", transB=1),
        _node("Relu", "raw", "positive"),
        *_normalised("positive", output),
    ]


def _projection() -> list[Any]:
    return [
        _node("Gemm", "voices projection.weight projection.bias", "moved", transB=1),
        _node("ReduceL2", "voices", "found", axes=[1]),
        _node("Mul", "moved found", "projected"),
        *_normalised("projected", "partials"),
    ]


def _normalised(source: str, output: str) -> list[Any]:
    return [
        _node("ReduceL2", source, f"{source}_norm", axes=[1]),
        _node("Max", f"{source}_norm least_length", f"{source}_safe_norm"),
        _node("Div", f"{source} {source}_safe_norm", output),
    ]


def _attention() -> list[Any]:
    return [
        _node("Gemm", "last attention.weight attention.bias", "weight_column", transB=1),
        _node("Squeeze", "weight_column direction", "weights"),
    ]


def _no_attention() -> list[Any]:
    return [
        _node("Mul", "last nothing", "silenced"),
        _node("ReduceSum", "silenced direction", "weights", keepdims=0),
    ]


def difference_of(content: bytes, network: Network) -> float:
    """Return the largest difference between the vectors of a file and those of a network.

    Both run in the whole encoder, on synthesised utterances of `LENGTHS_S`. The weights of their
    partials are compared too.

    Parameters
    ----------
    content : bytes
        Content of the ONNX file.
    network : Network
        A network with the weights as stored.

    Raises
    ------
    ModelUnavailable
        If ONNX Runtime cannot load the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        path.write_bytes(content)
        exported, expected = RobustEncoder(path), encoder_of(network)
        apart = [
            np.abs(mine - theirs).max()
            for speech in _utterances()
            for mine, theirs in zip(exported.run(speech), expected.run(speech), strict=True)
        ]
    return float(np.max(apart))  # not-a-number if one of them is


def _likeness(one: Network, other: Network, path: Path) -> float:
    """Return the least cosine between what two networks hear of the same utterance."""
    encoders = encoder_of(one), encoder_of(other)
    try:
        pairs = [[it.embed_speech(speech).vector for it in encoders] for speech in _utterances()]
    except PoorQuality:
        raise OutputUnwritable(
            f"{path} was not written: the network finds no voice in anything. Train it anew, with "
            "a lower learning_rate"
        ) from None
    return min(float(mine @ theirs) for mine, theirs in pairs)


def _utterances() -> Iterator[Samples]:
    """Yield buzzes with a melody and pauses, in a little noise: much like voices to the network."""
    rng = np.random.default_rng(0)
    for seconds in LENGTHS_S:
        time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
        syllables = np.clip(np.sin(2 * np.pi * 4 * time) + 0.5, 0, None)
        yield (0.1 * buzz * syllables + 0.003 * rng.standard_normal(len(time))).astype(np.float32)
