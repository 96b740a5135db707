import faulthandler
import os
import re
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import hostile_files
from benchmarks.hostile_files import (
    DIED,
    FINE,
    KEY,
    KINDS,
    TOML,
    Report,
    judged,
    maker,
    seeds,
    summary,
)
from membrane.errors import NoSuchFile, UndecodableAudio, UnusableRecording

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def mp3():
    """The number of a damaged MP3 file, and what it holds."""
    make = maker(1)
    number = next(number for number in range(100) if make(number).kind == "MP3")
    return number, make(number).content


def judge(numbers):
    return [report for batch in judged(1, numbers) for report in batch]


def test_every_kind_has_valid_files_and_all_are_the_same_in_every_run():
    assert seeds().keys() == KINDS.keys()
    assert all(seeds().values())
    assert seeds.__wrapped__() == seeds()


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_file_is_accepted_or_of_a_format_that_is_refused_unread(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setenv(*next(iter(KEY.items())))
    monkeypatch.setenv("MEMBRANE_HOME", str(tmp_path))
    valid, path = seeds()[kind][0], tmp_path / KINDS[kind].name
    for name, content in {**valid.beside, path.name: valid.content}.items():
        (tmp_path / name).write_bytes(content)
    try:
        KINDS[kind].read(path)
    except UnusableRecording as error:
        assert "give WAV, FLAC, OGG or MP3" in str(error)  # noqa: PT017 - only some are refused


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].form])
def test_a_file_that_is_taken_apart_and_put_together_is_the_same(kind):
    valid = seeds()[kind][0].content
    parse, build = KINDS[kind].form
    again = build(parse(valid), valid)
    assert parse(again) == parse(valid)
    assert KINDS[kind].form is TOML or again == valid  # there, lines may be broken elsewhere


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "OPUS", "sealed", "logins", "log", "log head"])
def test_a_checksum_is_made_right_again(kind):
    for valid in seeds()[kind]:
        broken = bytearray(valid.content)
        digest = re.search(rb'[0-9a-f]{64}(\n|"})', broken)
        place = digest.start() if digest else 22 if kind in {"OGG", "OPUS"} else -1
        broken[place] ^= 1
        KINDS[kind].mend(broken, valid.content)
        assert bytes(broken) == valid.content


def test_two_numbers_decide_a_file():
    first = [maker(1)(number) for number in range(100)]
    assert [maker(1)(number) for number in range(100)] == first
    assert maker(2)(0) != first[0]
    valid = {one.content for kind in seeds().values() for one in kind}
    assert len({file.content for file in first} - valid) > 90


def test_damaged_files_are_accepted_or_refused():
    reports = judge(range(300))
    assert [report.number for report in reports] == list(range(300))
    assert [report for report in reports if report.problem] == []
    assert len({report.outcome for report in reports}) > 5


def segmentation_fault(path):
    faulthandler.disable()  # pytest's own would print where it was
    os.kill(os.getpid(), signal.SIGSEGV)


def endless_loop(path):
    while True:
        continue


def printing(path):
    os.write(2, b"libsomething: odd frame")


def defect(path):
    raise ZeroDivisionError("division")


def wrong_exit_code(path):
    raise NoSuchFile("there is none")


def two_lines(path):
    raise UndecodableAudio("one\ntwo")


@pytest.mark.parametrize(
    ("planted", "outcome", "problem"),
    [
        (segmentation_fault, DIED, "killed by SIGSEGV"),
        (endless_loop, DIED, "took more than"),
        (lambda _: time.sleep(600), DIED, "no answer"),
        (lambda _: np.ones(1 << 28), "MemoryError", "MemoryError"),
        (printing, FINE, "printed 'libsomething: odd frame'"),
        (lambda path: os.open(path, os.O_RDONLY), FINE, "left a file open"),
        (lambda path: path.with_name("left").touch(), FINE, "left files behind: left"),
        (defect, "ZeroDivisionError", "division"),
        (wrong_exit_code, "NoSuchFile", "exit code 2"),
        (two_lines, "UndecodableAudio", "not one line"),
    ],
)
def test_a_defect_is_found_and_the_next_file_is_judged(monkeypatch, mp3, planted, outcome, problem):
    number, hostile = mp3
    read = KINDS["MP3"].read
    faulty = replace(
        KINDS["MP3"], read=lambda path: (planted if path.read_bytes() == hostile else read)(path)
    )
    monkeypatch.setitem(KINDS, "MP3", faulty)
    monkeypatch.setattr(hostile_files, "CPU_S", 1.0)
    monkeypatch.setattr(hostile_files, "WALL_S", 10.0)
    found, *others = judge(range(number, number + 3))
    assert (found.number, found.kind, found.outcome) == (number, "MP3", outcome)
    assert problem in found.problem
    assert [other.problem for other in others] == ["", ""]


def test_a_changed_model_that_is_accepted_is_found(monkeypatch):
    make = maker(1)
    number = next(number for number in range(3000) if make(number).kind == "model")
    monkeypatch.setitem(
        KINDS, "model", replace(KINDS["model"], read=lambda path: path.read_bytes())
    )
    assert "not what was written" in judge(range(number, number + 1))[0].problem


def test_findings_are_counted_by_kind():
    reports = [
        Report(0, "WAV", FINE, cpu_s=0.5),
        Report(1, "WAV", "UndecodableAudio", grown_mb=7),
        Report(2, "MP3", DIED, "killed by SIGSEGV"),
    ]
    lines = summary(reports, seconds=1).splitlines()
    assert lines[0].split() == ["kind", "files", "fine", "UndecodableAudio", "died", "findings"]
    assert lines[1].split() == ["WAV", "2", "1", "1", "0", "0"]
    assert lines[3].split() == ["all", "3", "1", "1", "1", "1"]
    assert "0.50 s of processor, WAV 0" in lines[4]
    assert "7 MB, WAV 1" in lines[5]


def test_the_command_keeps_the_file_and_says_how_to_make_it_again(
    monkeypatch, tmp_path, capsys, mp3
):
    number, hostile = mp3
    monkeypatch.setitem(KINDS, "MP3", replace(KINDS["MP3"], read=printing))
    keep = tmp_path / "kept"
    monkeypatch.setattr(
        sys, "argv", ["", "--first", str(number), "--files", "1", "--keep", str(keep)]
    )
    assert hostile_files.main() == 1
    assert f"--seed 1 --first {number} --files 1: MP3" in capsys.readouterr().err
    assert (keep / f"1-{number}.mp3").read_bytes() == hostile
