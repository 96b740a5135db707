"""Whatever a login needs and does not find: the answer is no, in one line, with the reason.

Each row takes one thing away from an installation in which ada would be let in. What only one
module can tell apart is tested with that module.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import pytest

from membrane.__main__ import run
from membrane.store.sqlite_login_state import SqliteLoginState
from tests.conftest import MEMBRANE

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "voiceprints.joblib"


@dataclass
class Installation:
    """A copy of Membrane, with weights and data of its own."""

    folder: Path
    home: Path
    arguments: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    limit: str = ":"

    @property
    def weights(self):
        return self.folder / "membrane" / "_weights"

    def replace(self, path, content=None):
        """Put other content in the place of a file; nothing, by default."""
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    def log_in(self, environment):
        """Let ada log in, as a process of its own."""
        command = ["sh", "-c", f'{self.limit}; exec "$@"', "sh", *MEMBRANE, *self.arguments]
        return subprocess.run(
            command,
            env={
                **environment,
                "PYTHONPATH": str(self.folder),
                "MEMBRANE_HOME": str(self.home),
                **self.variables,
            },
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def installation(tmp_path, enrolled, recording, words_of):
    """Install Membrane and let ada, boris and clara be enrolled."""
    folder = tmp_path / "installed"
    shutil.copytree(ROOT / "membrane", folder / "membrane")
    weights = folder / "membrane" / "_weights"
    weights.mkdir()
    for file in (ROOT / "weights").iterdir():
        if file.is_file():
            (weights / file.name).symlink_to(file)
    login = recording("ada", "login")
    options = ["-f", str(login), "--expect", words_of(login)]
    return Installation(folder, enrolled, ["verify", "-u", "ada", *options])


def weight(name: str, change: Callable[[bytes], bytes | None]) -> Any:
    """Change a shipped file; into nothing takes it away."""

    def harm(place):
        path = place.weights / name
        place.replace(path, change(path.read_bytes()))

    return harm


def library(name: str, source: str = "") -> Any:
    """Let a library be what the source says; by default it is missing."""
    missing = f"raise ModuleNotFoundError('No module named {name}', name='{name}')"
    return lambda place: (place.folder / f"{name}.py").write_text(f"{source or missing}\n")


def data(name: str, content: bytes) -> Any:
    """Let a file of the data folder be something else."""
    return lambda place: (place.home / name).write_bytes(content)


def folder(name: str) -> Any:
    """Put a folder in the place of a file of the data folder."""

    def harm(place):
        (place.home / name).unlink(missing_ok=True)
        (place.home / name / "occupied").mkdir(parents=True)

    return harm


def options(*more: str, **variables: str) -> Any:
    """Ask for something else, too."""

    def harm(place):
        place.arguments += more
        place.variables |= variables

    return harm


def full_disk(place):
    """Let no file grow."""
    place.limit = "ulimit -f 0"


def nobody_may_write(place):
    """Leave the data folder to be read only; root writes all the same."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    place.home.chmod(0o500)


def no_such_microphone(place):
    place.arguments = ["verify", "-u", "ada", "--device", "no such microphone"]


