import os
import socket

import numpy as np
import pytest

from membrane.errors import UsageError

torch = pytest.importorskip("torch")

from membrane.training.distributed import Processes, joined  # noqa: E402 (torch is needed)

ROWS = 8


def coupled(vectors):
    """A loss in which every row meets every other."""
    return torch.logsumexp(vectors @ vectors.T, 1).mean()


def loss_and_gradient(processes):
    """Return the loss of rows that a layer made, and the gradient of the layer."""
    torch.manual_seed(0)
    layer, rows = torch.nn.Linear(5, 3), torch.randn(2, ROWS, 5)
    own = rows[:, processes.rows(ROWS)]
    loss = sum(coupled(part) for part in processes.gathered(layer(own), axis=1))
    loss.backward()
    processes.add_gradients(layer.parameters())
    return [loss.item(), *layer.weight.grad.flatten().tolist(), *layer.bias.grad.tolist()]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def one_of_several(rank, count, port, folder):
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with joined() as processes:
        said = processes.agreed(rank + 1)
        np.save(folder / f"{rank}.npy", [said, *loss_and_gradient(processes)])


def test_two_processes_have_the_loss_and_the_gradient_of_one(tmp_path):
    arguments = (2, free_port(), tmp_path)
    torch.multiprocessing.spawn(one_of_several, arguments, nprocs=2)
    for rank in (0, 1):
        agreed, *values = np.load(tmp_path / f"{rank}.npy")
        assert agreed == 1
        assert np.allclose(values, loss_and_gradient(Processes()), rtol=1e-5)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as processes:
        assert (processes.rank, processes.count, processes.first) == (0, 1, True)
        assert processes.agreed("yes") == "yes"


def test_processes_share_the_rows_in_their_order():
    assert [Processes(rank, 4).rows(8) for rank in range(4)] == [
        slice(0, 2),
        slice(2, 4),
        slice(4, 6),
        slice(6, 8),
    ]


def test_rows_that_cannot_be_shared_equally_are_refused():
    with pytest.raises(UsageError, match="change speakers in the recipe"):
        Processes(0, 3).rows(8)
