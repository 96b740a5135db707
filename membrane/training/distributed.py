"""Several processes that train one network, each on its rows of the same batch.

Every process computes the whole objective. It gathers the results of the others' rows, and the
gradient of each row goes back to the process that computed it. So an objective that compares rows
sees all of them, and need not know how many processes there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed

from membrane.errors import EngineUnavailable, UsageError, in_one_line


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them.

    Parameters
    ----------
    rank, count : int
        Number of this process, and number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def rows(self, total: int) -> slice:
        """Return the rows of a batch that belong to this process, in the order of the processes.

        Raises
        ------
        UsageError
            If the rows cannot be shared equally.
        """
        if total % self.count:
            raise UsageError(
                f"the {total} rows of a batch cannot be shared equally by {self.count} processes: "
                "change speakers in the recipe, or the number of processes"
            )
        share = total // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def gathered(self, rows: Tensor, axis: int = 0) -> Tensor:
        """Return the rows of all processes. Each process gets the gradient of its own rows.

        Parameters
        ----------
        rows : torch.Tensor
            Rows of the same shape in every process.
        axis : int
            Axis along which the rows are joined.
        """
        if self.count == 1:
            return rows
        return cast(Tensor, _Gather.apply(rows, axis, self))  # type: ignore[no-untyped-call]

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give each process the sum of all gradients."""
        if self.count == 1:
            return
        gradients = [one.grad for one in parameters if one.grad is not None]
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        with _others_answer():
            distributed.all_reduce(whole)
        parts = torch.split(whole, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agreed(self, value: Any) -> Any:
        """Return the first process's value in every process."""
        if self.count == 1:
            return value
        values = [value]
        with _others_answer():
            distributed.broadcast_object_list(values)
        return values[0]


class _Gather(torch.autograd.Function):
    """The joined rows of all processes. Their gradient is the same in each process."""

    @staticmethod
    def forward(context: Any, rows: Tensor, axis: int, processes: Processes) -> Tensor:
        context.axis, context.own = axis, processes.rows(rows.shape[axis] * processes.count)
        parts = [torch.empty_like(rows) for _ in range(processes.count)]
        with _others_answer():
            distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts, axis)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        own = context.own
        return gradient.narrow(context.axis, own.start, own.stop - own.start), None, None


@contextmanager
def _others_answer() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise EngineUnavailable(
            f"another process of this training has ended ({in_one_line(error)}): start all anew "
            "with --resume"
        ) from None


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, or run alone without it.

    Raises
    ------
    EngineUnavailable
        If the other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:  # one each
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    try:
        distributed.init_process_group("nccl" if on_gpus else "gloo")
    except (RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"the other processes cannot be reached ({in_one_line(error)}): start all "
            "of them with torchrun"
        ) from None
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
