"""The losses of training: how far voices in noise are from where they should be.

Conventions
-----------
Vectors have unit length, so their inner product is their cosine. Speakers are numbers, in any
order, that are equal for the same speaker. So rows from several processes can be judged together.
Every loss is a mean over what it counts, a tensor with a gradient.

Losses
------
- `distillation`: to the teacher's vector of the clean utterance (self-distillation; Hinton et al.,
  "Distilling the knowledge in a neural network", 2015, with the cosine in place of their softmax)
- `contrastive`: to the speaker's other utterance, away from all others (symmetric InfoNCE; van den
  Oord et al., "Representation learning with contrastive predictive coding", 2018)
- `ge2e`: to the mean of the speaker's other utterances, away from those of others (Wan et al.,
  "Generalized end-to-end loss for speaker verification", ICASSP 2018)
- `margin_softmax`: to a learnt prototype of the speaker, away from all others' by a margin (Deng et
  al., "ArcFace: additive angular margin loss for deep face recognition", CVPR 2019)
- `mask_distance`: from the cleaned spectrogram to that of the speech alone
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from membrane.errors import UsageError
from membrane.training.batches import Batch
from membrane.training.network import LEAST_POWER, Voiced, sounding
from membrane.training.recipe import ObjectiveRecipe
from membrane.training.teacher import Targets
from membrane.voice.frontends.partials import PARTIAL_FRAMES

LEAST_SOUND = 0.5
"""Share of a partial that must be sound before it is compared with the teacher's vector."""

GE2E_SCALE = 10.0
"""Initial scale of the cosines: w of section 2.1 of Wan et al."""

LOUDNESS = 0.3
"""Exponent that turns power into about how loud it is heard (Stevens, "The measurement of
loudness", 1955), so that soft sounds count beside loud ones."""

STEEPEST = 1e-6
"""How near a cosine may come to 1 or -1, where the gradient of its angle is infinite."""


def on_device(batch: Batch[np.ndarray], device: torch.device) -> Batch[Tensor]:
    """Return a batch, or some rows of one, as tensors on a device."""
    return Batch(*(torch.from_numpy(array).to(device) for array in batch))


class Loss(NamedTuple):
    """The loss of a batch.

    Parameters
    ----------
    total : torch.Tensor, shape ()
        The weighted sum of the parts.
    parts : dict of str to torch.Tensor, shape ()
        By the name of the objective, unweighted.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """The weighted sum of all losses whose weight is not 0.

    Parameters
    ----------
    targets : Targets
        The teacher's vectors of the material that the batches are made of.
    """

    def __init__(self, recipe: ObjectiveRecipe, targets: Targets) -> None:
        super().__init__()
        self.recipe = recipe
        # The targets come from the material, so they stay out of checkpoints.
        counts = [len(matrix) for matrix in targets.utterances]
        utterances = torch.from_numpy(np.concatenate(targets.utterances))
        self.firsts = nn.Buffer(torch.tensor([0, *np.cumsum(counts)[:-1]]), persistent=False)
        self.utterance_targets = nn.Buffer(utterances, persistent=False)
        self.speaker_targets = nn.Buffer(torch.from_numpy(targets.speakers), persistent=False)
        if recipe.margin:
            self.prototypes = nn.Parameter(self.speaker_targets.clone())
        if recipe.ge2e:
            self.log_scale = nn.Parameter(torch.tensor(math.log(GE2E_SCALE)))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each part of the loss by its name, without those of weight 0."""
        names = ("distillation", "contrastive", "ge2e", "margin", "mask")
        return {name: weight for name in names if (weight := getattr(self.recipe, name))}

    def forward(self, batch: Batch[Tensor], voiced: Voiced, starts: Sequence[int]) -> Loss:
        """Return the loss of a whole batch.

        Parameters
        ----------
        batch : Batch of torch.Tensor
            The whole batch.
        voiced : Voiced
            What the network makes of it.
        starts : sequence of int
            First frames of the partials.

        Raises
        ------
        UsageError
            If the contrastive loss is asked for and a speaker has not exactly two utterances.
        """
        judges = {
            "distillation": lambda: distillation(
                voiced,
                self.targets(batch.speakers, batch.utterances),
                mostly_sound(batch.lengths, starts),
            ),
            "contrastive": lambda: contrastive(
                voiced.pooled, batch.speakers, self.recipe.contrastive_scale
            ),
            "ge2e": lambda: ge2e(voiced.pooled, batch.speakers, self.log_scale.exp()),
            "margin": lambda: margin_softmax(
                voiced.pooled @ functional.normalize(self.prototypes, dim=1).T,
                batch.speakers,
                scale=self.recipe.margin_scale,
                margin=self.recipe.margin_angle,
            ),
            "mask": lambda: mask_distance(voiced.cleaned, batch.wanted, batch.lengths),
        }
        weights = self.weights
        parts = {name: judges[name]() for name in weights}
        return Loss(torch.stack([weights[name] * parts[name] for name in parts]).sum(), parts)

    def targets(self, speakers: Tensor, utterances: Tensor) -> Tensor:
        """Return the target of each row: between the utterance's own vector and its speaker's mean.

        Parameters
        ----------
        speakers, utterances : torch.Tensor, shape (b,), int64
            Numbers of the speaker and of the utterance of each row.

        Returns
        -------
        torch.Tensor, shape (b, 256), unit length
        """
        own = self.utterance_targets[self.firsts[speakers] + utterances]
        mean = self.speaker_targets[speakers]
        return functional.normalize(torch.lerp(own, mean, self.recipe.speaker_blend), dim=1)


