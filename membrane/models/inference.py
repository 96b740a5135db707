"""ONNX Runtime, set up once for all models: few threads, none of them spinning."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from membrane.errors import ModelUnavailable
from membrane.system.forks import unforked

_abandoned: list[Any] = []
"""Sessions of a parent process. They are kept because ending one could wait for a lock that a
thread of the parent held."""


class OnnxNetwork:
    """A model file, opened when it is first used.

    Any number of threads may run it at once (`InferenceSession.run` of ONNX Runtime allows that;
    each call has its own state). A child of a fork opens the file anew.

    Parameters
    ----------
    find : callable
        Returns the path of the checked file, as `membrane.models.registry.path_of` does.
    """

    def __init__(self, find: Callable[[], Path]) -> None:
        self._find = find
        self._opened: tuple[int, Any] | None = None

    def run(
        self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray]
    ) -> list[np.ndarray]:
        """Return the outputs of these names, or all of them.

        Raises
        ------
        ModelUnavailable
            If the file is missing or is not the registered one, or ONNX Runtime cannot run here.
        """
        found: list[np.ndarray] = self.load().run(outputs, inputs)
        return found

    def load(self) -> Any:
        """Return this process's session; raises as `run` does."""
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            return opened[1]
        with unforked:
            opened = self._opened
            if opened is None or opened[0] != os.getpid():
                _abandoned.extend([] if opened is None else [opened[1]])
                self._opened = opened = (os.getpid(), load_session(self._find()))
        return opened[1]


def load_session(path: Path, *, threads: int = 1) -> Any:
    """Open a checked model file.

    Spinning thread pools made two processes on two cores five times slower, so waiting threads
    sleep.

    Parameters
    ----------
    path : Path
        An ONNX file, as `membrane.models.registry.path_of` returns it.
    threads : int
        Threads that one operator may use.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ModelUnavailable
        If ONNX Runtime is missing or cannot read the file.
    """
    # It would look up a server of its makers, and keep a database of its runs. It reads this once,
    # when it is loaded; its own function for that comes too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelUnavailable(
            f"ONNX Runtime cannot be loaded ({error}): reinstall Membrane"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _refusals() as error:
        reason = " ".join(str(error).split())
        raise ModelUnavailable(
            f"model {path} cannot be loaded ({reason}): reinstall Membrane"
        ) from None


def _refusals() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises of a file that it cannot use; they have no base in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    return tuple(getattr(state, name) for name in (*names, "NotImplemented", "RuntimeException"))
