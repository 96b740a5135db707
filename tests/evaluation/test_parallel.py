import os
import socket
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Event

import pytest

from membrane.errors import EngineUnavailable, NoSuchFile, UsageError
from membrane.evaluation.conditions import conditions
from membrane.evaluation.corpora.recordings import find_recordings
from membrane.evaluation.parallel import SCHEDULER_VARIABLE, as_they_finish
from membrane.evaluation.voices import Job, hear
from membrane.settings import Settings

needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None, reason="distributed is not installed"
)
CALLS = [(base, 2) for base in range(20)]
SQUARES = sorted(base**2 for base in range(20))


@pytest.fixture
def no_scheduler(monkeypatch):
    monkeypatch.delenv(SCHEDULER_VARIABLE, raising=False)


@pytest.mark.parametrize("backend", [None, "loky", "threading", "sequential"])
def test_every_call_is_answered_once(backend):
    assert sorted(as_they_finish(pow, CALLS, backend=backend, workers=2)) == SQUARES


# Python 3.12 and later warn of forking a process that has threads, as every test run does.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_backends_that_give_lists_only_work_too():
    assert sorted(as_they_finish(pow, CALLS, backend="multiprocessing", workers=2)) == SQUARES


def test_results_come_as_they_finish():
    seen = Event()
    calls = [(lambda: seen.wait(60),), (lambda: "at once",)]
    answers = as_they_finish(lambda call: call(), calls, backend="threading", workers=2)
    assert next(answers) == "at once"
    seen.set()
    assert list(answers) == [True]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_whoever_stops_early_stops_the_work(backend):
    answers = as_they_finish(time.sleep, [(0.01,)] * 5000, backend=backend, workers=2)
    started = time.monotonic()
    next(answers)
    answers.close()
    assert time.monotonic() - started < 20


def test_no_calls_need_no_workers():
    assert list(as_they_finish(pow, [], workers=2)) == []


@pytest.mark.parametrize("calls", [CALLS, []])
def test_an_unknown_backend_is_refused_with_those_that_exist(calls):
    with pytest.raises(UsageError, match="no backend is called 'abacus': choose from dask, loky, "):
        list(as_they_finish(pow, calls, backend="abacus"))


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers):
    with pytest.raises(UsageError, match="use 1 or more"):
        list(as_they_finish(pow, CALLS, workers=workers))


@pytest.mark.parametrize("backend", [None, "multiprocessing"])
def test_more_processes_than_the_machine_can_bear_are_refused(backend):
    with pytest.raises(UsageError, match="100,000 processes are too many here: use"):
        list(as_they_finish(pow, CALLS, workers=100_000, backend=backend))


def test_errors_of_workers_keep_their_class(tmp_path):
    from membrane.audio.files import read_utterance

    with pytest.raises(NoSuchFile, match=r"nowhere\.wav cannot be read"):
        list(as_they_finish(read_utterance, [(tmp_path / "nowhere.wav",)] * 2, workers=2))


def test_a_worker_that_dies_is_told_in_one_line():
    with pytest.raises(EngineUnavailable, match=r"a worker of loky died, .*: use fewer workers"):
        list(as_they_finish(os._exit, [(1,), (1,)], workers=2))


def test_without_dask_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(EngineUnavailable, match=r"pip install \"membrane-voice-login\[cluster\]\""):
        list(as_they_finish(pow, CALLS, backend="dask"))


@needs_dask
@pytest.mark.usefixtures("no_scheduler")
def test_a_cluster_needs_an_address():
    with pytest.raises(
        UsageError, match=rf"start one with `dask scheduler`.*{SCHEDULER_VARIABLE}="
    ):
        list(as_they_finish(pow, CALLS, backend="dask"))


@needs_dask
@pytest.mark.parametrize(
    "address", ["smoke://signals", "tcp://nowhere:port", "nonsense", "http://[::1"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="is no address of a Dask scheduler"):
        list(as_they_finish(pow, CALLS, backend="dask", scheduler=address))


@needs_dask
def test_a_cluster_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr("membrane.evaluation.parallel.PATIENCE_S", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv(SCHEDULER_VARIABLE, address)
    with pytest.raises(EngineUnavailable, match=f"no Dask scheduler answers at {address}"):
        list(as_they_finish(pow, CALLS, backend="dask"))


@needs_dask
def test_a_cluster_without_workers_is_told(monkeypatch):
    monkeypatch.setattr("membrane.evaluation.parallel.PATIENCE_S", 1)
    with cluster_of(0) as address, pytest.raises(EngineUnavailable, match="has no workers: start"):
        list(as_they_finish(pow, CALLS, backend="dask", scheduler=address))


@contextmanager
def cluster_of(workers):
    """Yield the address of a Dask cluster of worker processes on this computer."""
    from distributed import LocalCluster

    options = {"dashboard_address": None, "threads_per_worker": 1}
    with LocalCluster(n_workers=workers, processes=True, **options) as running:
        yield running.scheduler_address


@pytest.fixture
def cluster():
    with cluster_of(2) as address:
        yield address


@needs_dask
def test_a_cluster_hears_bit_by_bit_what_this_computer_hears(cluster, recordings, monkeypatch):
    found = find_recordings([recordings]).recordings[::7]
    jobs = [Job(one, enrolling=True) for one in found]
    jobs += [Job(one, each) for each in conditions(noise="pink", snr=[5]) for one in found]
    here = hear(jobs, Settings(), workers=2)
    monkeypatch.setenv(SCHEDULER_VARIABLE, cluster)
    there = hear(jobs, Settings(), backend="dask")
    for ours, theirs in zip(here, there, strict=True):
        assert (ours.quality, ours.denoised) == (theirs.quality, theirs.denoised)
        assert ours.embedding.vector.tobytes() == theirs.embedding.vector.tobytes()
        assert ours.embedding.partials.tobytes() == theirs.embedding.partials.tobytes()


@needs_dask
def test_a_cluster_of_another_membrane_is_refused(cluster, recordings, monkeypatch):
    jobs = [Job(one) for one in find_recordings([recordings]).recordings[:2]]
    monkeypatch.setattr("membrane.evaluation.voices.pipeline", lambda _encoder: "changed since")
    with pytest.raises(EngineUnavailable, match="a worker runs another Membrane"):
        hear(jobs, Settings(), backend="dask", scheduler=cluster)
