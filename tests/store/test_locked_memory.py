import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from membrane.store.locked_memory import LockedMemory

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows locks memory in another way")

ROOT = Path(__file__).resolve().parents[2]


def runs(script):
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, text=True)
    return done.returncode == 0


def test_what_is_written_is_read_again_and_the_rest_is_zero():
    memory = LockedMemory(10)
    with memory.following(3) as first:
        first[:] = b"abc"
    with memory.following(2) as second:
        second[:] = b"de"
    assert memory[:] == b"abcde" + bytes(5)
    assert memory.used == 5


def test_numpy_sees_the_memory_and_keeps_it_alive():
    memory = LockedMemory(1024)
    with memory.following(1024) as view:
        view[:] = np.arange(256, dtype=np.float32).tobytes()
    numbers = np.frombuffer(memory, np.float32)
    del memory
    np.testing.assert_array_equal(numbers, np.arange(256))


def test_it_is_overwritten_when_it_is_given_back(monkeypatch):
    wiped = []

    class Watched(LockedMemory):
        def __del__(self):
            super().__del__()
            wiped.append(self[:])

    memory = Watched(100)
    with memory.following(60) as view:
        view[:] = b"x" * 60
    monkeypatch.setattr("membrane.store.locked_memory.WIPE_BYTES", 7)
    del view, memory
    assert wiped == [bytes(100)]


def test_more_than_there_is_is_a_memory_error():
    with pytest.raises(MemoryError):
        LockedMemory(2**62)


def test_what_was_only_claimed_costs_nothing():
    # Eight gigabytes of addresses, where the system gives them away, and one page of memory.
    try:
        memory = LockedMemory(2**33)
    except MemoryError:
        pytest.skip("this system gives no memory away that it does not have")
    memory.following(100)
    assert memory.used == 100


def test_a_forked_child_that_gives_it_back_does_not_take_it_from_its_parent():
    assert runs("""
import os
from membrane.store.locked_memory import LockedMemory
memory = LockedMemory(10)
with memory.following(10) as view:
    view[:] = b"0123456789"
child = os.fork()
if not child:
    del view, memory
    os._exit(0)
os.waitpid(child, 0)
assert memory[:] == b"0123456789"
""")


def test_the_process_leaves_no_core_dump():
    assert runs("""
import resource
from membrane.store.locked_memory import LockedMemory
LockedMemory(10)
assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
""")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_what_is_used_is_locked_as_far_as_the_system_tells():
    assert runs("""
from pathlib import Path
from membrane.store.locked_memory import LockedMemory
memory = LockedMemory(2**30)
memory.following(100_000)
told = Path("/proc/self/status").read_text().split("VmLck:")[1].split()[0]
assert memory.locked == (int(told) * 1024 >= 100_000), told
assert int(told) < 2**20, "the rest was locked, too"
""")


def test_once_the_system_refuses_the_memory_does_not_pass_for_locked(monkeypatch):
    answers = iter([True, False, True])
    monkeypatch.setattr("membrane.store.locked_memory.STEP_BYTES", 10)
    monkeypatch.setattr("membrane.store.locked_memory._lock", lambda *_: next(answers))
    memory = LockedMemory(30)
    told = []
    for _ in range(3):
        memory.following(10)
        told.append(memory.locked)
    assert told == [True, False, False]