def gone(_content):
    return None


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """Change one bit in the middle, which leaves the size as it was."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def nonsense(_content):
    return b"nonsense"


CASES = {
    # What judges the voice, the words and the sound
    "encoder missing": (weight("resemblyzer.onnx", gone), 6, "resemblyzer.onnx is missing"),
    "encoder cut off": (weight("resemblyzer.onnx", cut), 6, "bytes instead of"),
    "encoder not the registered one": (weight("resemblyzer.onnx", flipped), 6, "sha256"),
    "voice activity missing": (weight("silero-vad.onnx", gone), 6, "silero-vad.onnx is missing"),
    "voice activity changed": (weight("silero-vad.onnx", flipped), 6, "sha256"),
    "list of models missing": (weight("registry.toml", gone), 6, "list of models"),
    "list of models damaged": (weight("registry.toml", cut), 6, "list of models"),
    "calibration missing": (weight("resemblyzer.calibration.toml", gone), 6, "calibration"),
    "calibration damaged": (weight("resemblyzer.calibration.toml", nonsense), 6, "calibration"),
    "strangers missing": (weight("resemblyzer.cohort.npz", gone), 6, "cohort"),
    "strangers damaged": (weight("resemblyzer.cohort.npz", cut), 6, "cohort"),
    "own calibration damaged": (data("calibration.toml", b"nonsense"), 2, "calibration"),
    "recognizer missing": (library("pocketsphinx"), 6, "pocketsphinx"),
    "recognizer not fetched": (options("--recognizer", "deepspeech"), 6, "weights fetch"),
    "recognizer dies": (
        library("pocketsphinx", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        -signal.SIGSEGV,
        "",
    ),
    "inference missing": (library("onnxruntime"), 6, "ONNX Runtime"),
    "microphone missing": (no_such_microphone, 6, "microphone"),
    # Who is enrolled
    "database damaged": (data(DATABASE, b"nonsense"), 5, "database"),
    "database empty": (data(DATABASE, b""), 5, "database"),
    "database not readable": (folder(DATABASE), 5, "database"),
    # What stands around a login
    "failures damaged": (data(f"{DATABASE}.logins.sqlite", b"nonsense"), 5, "record of logins"),
    "failures empty": (data(f"{DATABASE}.logins.sqlite", b""), 5, "record of logins"),
    "failures not readable": (folder(f"{DATABASE}.logins.sqlite"), 5, "record of logins"),
    "former failures damaged": (data(f"{DATABASE}.attempts", b"nonsense"), 5, "record of logins"),
    "former recordings not readable": (data(f"{DATABASE}.logins", b"nonsense"), 5, "logins"),
    "log not writable": (folder(f"{DATABASE}.log"), 5, "log"),
    "data folder not writable": (nobody_may_write, 5, "permissions"),
    "disk full": (full_disk, 5, "written"),
    # What was asked for
    "results not writable": (options("--results", "/"), 7, "folder"),
    "settings damaged": (data("settings.toml", b"nonsense"), 2, "settings"),
    "setting unknown": (options(MEMBRANE_SECURITY="none"), 2, "security"),
    "recording missing": (options("-f", "missing.wav"), 2, "one recording"),
}


def test_ada_is_let_in_where_nothing_is_missing(installation, environment):
    ended = installation.log_in(environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Accepted.")


@pytest.mark.parametrize(("harm", "code", "reason"), CASES.values(), ids=CASES.keys())
def test_check_that_cannot_run_lets_nobody_in(installation, environment, harm, code, reason):
    harm(installation)
    ended = installation.log_in(environment)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert reason in ended.stderr
    assert [line.startswith("Error: ") for line in ended.stderr.splitlines()] == [True] * (code > 0)


def test_log_that_another_process_holds_lets_nobody_in(enrolled, recording, monkeypatch, capsys):
    lock = filelock.FileLock

    def hurried(path, **options):
        return lock(path, **{**options, "timeout": 0.05})

    monkeypatch.setattr(filelock, "FileLock", hurried)
    with lock(enrolled / f"{DATABASE}.log.lock", thread_local=False):
        assert run(["verify", "-u", "ada", "-f", str(recording("ada", "login"))]) == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert "another process has held the decision log" in told.err


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_record_of_logins_that_another_process_holds_lets_nobody_in(
    enrolled, recording, monkeypatch, capsys
):
    assert SqliteLoginState(enrolled / DATABASE).secret  # makes the file
    monkeypatch.setitem(SqliteLoginState.__init__.__kwdefaults__, "lock_timeout_s", 0.05)
    command = [sys.executable, "-c", HOLDER, str(enrolled / f"{DATABASE}.logins.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert run(["verify", "-u", "ada", "-f", str(recording("ada", "login"))]) == 5
        holder.stdin.close()
    told = capsys.readouterr()
    assert told.out == ""
    assert "another process has held the record of logins" in told.err


def test_without_a_database_everybody_is_nobody(installation, environment):
    (installation.home / DATABASE).unlink()
    ended = installation.log_in(environment)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("Refused.")
