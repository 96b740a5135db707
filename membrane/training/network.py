"""The network to train: Resemblyzer's, behind a front that takes noise out.

The front sees the logarithm of the mel spectrogram, in which loud and soft sounds have similar
size. Its output is a mask: the share of each frame and channel that is speech. Resemblyzer's layers
(Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018) hear the masked
spectrogram and, as a second input, that logarithm. A new network equals Resemblyzer's: the mask is
nearly 1 everywhere and the second input 0, so training starts from all it knows. At the end, a
projection of the vectors shrinks what differs between utterances of one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from membrane.models import registry as models
from membrane.training.onnx_lstm import HIDDEN, LAYERS, read_tensors, torch_lstm
from membrane.training.recipe import NetworkRecipe
from membrane.voice.encoders.membrane import RobustEncoder
from membrane.voice.frontends.mels import CHANNELS
from membrane.voice.frontends.partials import PARTIAL_FRAMES

DIMENSION = 256
"""Length of a vector: ``model_embedding_size`` (resemblyzer/hparams.py)."""

LEAST_POWER = 1e-6
"""Added to a mel spectrogram before its logarithm: below what 16 bits can tell from silence."""

LOG_SCALE = 0.3
"""Brings logarithms of speech, which spread by some three nepers, to about unit size."""

FLOOR_SHARPNESS = 2.0
"""Sharpness of the soft minimum. A greater value is closer to the lowest frame, and depends more on
a single one."""

VIEWS = 3
"""Number of ways in which the front sees each channel of a frame (see `views_of`)."""

WIDTH = 128
"""Channels of the front: an eighth of the LSTM's multiplications."""

KERNEL = 5
"""Number of frames that a convolution sees at once."""

DILATIONS = (1, 2, 4, 8)
"""Frames between those, block by block: together they see 0.65 s."""

OPEN = 4.0
"""Initial offset of the mask, before the sigmoid: 0.98 of everything passes."""

SIDE_SCALE = 0.01
"""Scale of the second input: that of the mel powers beside it, so that both learn at one rate."""

LEAST_LENGTH = 1e-6
"""Least length that a vector is divided by, so that none becomes not-a-number."""


class Voiced(NamedTuple):
    """What the network makes of a batch of b utterances.

    Parameters
    ----------
    pooled : torch.Tensor, shape (b, 256), unit length
        The voice of each utterance.
    partials : torch.Tensor, shape (p, b, 256), unit length
        The voice of each of its p partials.
    cleaned : torch.Tensor, shape (b, t, 40)
        The masked mel power.
    """

    pooled: Tensor
    partials: Tensor
    cleaned: Tensor


def sounding(lengths: Tensor, frames: int) -> Tensor:
    """Return 1 where a frame is sound and 0 where it is padding.

    Parameters
    ----------
    lengths : torch.Tensor, shape (b,), int64
        Frames of each utterance that are sound.
    frames : int
        Number of frames in the batch.

    Returns
    -------
    torch.Tensor, shape (b, frames, 1), float32
    """
    return (torch.arange(frames, device=lengths.device) < lengths[:, None]).float()[:, :, None]


def views_of(mels: Tensor, lengths: Tensor) -> Tensor:
    """Return a mel spectrogram as the front sees it.

    Parameters
    ----------
    mels : torch.Tensor, shape (b, t, 40)
        Power.
    lengths : torch.Tensor, shape (b,), int64
        Frames that are sound.

    Returns
    -------
    torch.Tensor, shape (b, t, 120)
        The logarithm relative to each channel's mean, to its floor (a soft minimum: the level of a
        steady noise) and to the frame's mean. Zero where there is no sound.
    """
    sound = sounding(lengths, mels.shape[1])
    count = sound.sum(1, keepdim=True)
    log = torch.log(mels + LEAST_POWER)
    over_mean = log - (log * sound).sum(1, keepdim=True) / count
    depth = (torch.exp(-FLOOR_SHARPNESS * over_mean) * sound).sum(1, keepdim=True) / count
    over_floor = over_mean + torch.log(depth) / FLOOR_SHARPNESS
    over_frame = log - log.mean(2, keepdim=True)
    return torch.cat([over_mean, over_floor, over_frame], 2) * LOG_SCALE * sound


class Block(nn.Module):
    """A residual block: each channel along time, then all channels of a frame."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        reach = KERNEL // 2 * dilation
        self.along = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=reach, dilation=dilation, groups=WIDTH)
        self.widen = nn.Conv1d(WIDTH, 2 * WIDTH, 1)
        self.narrow = nn.Conv1d(2 * WIDTH, WIDTH, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return frames, shape (b, WIDTH, t), of the same shape."""
        wide = self.widen(functional.relu(self.along(frames)))
        return frames.add(self.narrow(functional.gelu(wide)))