def mostly_sound(lengths: Tensor, starts: Sequence[int]) -> Tensor:
    """Return which partials are sound for at least `LEAST_SOUND` of their frames.

    Parameters
    ----------
    lengths : torch.Tensor, shape (b,), int64
        Frames that are sound.
    starts : sequence of int
        First frames of the p partials.

    Returns
    -------
    torch.Tensor, shape (p, b), bool
    """
    firsts = torch.tensor(starts, device=lengths.device)[:, None]
    return lengths - firsts >= LEAST_SOUND * PARTIAL_FRAMES


def distillation(voiced: Voiced, targets: Tensor, sound: Tensor) -> Tensor:
    """Return one minus the cosine to the target: half of the whole, half of its partials.

    Parameters
    ----------
    voiced : Voiced
        What the network makes of the batch.
    targets : torch.Tensor, shape (b, 256), unit length
        Where each utterance's vector should be.
    sound : torch.Tensor, shape (p, b), bool
        The partials that count.
    """
    whole = 1 - (voiced.pooled * targets).sum(1)
    partials = (1 - (voiced.partials * targets).sum(2)) * sound
    return (whole.mean() + partials.sum() / sound.sum().clamp(min=1)) / 2


def contrastive(vectors: Tensor, speakers: Tensor, scale: float) -> Tensor:
    """Return the symmetric InfoNCE loss between the two utterances of each speaker.

    Parameters
    ----------
    vectors : torch.Tensor, shape (2 k, 256), unit length
        The voice of each utterance.
    speakers : torch.Tensor, shape (2 k,), int64
        Each speaker occurs twice.
    scale : float
        Scale of the cosines: one over the temperature.

    Raises
    ------
    UsageError
        If a speaker has not exactly two utterances.
    """
    names, counts = torch.unique(speakers, return_counts=True)
    if not bool((counts == 2).all()):
        raise UsageError("the contrastive loss compares two utterances a speaker: give it two")
    first, second = vectors[torch.argsort(speakers, stable=True)].view(len(names), 2, -1).unbind(1)
    logits = scale * first @ second.T
    own = torch.arange(len(names), device=logits.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def ge2e(vectors: Tensor, speakers: Tensor, scale: Tensor) -> Tensor:
    """Return the softmax form of the generalised end-to-end loss (equations 5, 6 and 8).

    The paper also learns an offset of the cosines, but the softmax cancels it.

    Parameters
    ----------
    vectors : torch.Tensor, shape (b, 256), unit length
        The voice of each utterance.
    speakers : torch.Tensor, shape (b,), int64
        Any number of utterances each. A single one has no others to be near to; the loss only keeps
        others away from it.
    scale : torch.Tensor, shape (), positive
        Learnt.
    """
    names, who = torch.unique(speakers, return_inverse=True)
    own = functional.one_hot(who, len(names)).to(vectors.dtype)
    sums = own.T @ vectors
    cosines = vectors @ functional.normalize(sums, dim=1).T
    # Leave a vector out of the mean it is compared with, or it would match itself.
    without = (vectors * functional.normalize(sums[who] - vectors, dim=1)).sum(1, keepdim=True)
    logits = scale * torch.where(own.bool(), without, cosines)
    losses = functional.cross_entropy(logits, who, reduction="none")
    several = (own.sum(0) > 1)[who]
    return (losses * several).sum() / several.sum().clamp(min=1)


def margin_softmax(cosines: Tensor, speakers: Tensor, *, scale: float, margin: float) -> Tensor:
    """Return the softmax loss with an additive angular margin (equation 3 of Deng et al.).

    Parameters
    ----------
    cosines : torch.Tensor, shape (b, s)
        Cosines of vectors to the prototypes of all speakers.
    speakers : torch.Tensor, shape (b,), int64
        Speaker whose prototype each vector should be near.
    scale : float
        Scale of the cosines: s of the paper.
    margin : float, radians
        How much nearer: m of the paper. If the angle and the margin together exceed half a turn,
        the cosine continues to fall as a straight line, as in the authors' code.
    """
    cosine = cosines.gather(1, speakers[:, None]).clamp(STEEPEST - 1, 1 - STEEPEST)
    sine = torch.sqrt(1 - cosine**2)
    nearer = cosine * math.cos(margin) - sine * math.sin(margin)
    straight = cosine - margin * math.sin(margin)
    wanted = torch.where(cosine > -math.cos(margin), nearer, straight)
    return functional.cross_entropy(scale * cosines.scatter(1, speakers[:, None], wanted), speakers)


def mask_distance(cleaned: Tensor, wanted: Tensor, lengths: Tensor) -> Tensor:
    """Return how far the loudness is from that of the speech alone, relative to its mean.

    Parameters
    ----------
    cleaned, wanted : torch.Tensor, shape (b, t, 40)
        Mel power.
    lengths : torch.Tensor, shape (b,), int64
        Frames that are sound. The others do not count.
    """
    sound = sounding(lengths, wanted.shape[1])
    heard, clean = ((power + LEAST_POWER) ** LOUDNESS * sound for power in (cleaned, wanted))
    usual = clean.mean(2).sum(1) / lengths
    apart = (heard - clean).abs().mean(2).sum(1) / usual
    return apart.sum() / lengths.sum()
