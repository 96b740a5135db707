"""Hostile files through the commands: refused in one line, never a crash, a hang or a login."""

import io
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.__main__ import run
from membrane.audio import files
from membrane.audio.files import read_utterance
from membrane.audio.preparation import prepare
from membrane.audio.quality import require
from membrane.errors import StoreError, UnusableRecording
from membrane.store.joblib_store import JoblibStore
from tests.conftest import MEMBRANE

RATE = 16_000
CONTAINERS = [
    *[("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "MS_ADPCM"), ("WAVEX", "PCM_24")],
    *[("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
    *[("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16")],
]
EXTREMES = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**64 - 1,
]

COMMANDS = {
    "verify": ["verify", "-u", "ada", "-f", "FILE"],
    "identify": ["identify", "-f", "FILE"],
    "enroll": ["enroll", "-u", "eve", "--consent", "-f", "FILE"],
    "add": ["enroll", "-u", "ada", "--add", "-f", "FILE"],
    "compare": ["compare", "FILE", "FILE"],
    "explain": ["explain", "ada", "FILE"],
    "transcribe": ["transcribe", "FILE"],
}


def encoded(samples, rate=RATE, container="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def wav(content=bytes(64_000), *, rate=RATE, channels=1, bits=16, kind=1, claimed=None):
    """Return a WAV file whose header says what it is told to say."""
    claimed = len(content) if claimed is None else claimed
    width = channels * bits // 8
    format_chunk = struct.pack(
        "<IHHIIHH", 16, kind, channels, rate, rate * width % 2**32, width % 2**16, bits
    )
    size = struct.pack("<I", (claimed + 36) % 2**32)
    return (
        b"RIFF" + size + b"WAVEfmt " + format_chunk + b"data" + struct.pack("<I", claimed) + content
    )


@pytest.fixture
def refused(enrolled, capsys):
    """Run a command that must end with this code, in one line on standard error."""

    def told(code, *arguments):
        assert run([str(argument) for argument in arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith("Error: ")
        assert line.isprintable()
        return line

    return told


# ---- Absurd recordings, through every command that takes one


def floats(number):
    voice = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    voice[RATE] = number
    return encoded(voice, subtype="FLOAT")


def bomb():
    """Return a small FLAC file that holds two hours of silence."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(120):
            sound.write(np.zeros(60 * 8000, np.int16))
    return file.getvalue()


ABSURD = {
    "0 bytes": lambda: b"",
    "text": lambda: b"This is a text.\n" * 1000,
    "a script": lambda: b"#!/bin/sh\nexit 0\n",
    "0 Hz": lambda: wav(rate=0),
    "4 GHz": lambda: wav(rate=2**32 - 1),
    "0 channels": lambda: wav(channels=0),
    "65,535 channels": lambda: wav(channels=65_535),
    "0 bits": lambda: wav(bits=0),
    "4 GB of silence that are not there": lambda: wav(claimed=2**32 - 1),
    "-1 bytes of a header": lambda: wav().replace(b"fmt \x10\0\0\0", b"fmt \xff\xff\xff\xff"),
    "NaN": lambda: floats(np.nan),
    "infinity": lambda: floats(np.inf),
    "8 bits of silence": lambda: wav(bytes([128]) * 64_000, bits=8),
    "5.1 channels of silence": lambda: encoded(np.zeros((2 * RATE, 6))),
    "two hours of silence": bomb,
    "a sample dump": lambda: encoded(np.zeros(RATE), container="SDS"),
    "a database": lambda: b"\x80\x04}\x94.",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_absurd_recording_in_one_line(refused, tmp_path, command):
    path = tmp_path / "absurd.wav"
    for content in (ABSURD["65,535 channels"], ABSURD["NaN"], ABSURD["text"], ABSURD["0 bytes"]):
        path.write_bytes(content())
        arguments = [path if part == "FILE" else part for part in COMMANDS[command]]
        assert "absurd.wav" in refused(3, *arguments)


@pytest.mark.parametrize("absurd", ABSURD)
def test_an_absurd_recording_lets_nobody_in(refused, tmp_path, absurd):
    path = tmp_path / "absurd.wav"
    path.write_bytes(ABSURD[absurd]())
    assert path.stat().st_size < 400_000
    refused(3, "verify", "-u", "ada", "-f", path)


@pytest.mark.parametrize("kind", ["8 bits", "5.1", "float", "64-bit float", "a-law"])
def test_odd_but_honest_recordings_are_judged(enrolled, recording, answer, tmp_path, kind):
    samples = read_utterance(recording("ada", "login")).samples
    path = tmp_path / "odd.wav"
    if kind == "5.1":
        samples = np.repeat(samples[:, np.newaxis], 6, axis=1)
    subtypes = {"8 bits": "PCM_U8", "float": "FLOAT", "64-bit float": "DOUBLE", "a-law": "ALAW"}
    soundfile.write(path, samples, RATE, subtype=subtypes.get(kind, "PCM_16"))
    assert answer("identify", "-f", path)[0] == 0


# ---- What is no ordinary file


def test_what_is_no_file_is_refused_in_one_line(refused, tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "gone.wav").symlink_to("nowhere")
    for name in ("folder.wav", "loop.wav", "gone.wav", "missing.wav", "folder.wav/.."):
        refused(2, "verify", "-u", "ada", "-f", tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused_in_one_line(refused, tmp_path):
    path = tmp_path / "mine.wav"
    path.write_bytes(wav())
    path.chmod(0)
    assert "Permission denied" in refused(2, "verify", "-u", "ada", "-f", path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_device_without_end_is_refused(refused, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 8 << 20)
    assert "more than 8 MB" in refused(3, "verify", "-u", "ada", "-f", "/dev/zero")


def test_a_named_pipe_without_end_is_refused(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 8 << 20)
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", 'exec cat /dev/zero >"$1" 2>&-', "sh", str(pipe)]):
        assert "more than 8 MB" in refused(3, "verify", "-u", "ada", "-f", pipe)


def test_a_named_pipe_that_nobody_writes_into_can_be_left(environment, tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    verify = [*MEMBRANE, "verify", "-u", "ada", "-f", str(pipe)]
    with subprocess.Popen(verify, env=environment, stderr=subprocess.PIPE) as waiting:
        time.sleep(1.0)
        waiting.terminate()
        assert waiting.wait(timeout=20) not in {0, 1}


def test_standard_input_without_end_is_refused(enrolled, environment):
    # 256 MB go through, and not more.
    script = 'cat /dev/zero | exec "$@"'
    ended = subprocess.run(
        ["sh", "-c", script, "sh", *MEMBRANE, "verify", "-u", "ada", "-f", "-"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.splitlines() == [
        "Error: standard input holds more than 256 MB: at most 300 s of speech are read"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_no_absurd_file_needs_much_memory(environment, tmp_path):
    code = (
        "import resource, sys\n"
        "from membrane.audio.files import read_utterance\n"
        "from membrane.errors import UnusableRecording\n"
        "read_utterance(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[2:]:\n"
        "    try:\n"
        "        read_utterance(path)\n"
        "    except UnusableRecording:\n"
        "        pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    paths = []
    for number, content in enumerate([lambda: floats(0), *ABSURD.values()]):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(content())
    shown = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(shown.stdout) < 64 * 1024


# ---- Databases


def test_every_command_refuses_a_damaged_database_in_one_line(refused, enrolled, recording):
    database = enrolled / "voiceprints.joblib"
    sound = database.read_bytes()
    login = recording("ada", "login")
    for damaged in (
        sound[:-1],
        sound[: len(sound) // 2],
        b"",
        b"\x80\x04cos\nsystem\n.",
        bytes(99),
    ):
        for command in (
            ["list"],
            ["list", "--json"],
            ["export", "ada"],
            ["delete", "ada", "--yes"],
            ["clear", "--yes"],
            ["verify", "-u", "ada", "-f", login],
            ["verify", "--anyone", "-f", login],
            ["identify", "-f", login],
            ["enroll", "-u", "eve", "--consent", "-f", login],
        ):
            database.write_bytes(damaged)
            refused(5, *command)
            assert database.read_bytes() == damaged


# ---- What is kept beside the database

PUT_IN_PLACE = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a loop of links": lambda path: path.symlink_to(path.name),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(2).bytes(3000)),
    "nothing": lambda path: path.touch(),
    "a hole of 8 GB": lambda path: (path.touch(), os.truncate(path, 8 << 30)),
}


# The decision log goes on after damage, and shows it.
GOES_ON = [(".log", "garbage"), (".log", "nothing")]


@pytest.mark.parametrize(
    ("ending", "what"),
    [
        *((".logins.sqlite", what) for what in PUT_IN_PLACE),
        *((".log", what) for what in PUT_IN_PLACE if what != "a hole of 8 GB"),
    ],
)
def test_a_login_that_cannot_be_counted_or_recorded_is_refused(
    refused, enrolled, recording, answer, capsys, ending, what
):
    assert answer("verify", "-u", "ada", "-f", recording("ada", "login", 0))[0] == 0
    beside = enrolled / f"voiceprints.joblib{ending}"
    assert beside.exists()
    shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
    PUT_IN_PLACE[what](beside)
    verify = ["verify", "-u", "ada", "-f", str(recording("ada", "login", 1))]
    if (ending, what) in GOES_ON:
        assert run(verify) == 0
        assert run(["log", "verify"]) == 5
    else:
        refused(5, *verify)


# ---- Any damage


def mutated(content, operations):
    made = bytearray(content)
    for kind, place, number, width in operations:
        start = place % max(1, len(made))
        if kind == "extreme":
            made[start : start + width] = (number & (2 ** (8 * width) - 1)).to_bytes(
                width, "little"
            )
        elif kind == "flip":
            made[start : start + 1] = bytes(
                byte ^ (1 << width % 8) for byte in made[start : start + 1]
            )
        elif kind == "cut":
            del made[start : start + number % 5000]
        elif kind == "double":
            made[start:start] = made[start : start + number % 5000]
        else:
            made[start : start + number % 300] = bytes([width]) * (number % 300)
    return bytes(made)


operations = st.lists(
    st.tuples(
        st.sampled_from(["extreme", "extreme", "flip", "cut", "double", "run"]),
        st.one_of(st.integers(0, 120), st.integers(0, 100_000)),
        st.one_of(st.sampled_from(EXTREMES), st.integers(0, 2**32)),
        st.sampled_from([1, 2, 4, 8]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def sounds(utterance_of):
    samples = utterance_of("ada", "login").samples[: 2 * RATE]
    return {kind: encoded(samples, RATE, *kind) for kind in CONTAINERS}


@given(kind=st.sampled_from(CONTAINERS), operations=operations)
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_recording_is_judged_or_refused(sounds, tmp_path, capfd, kind, operations):
    path = tmp_path / "damaged"
    path.write_bytes(mutated(sounds[kind], operations))
    message = "x"
    try:
        prepared = prepare(read_utterance(path))
        assert np.abs(prepared.sound.samples).max() <= 1
        require(prepared.quality, source=str(path))
    except UnusableRecording as error:
        message = str(error)
    assert message.isprintable()
    assert list(tmp_path.glob("*")) == [path]
    assert capfd.readouterr() == ("", "")


@given(operations=operations)
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_database_is_sound_or_refused_as_a_whole_row(
    three_enrolled, tmp_path, operations
):
    path = tmp_path / "damaged.joblib"
    path.write_bytes(mutated(three_enrolled.read_bytes(), operations))
    message = "x"
    try:
        gallery = JoblibStore(path).gallery()
        for row in range(len(gallery)):
            person = gallery.voiceprint(row)
            assert abs(float(np.linalg.norm(person.vector)) - 1) < 2e-3
            person.as_json()
        list(gallery.summaries())
    except StoreError as error:
        message = str(error)
    assert message.isprintable()
    assert list(tmp_path.glob("damaged*")) == [path]
