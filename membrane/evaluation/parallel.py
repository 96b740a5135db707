"""Parallel work: one function over many arguments, in processes here or on a cluster.

The work is joblib's: by default processes on this machine (its backend ``loky``), with ``dask`` the
workers of a Dask cluster, or whatever other backend is registered with joblib.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any

from membrane.errors import EngineUnavailable, UsageError

DEFAULT_BACKEND = "loky"

PROCESSES = (DEFAULT_BACKEND, "multiprocessing")
"""Backends that start processes on this machine."""

SCHEDULER_VARIABLE = "DASK_SCHEDULER_ADDRESS"
"""The environment variable that Dask's own commands read, too."""

PATIENCE_S = 10
"""Seconds that a scheduler has to answer, and then to have a worker."""

CHUNK_PER_WORKER = 8
"""Calls for each worker between two looks at the results, where a backend gives only lists."""

MOST_PER_CORE = 8
"""Processes on a core of this machine; hundreds would take all its memory and do nothing sooner."""

Calls = Sequence[tuple[Any, ...]]


def as_they_finish(
    function: Callable[..., Any],
    calls: Calls,
    *,
    backend: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Generator[Any]:
    """Yield what the function returns of each tuple of arguments, in no particular order.

    Whoever stops early (by an exception, or Ctrl-C) leaves no worker behind.

    Parameters
    ----------
    function : callable
        Must be importable by the workers, and its arguments and results must pickle.
    calls : sequence of tuple
        The arguments of each call.
    backend : str, optional
        Name of a joblib backend; by default processes on this machine.
    workers : int, optional
        By default one for each core. A cluster uses all of its own.
    scheduler : str, optional
        Address of a Dask scheduler; by default that of ``DASK_SCHEDULER_ADDRESS``.

    Raises
    ------
    UsageError
        If there is no such backend, there are too many processes, or the cluster's address is
        missing or is not one.
    EngineUnavailable
        If a backend is not installed, the cluster does not answer, or a worker died.
    """
    chosen = backend or DEFAULT_BACKEND
    _check(chosen, workers)
    if not calls:
        return
    try:
        with _options(chosen, scheduler) as options:
            yield from _results(function, calls, chosen, workers, options)
    except BrokenExecutor:
        raise EngineUnavailable(
            f"a worker of {chosen} died, perhaps for want of memory: use fewer workers"
        ) from None


def _check(backend: str, workers: int | None) -> None:
    from joblib import cpu_count
    from joblib.parallel import BACKENDS, EXTERNAL_BACKENDS

    known = sorted({*BACKENDS, *EXTERNAL_BACKENDS})
    if backend not in known:
        raise UsageError(f"no backend is called {backend!r}: choose from {', '.join(known)}")
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot work: use 1 or more")
    most = MOST_PER_CORE * cpu_count()
    if workers is not None and workers > most and backend in PROCESSES:
        raise UsageError(f"{workers:,} processes are too many here: use {most} or fewer")


@contextmanager
def _options(backend: str, scheduler: str | None) -> Iterator[dict[str, Any]]:
    """Yield what joblib must know of a backend besides its name."""
    if backend == "dask":
        with _cluster(scheduler) as client:
            yield {"client": client}
    elif backend == DEFAULT_BACKEND:
        # Windows' processes do not inherit what is ignored.
        ignore = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
        yield {"inner_max_num_threads": 1, **ignore}
    else:
        yield {}


def _results(
    function: Callable[..., Any],
    calls: Calls,
    backend: str,
    workers: int | None,
    options: dict[str, Any],
) -> Iterator[Any]:
    import joblib

    jobs = min(workers or joblib.cpu_count(), len(calls))
    tasks = [joblib.delayed(function)(*arguments) for arguments in calls]
    try:
        with joblib.parallel_config(backend=backend, **options):
            try:
                parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
            except ValueError:  # this backend gives lists only
                parallel = joblib.Parallel(n_jobs=jobs)
    except ImportError as error:
        raise EngineUnavailable(
            f"the backend {backend} cannot be loaded ({error}): install it, or use "
            f"{DEFAULT_BACKEND}"
        ) from None
    if not parallel.return_generator:
        chunk = CHUNK_PER_WORKER * jobs
        for start in range(0, len(tasks), chunk):
            yield from parallel(tasks[start : start + chunk])
        return
    with deaf_to_interrupts():
        results = parallel(tasks)
    try:
        for result in results:  # noqa: UP028 (`yield from` would close them before the end)
            yield result
    finally:
        # Workers that are stopped: joblib warns that their results are lost.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C for the moment in which workers start, who inherit that.

    It reaches every process of a terminal, but only ours is to answer it: a worker would print
    where it was.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _cluster(scheduler: str | None) -> Iterator[Any]:
    """Yield a connection to a Dask cluster."""
    try:
        import distributed
    except ImportError:
        raise EngineUnavailable(
            'Dask is not installed: pip install "membrane-voice-login[cluster]"'
        ) from None
    address = scheduler or os.environ.get(SCHEDULER_VARIABLE, "")
    if not address:
        raise UsageError(
            "the address of the Dask scheduler is missing: start one with `dask scheduler`, its "
            f"workers with `dask worker ADDRESS`, and set {SCHEDULER_VARIABLE}=ADDRESS"
        )
    connect: Any = distributed.Client
    resolve: Any = distributed.comm.addressing.resolve_address
    try:
        # A client that was given no address takes long to give up, and tells it with a traceback.
        resolve(address)
        client = connect(address, timeout=PATIENCE_S, set_as_default=False)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{address!r} is no address of a Dask scheduler: {error}") from None
    except OSError:
        raise EngineUnavailable(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError:
            raise EngineUnavailable(
                f"the cluster at {address} has no workers: start some with `dask worker {address}`"
            ) from None
        yield client
