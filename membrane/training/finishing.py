"""The last steps on the best network: blend in the teacher, and whiten the vectors.

Blending
--------
Fine-tuning gains where it was trained and forgets a little elsewhere. Weights on the straight line
between before and after keep much of the gain and avoid most of the loss (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022).

Whitening
---------
Directions in which voices of one person differ come to count for less: within-class covariance
normalisation (Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based
speaker recognition", Interspeech 2006), of partials that were heard in all that the augmentation
does to them, so that noise, rooms and channels are among what differs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from membrane.training.batches import Batch
from membrane.training.learner import OLD_LAYERS
from membrane.training.network import Network
from membrane.training.objectives import mostly_sound, on_device


def shares_of(count: int) -> tuple[float, ...]:
    """Return 0 and `count` equally spaced shares of the teacher.

    Parameters
    ----------
    count : int
        Number of shares besides 0.

    Returns
    -------
    tuple of float, in [0, 1)
        The first is 0.
    """
    return tuple(number / (count + 1) for number in range(count + 1))


@torch.no_grad()
def blended(learnt: Network, teacher: Network, share: float) -> Network:
    """Return a network whose old layers lie between those of two others.

    The front and all other parts that the teacher lacks stay as learnt.

    Parameters
    ----------
    learnt, teacher : Network
        Two networks of the same recipe.
    share : float
        Share of the teacher, from 0 to 1.
    """
    between = copy.deepcopy(learnt)
    known = dict(teacher.named_parameters())
    for name, parameter in between.named_parameters():
        if name.split(".")[0] in OLD_LAYERS:
            parameter.lerp_(known[name], share)
    return between


class Vectors(NamedTuple):
    """What a network hears of known speakers.

    Parameters
    ----------
    vectors : np.ndarray, shape (n, 256), float32, unit length
        Of partials.
    speakers : np.ndarray, shape (n,), int64
        Number of the speaker of each vector.
    """

    vectors: np.ndarray
    speakers: np.ndarray


@torch.no_grad()
def heard_by(
    network: Network, batches: Iterable[Batch[np.ndarray]], starts: Sequence[int]
) -> Vectors:
    """Return what a network hears of batches.

    Parameters
    ----------
    network : Network
        A network on any device, whose projection changes nothing yet.
    batches : iterable of Batch
        What the network listens to.
    starts : sequence of int
        First frames of the partials.
    """
    vectors, speakers = [], []
    for batch in batches:
        rows = on_device(batch, next(network.parameters()).device)
        partials = network(rows.heard, rows.lengths, starts).partials.float()
        sound = mostly_sound(rows.lengths, starts)
        vectors.append(partials[sound].cpu().numpy())
        speakers.append(rows.speakers.expand(sound.shape)[sound].cpu().numpy())
    return Vectors(np.concatenate(vectors), np.concatenate(speakers))


def whitening(heard: Vectors, *, power: float, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the projection of vectors and its offset.

    Parameters
    ----------
    power : float
        Each direction is scaled by its variance within speakers to the power of minus this.
    shrinkage : float
        How many times the mean variance is added to each. This tames rarely seen directions (Ledoit
        and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004).

    Returns
    -------
    matrix : np.ndarray, shape (256, 256)
    offset : np.ndarray, shape (256,)
        The projection of a vector v is ``matrix @ v + offset``. The mean of all vectors goes to 0.
    """
    vectors = heard.vectors.astype(np.float64)
    names, who, counts = np.unique(heard.speakers, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), vectors.shape[1]))
    np.add.at(sums, who, vectors)
    apart = vectors - (sums / counts[:, None])[who]
    variances, axes = np.linalg.eigh(apart.T @ apart / max(1, len(vectors) - len(names)))
    scales = (np.maximum(variances, 0) + shrinkage * variances.mean()) ** -power
    matrix = (axes * scales) @ axes.T
    return matrix, -matrix @ vectors.mean(axis=0)


def whitened(network: Network, heard: Vectors, *, power: float, shrinkage: float) -> Network:
    """Return the network with a projection fitted to what it hears."""
    matrix, offset = whitening(heard, power=power, shrinkage=shrinkage)
    projected = copy.deepcopy(network)
    layer = projected.projection
    assert layer is not None, "the recipe asks for no projection"
    layer.weight.data.copy_(torch.from_numpy(matrix))
    layer.bias.data.copy_(torch.from_numpy(offset))
    return projected
