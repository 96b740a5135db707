"""The learner: a network, its moving average, and the stages in which it learns.

First the front alone learns to take out noise, which needs no LSTM and a tenth of the time. Then
everything learns together. In each stage the learning rate rises and falls once (Smith and Topin,
"Super-convergence: very fast training of neural networks using large learning rates", 2019).

The average of the weights over the last few hundred steps errs less than any one of them (Polyak
and Juditsky, "Acceleration of stochastic approximation by averaging", 1992); it is what is
validated and exported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from membrane.errors import UsageError
from membrane.training.batches import Batch
from membrane.training.distributed import Processes
from membrane.training.network import Network, Voiced
from membrane.training.objectives import Loss, Objective, mask_distance, on_device
from membrane.training.recipe import Recipe
from membrane.voice.frontends.mels import STEP
from membrane.voice.frontends.partials import partial_starts

OLD_LAYERS = ("lstm", "linear")
"""Parts of the network that come from the teacher. All others are new."""

AVERAGE_DELAY = 20
"""Steps after which the moving average looks back over half of the training."""

Losses = dict[str, float]


class Stage:
    """An optimiser and its schedule, from the first step of a stage to its last.

    Parameters
    ----------
    rated : sequence of (float, list of nn.Parameter)
        The peak rate of each group of parameters. Reports show the first.
    steps : int
        Number of steps in the stage.
    warmup_share : float
        Share of the steps in which the rate rises.
    """

    def __init__(
        self,
        rated: Sequence[tuple[float, list[nn.Parameter]]],
        *,
        steps: int,
        warmup_share: float,
    ) -> None:
        if warmup_share * steps == 1:  # it would take no step, and `OneCycleLR` divides by that
            warmup_share = math.nextafter(warmup_share, 1)
        groups = [(rate, some) for rate, some in rated if some]
        self.optimiser = torch.optim.Adam([{"params": some, "lr": rate} for rate, some in groups])
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            max_lr=[rate for rate, _ in groups],
            total_steps=steps,
            pct_start=warmup_share,
        )

    def step(self, *, limited: Sequence[Tensor], limit: float) -> None:
        """Update the parameters from their gradients.

        Parameters
        ----------
        limited : sequence of torch.Tensor
            The parameters whose gradients are cut to a norm of `limit`, together.
        limit : float
            Largest norm of their gradients.
        """
        nn.utils.clip_grad_norm_(limited, limit)
        self.optimiser.step()
        self.schedule.step()


class Learner:
    """A network and its optimisers, on one device.

    Parameters
    ----------
    objective : Objective
        The loss to minimise. It has its own parameters.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        objective: Objective,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.recipe = recipe
        self.network = network.to(device)
        self.objective = objective.to(device)
        self.device = device
        self.processes = processes
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.step = 0
        self.front_stage, self.whole_stage = self._stages()
        self.stages = [it for it in (self.front_stage, self.whole_stage) if it is not None]
        self.starts = tuple(partial_starts((recipe.frames - 1) * STEP))

    def _stages(self) -> tuple[Stage | None, Stage]:
        old: list[nn.Parameter] = []
        new: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            (old if name.split(".")[0] in OLD_LAYERS else new).append(parameter)
        recipe, slow = self.recipe, self.recipe.learning_rate
        rated = [
            (slow, old),
            (slow * recipe.new_layers_factor, new),
            (slow * recipe.prototypes_factor, list(self.objective.parameters())),
        ]
        share = recipe.warmup_share
        whole = Stage(rated, steps=recipe.steps - recipe.alone, warmup_share=share)
        if not recipe.alone or self.network.front is None:
            return None, whole
        front = [(recipe.front_rate, list(self.network.front.parameters()))]
        return Stage(front, steps=recipe.alone, warmup_share=share), whole

    @property
    def _stage(self) -> Stage:
        """The stage of this step."""
        front = self.front_stage if self.step < self.recipe.alone else None
        return front or self.whole_stage

    @property
    def rate(self) -> float:
        """The learning rate at this step, of the old layers if they learn."""
        return float(self._stage.optimiser.param_groups[0]["lr"])

    def learn(self, own: Batch[np.ndarray]) -> Losses:
        """Take one step.

        Parameters
        ----------
        own : Batch
            The rows of this process.

        Returns
        -------
        dict of str to float
            The losses of the whole batch; ``loss`` is their weighted sum.

        Raises
        ------
        UsageError
            If the loss is not a number any more. The network stays as it was.
        """
        self.network.train()
        stage = self._stage
        if stage is self.front_stage:
            total, parts = self._cleaning(own)
        else:
            total, parts = self.objective(*self._heard(own), self.starts)
        if not torch.isfinite(total):
            raise UsageError(
                f"the loss is no number any more at step {self.step + 1}: lower learning_rate in "
                "the recipe and train anew"
            )
        stage.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        parameters = list(self.network.parameters())
        self.processes.add_gradients(parameters)
        stage.step(limited=parameters, limit=self.recipe.gradient_limit)
        self.step += 1
        self._follow()
        return {"loss": total.item(), **{name: part.item() for name, part in parts.items()}}

    def _cleaning(self, own: Batch[np.ndarray]) -> Loss:
        """Return the loss of the front alone, without computing anything else."""
        rows, gathered = on_device(own, self.device), self.processes.gathered
        with self._precision():
            _, cleaned = self.network.listen(rows.heard, rows.lengths)
        batch = Batch(*map(gathered, rows))
        distance = mask_distance(gathered(cleaned.float()), batch.wanted, batch.lengths)
        return Loss(distance, {"mask": distance})

    def _heard(self, own: Batch[np.ndarray]) -> tuple[Batch[Tensor], Voiced]:
        """Return the whole batch and the network's output for it, from all processes."""
        rows, gathered = on_device(own, self.device), self.processes.gathered
        with self._precision():
            voiced = self.network(rows.heard, rows.lengths, self.starts)
        return Batch(*map(gathered, rows)), Voiced(
            gathered(voiced.pooled.float()),
            gathered(voiced.partials.float(), axis=1),
            gathered(voiced.cleaned.float()),
        )

    def _precision(self) -> torch.autocast:
        wanted = self.recipe.precision == "bfloat16" and has_bfloat16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted)

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.recipe.average_decay, self.step / (self.step + AVERAGE_DELAY))
        for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs to continue from here."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "objective": self.objective.state_dict(),
            "stages": [
                {
                    "optimiser": stage.optimiser.state_dict(),
                    "schedule": stage.schedule.state_dict(),
                }
                for stage in self.stages
            ],
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state of another learner of the same recipe and speakers."""
        self.step = state["step"]
        for name in ("network", "average", "objective"):
            getattr(self, name).load_state_dict(state[name])
        for stage, kept in zip(self.stages, state["stages"], strict=True):
            stage.optimiser.load_state_dict(kept["optimiser"])
            stage.schedule.load_state_dict(kept["schedule"])
        torch.set_rng_state(state["random"])


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
