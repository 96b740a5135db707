"""A stage of a training: parameters that learn together, while their rate goes through one cycle.

The rate rises and falls once (Smith and Topin, "Super-convergence: very fast training of neural
networks using large learning rates", 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Stage:
    """An optimiser and its schedule, from the first step of a stage to its last.

    Parameters
    ----------
    rated : sequence of (float, list of nn.Parameter)
        The rate of each group of parameters at its peak; the first is the one that is told.
    steps : int
    warmup_share : float
        Of the steps in which the rate rises.
    """

    def __init__(
        self,
        rated: Sequence[tuple[float, list[nn.Parameter]]],
        *,
        steps: int,
        warmup_share: float,
    ) -> None:
        groups = [(rate, some) for rate, some in rated if some]
        self.optimiser = torch.optim.Adam([{"params": some, "lr": rate} for rate, some in groups])
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            max_lr=[rate for rate, _ in groups],
            total_steps=steps,
            pct_start=_rising_share(steps, warmup_share),
        )

    @property
    def rate(self) -> float:
        """The learning rate of the first group at this step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def forget_gradients(self) -> None:
        """Begin a step."""
        self.optimiser.zero_grad()

    def step(self, *, limited: Sequence[Tensor], limit: float) -> None:
        """Change the parameters by their gradients.

        Parameters
        ----------
        limited : sequence of torch.Tensor
            The parameters whose gradients are cut to a norm of `limit`, together.
        limit : float
        """
        nn.utils.clip_grad_norm_(limited, limit)
        self.optimiser.step()
        self.schedule.step()

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        return {"optimiser": self.optimiser.state_dict(), "schedule": self.schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def _rising_share(steps: int, share: float) -> float:
    """Return the share of the steps in which the rate rises.

    A rise of exactly one step would take none, which `OneCycleLR` divides by.
    """
    return share if share * steps != 1 else math.nextafter(share, 1)
