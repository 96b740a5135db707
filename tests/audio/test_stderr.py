import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from membrane.audio.stderr import quiet

C = ctypes.CDLL(None)
stderr = ctypes.c_void_p.in_dll(C, "stderr")
C.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]

def from_c(text):
    C.fputs(text, stderr)
    C.fflush(None)

{body}
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be silenced")


def printed_by(body):
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return shown.stderr.split()


def test_what_c_prints_is_silenced_and_what_python_prints_is_not():
    assert printed_by(
        """
from_c(b"before\\n")
with quiet():
    from_c(b"meanwhile\\n")
    print("python", file=sys.stderr, flush=True)
from_c(b"after\\n")
"""
    ) == ["before", "python", "after"]


def test_an_error_ends_the_silence():
    assert printed_by(
        """
try:
    with quiet():
        raise ValueError
except ValueError:
    from_c(b"after\\n")
"""
    ) == ["after"]


def test_threads_that_overlap_leave_it_as_they_found_it():
    assert printed_by(
        """
entered, left = threading.Event(), threading.Event()

def second():
    with quiet():
        entered.set()
        left.wait()
        from_c(b"meanwhile\\n")

thread = threading.Thread(target=second)
with quiet():
    thread.start()
    entered.wait()
left.set()
thread.join()
from_c(b"after\\n")
"""
    ) == ["after"]


def test_a_child_of_a_fork_prints_though_a_thread_of_its_parent_silenced_c():
    assert printed_by(
        """
import os, time
silenced, ended = threading.Event(), threading.Event()

def be_quiet():
    with quiet():
        silenced.set()
        ended.wait()

thread = threading.Thread(target=be_quiet)
thread.start()
silenced.wait()
if not os.fork():
    from_c(b"child\\n")
    with quiet():
        from_c(b"meanwhile\\n")
    from_c(b"after\\n")
    os._exit(0)
os.wait()
from_c(b"parent\\n")
ended.set()
thread.join()
"""
    ) == ["child", "after"]
