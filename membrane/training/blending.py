"""Blending: weights between what was learnt and what the teacher knew.

Fine-tuning gains where it was trained and forgets a little elsewhere. On the straight line between
the weights before and after, much of the gain is kept and most of the loss is not (Wortsman et
al., "Robust fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

import copy

import torch

from membrane.training.learner import OLD_LAYERS
from membrane.training.network import Network


def shares_of(count: int) -> tuple[float, ...]:
    """Return so many shares of the teacher, equally far apart, besides none at all.

    Parameters
    ----------
    count : int

    Returns
    -------
    tuple of float, in [0, 1)
        The first is 0.
    """
    return tuple(number / (count + 1) for number in range(count + 1))


@torch.no_grad()
def blended(learnt: Network, teacher: Network, share: float) -> Network:
    """Return a network whose old layers lie between two others'.

    The front and all else that the teacher has not stay as they were learnt.

    Parameters
    ----------
    learnt, teacher : Network
        Of the same recipe.
    share : float
        Of the teacher, from 0 to 1.
    """
    between = copy.deepcopy(learnt)
    known = dict(teacher.named_parameters())
    for name, parameter in between.named_parameters():
        if name.split(".")[0] in OLD_LAYERS:
            parameter.lerp_(known[name], share)
    return between