class Front(nn.Module):
    """A small dilated convolutional network that finds the speech in a mel spectrogram."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Conv1d(VIEWS * CHANNELS, WIDTH, KERNEL, padding=KERNEL // 2)
        self.blocks = nn.ModuleList(Block(dilation) for dilation in DILATIONS)
        self.exit = nn.Conv1d(WIDTH, CHANNELS, 1)
        nn.init.zeros_(self.exit.weight)
        nn.init.constant_(self.exit.bias, OPEN)  # type: ignore[arg-type]

    def forward(self, views: Tensor) -> Tensor:
        """Return the mask of what `views_of` shows.

        Parameters
        ----------
        views : torch.Tensor, shape (b, t, 120)
            What `views_of` returns.

        Returns
        -------
        torch.Tensor, shape (b, t, 40), in (0, 1)
        """
        frames = functional.relu(self.entry(views.transpose(1, 2)))
        for block in self.blocks:
            frames = block(frames)
        return torch.sigmoid(self.exit(frames)).transpose(1, 2)


class Network(nn.Module):
    """Mel spectrograms in, voices out.

    Parameters
    ----------
    recipe : NetworkRecipe
        The parts that the network has.
    """

    def __init__(self, recipe: NetworkRecipe = NetworkRecipe()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.front = Front() if recipe.front else None
        self.side = _silent(CHANNELS, CHANNELS) if recipe.side else None
        self.lstm = nn.LSTM(CHANNELS, HIDDEN, LAYERS, batch_first=True)
        self.linear = nn.Linear(HIDDEN, DIMENSION)
        self.attention = _silent(HIDDEN, 1) if recipe.attention else None
        self.projection = _passing(DIMENSION) if recipe.projection else None

    @property
    def projects(self) -> bool:
        """Whether the projection changes the vectors."""
        if self.projection is None:
            return False
        same = torch.eye(DIMENSION, device=self.projection.weight.device)
        return not (torch.equal(self.projection.weight, same) and not self.projection.bias.any())

    def forward(self, mels: Tensor, lengths: Tensor, starts: Sequence[int]) -> Voiced:
        """Return the voices of a batch, each a mean of its partials.

        Parameters
        ----------
        mels : torch.Tensor, shape (b, t, 40)
            Power.
        lengths : torch.Tensor, shape (b,), int64
            Frames that are sound.
        starts : sequence of int
            First frames of the p partials, the same in all utterances.
        """
        features, cleaned = self.listen(mels, lengths)
        stretches = torch.cat([features[:, at : at + PARTIAL_FRAMES] for at in starts])
        vectors, weights = self.voice(stretches)
        partials = vectors.view(len(starts), len(mels), DIMENSION)
        shares = torch.softmax(weights.view(len(starts), len(mels), 1), 0)
        return Voiced(functional.normalize((partials * shares).sum(0), dim=1), partials, cleaned)

    def listen(self, mels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the LSTM hears of utterances, and their masked mel power.

        Parameters
        ----------
        mels : torch.Tensor, shape (b, t, 40)
            Power.
        lengths : torch.Tensor, shape (b,), int64
            Frames that are sound.

        Returns
        -------
        features, cleaned : torch.Tensor, shape (b, t, 40)
        """
        if self.front is None and self.side is None:
            return mels, mels
        views = views_of(mels, lengths)
        cleaned = mels if self.front is None else mels * self.front(views)
        if self.side is None:
            return cleaned, cleaned
        return cleaned + self.side(views[:, :, :CHANNELS]) * SIDE_SCALE, cleaned

    def voice(self, stretches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the voice of each partial, and how much it counts.

        Parameters
        ----------
        stretches : torch.Tensor, shape (n, PARTIAL_FRAMES, 40)
            As `listen` returns them.

        Returns
        -------
        vectors : torch.Tensor, shape (n, 256), float32, unit length
        weights : torch.Tensor, shape (n,)
            The shares of an utterance's partials are the softmax of these.
        """
        _, (hidden, _) = self.lstm(stretches)
        last = hidden[-1].float()
        vectors = functional.normalize(functional.relu(self.linear(last)), eps=LEAST_LENGTH)
        if self.projection is not None:
            # Without a voice there is nothing to project, not even the offset.
            found = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
            vectors = functional.normalize(self.projection(vectors) * found, eps=LEAST_LENGTH)
        if self.attention is None:
            return vectors, last.new_zeros(len(last))
        return vectors, self.attention(last)[:, 0]


def _silent(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer whose output is 0 until it has learnt something."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _passing(size: int) -> nn.Linear:
    """Return a layer that changes nothing. It is computed at the end, without gradients."""
    layer = _silent(size, size).requires_grad_(False)
    nn.init.eye_(layer.weight)
    return layer


def from_resemblyzer(recipe: NetworkRecipe = NetworkRecipe()) -> Network:  # noqa: B008 (frozen)
    """Return a network that computes what the shipped weights of Resemblyzer compute.

    Raises
    ------
    EngineUnavailable
        If the package onnx, which reads them, is not installed.
    ModelUnavailable
        If the weights are missing or differ from the registered ones.
    """
    network = Network(recipe)
    tensors = read_tensors(models.path_of("resemblyzer"))
    linear = {"linear.weight": tensors["linear"], "linear.bias": tensors["offset"]}
    known = {**torch_lstm(tensors), **linear}.items()
    network.load_state_dict({n: torch.from_numpy(array) for n, array in known}, strict=False)
    return network


class TorchSession:
    """A network with the one method of an ONNX Runtime session that an encoder calls."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @torch.no_grad()
    def run(self, _names: Sequence[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the partials and their weights, as the exported network does."""
        device = next(self.network.parameters()).device
        mels, length, places = (
            torch.from_numpy(inputs[name]).to(device) for name in ("mels", "length", "places")
        )
        features, _ = self.network.listen(mels[None], length)
        return [one.float().cpu().numpy() for one in self.network.voice(features[0][places])]


def encoder_of(network: Network) -> RobustEncoder:
    """Return the encoder that the exported network would be.

    Parameters
    ----------
    network : Network
        Used as it is: call ``network.eval()`` first if that makes a difference.
    """
    encoder = RobustEncoder()
    encoder.session = TorchSession(network)
    return encoder
