import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hostile_files import desk, judging, workers
from benchmarks.hostile_files.checksums import flac_mended, ogg_mended
from benchmarks.hostile_files.mutants import mutant
from benchmarks.hostile_files.rewriting import header_mended, logins_mended
from benchmarks.hostile_files.seeds import SHARES, seeds
from benchmarks.hostile_files.stored import ENDINGS, KEY, LOGINS, SEALED
from benchmarks.hostile_files.tally import Tally
from benchmarks.hostile_files.workers import DIED, Report, Workers
from membrane.errors import NoSuchFile, UndecodableAudio
from membrane.store.guarded_bytes import PLAIN

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def sound():
    return seeds()


@pytest.fixture
def judge(sound, tmp_path):
    """Judge files of seed 1 and return the reports, in the order of their numbers."""

    def run(numbers):
        found = list(Workers(sound, 1, count=1, folder=str(tmp_path)).judge(numbers))
        return sorted(found, key=lambda report: report.number)

    return run


def test_every_kind_has_sound_files_and_all_are_the_same_in_every_run(sound):
    assert all(sound[kind] for kind in SHARES)
    assert seeds() == sound


def test_sound_files_of_the_formats_that_are_read_are_judged_fine(sound, tmp_path, monkeypatch):
    monkeypatch.setenv(*next(iter(KEY.items())))
    for kind in ("WAV", "FLAC", "OGG", "OPUS", "MP3", "AIFF", "AU", *ENDINGS):
        for ending, content in sound[kind][0].beside.items():
            (tmp_path / f"file{ending}").write_bytes(content)
        path = tmp_path / f"file{ENDINGS.get(kind, '')}"
        path.write_bytes(sound[kind][0].content)
        assert judging.outcome_of(kind, path) == (judging.FINE, "")


def test_checksums_of_what_is_kept_are_made_right_again(sound):
    for kind, mend, before in ((LOGINS, logins_mended, PLAIN), (SEALED, header_mended, b"}\n")):
        valid = sound[kind][0].content
        broken = bytearray(valid)
        broken[valid.index(before) + len(before)] ^= 1
        mend(broken)
        assert bytes(broken) == valid


def test_two_numbers_decide_a_file(sound):
    files = [mutant(sound, 1, number) for number in range(100)]
    assert files == [mutant(sound, 1, number) for number in range(100)]
    assert len({file.content for file in files}) > 95
    assert mutant(sound, 2, 0) != files[0]
    valid = {one.content for kind in sound.values() for one in kind}
    assert sum(file.content in valid for file in files) < 5


@pytest.mark.parametrize("kind", ["OGG", "OPUS"])
def test_checksums_of_pages_are_made_right_again(sound, kind):
    for one in sound[kind]:
        broken = bytearray(one.content)
        broken[22] ^= 1
        ogg_mended(broken)
        assert bytes(broken) == one.content


def test_checksums_of_frames_are_made_right_again(sound):
    for one in sound["FLAC"]:
        broken = bytearray(one.content)
        for end in one.frames[1:]:
            broken[end - 1] ^= 1
        flac_mended(broken, one.frames)
        assert bytes(broken) == one.content


def test_damaged_files_are_judged_or_refused(judge):
    reports = judge(range(150))
    assert [report.number for report in reports] == list(range(150))
    assert [report for report in reports if report.problem] == []
    assert len({report.outcome for report in reports}) > 3


def segmentation_fault(path):
    faulthandler.disable()  # pytest's own would print where it was
    os.kill(os.getpid(), signal.SIGSEGV)


def endless_loop(path):
    while True:
        continue


def endless_wait(path):
    time.sleep(600)


def much_memory(path):
    np.ones(1 << 28)


def printing(path):
    os.write(2, b"libsomething: odd frame")


def file_left_open(path):
    os.open(path, os.O_RDONLY)


def file_left_behind(path):
    path.with_name("left").write_text("behind")


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
        (endless_wait, DIED, "no answer"),
        (much_memory, "MemoryError", "MemoryError"),
        (printing, judging.FINE, "printed 'libsomething: odd frame'"),
        (file_left_open, judging.FINE, "left a file open"),
        (file_left_behind, judging.FINE, "left files behind"),
        (defect, "ZeroDivisionError", "division"),
        (wrong_exit_code, "NoSuchFile", "exit code 2"),
        (two_lines, "UndecodableAudio", "not one line"),
    ],
)
def test_a_defect_is_found_and_the_next_file_is_judged(
    judge, monkeypatch, sound, planted, outcome, problem
):
    numbers = [n for n in range(40) if mutant(sound, 1, n).kind == "MP3"]
    hostile = mutant(sound, 1, numbers[0]).content
    hear = judging.hear
    monkeypatch.setattr(
        judging, "hear", lambda path: (planted if path.read_bytes() == hostile else hear)(path)
    )
    monkeypatch.setattr(desk, "CPU_S", 1.0)
    monkeypatch.setattr(workers, "WALL_S", 5.0)
    reports = judge(range(numbers[0], numbers[0] + 3))
    assert len(reports) == 3
    assert reports[0].outcome == outcome
    assert problem in reports[0].problem
    if planted is not file_left_behind:  # it is still there
        assert [report.problem for report in reports[1:]] == ["", ""]


def test_findings_are_counted_by_kind():
    tally = Tally()
    tally.add(Report(0, "WAV", judging.FINE, cpu_s=0.5))
    tally.add(Report(1, "WAV", "UndecodableAudio", grown_mb=7))
    tally.add(Report(2, "MP3", DIED, "killed by SIGSEGV"))
    lines = tally.table(seconds=1).splitlines()
    assert lines[0].split() == ["kind", "files", "fine", "UndecodableAudio", "died", "findings"]
    assert lines[1].split() == ["WAV", "2", "1", "1", "0", "0"]
    assert lines[3].split() == ["all", "3", "1", "1", "1", "1"]
    assert "0.50 s of processor, WAV 0" in lines[4]
    assert "7 MB, WAV 1" in lines[5]
    assert (tally.files, tally.findings) == (3, 1)


def test_the_command_keeps_the_file_and_says_how_to_make_it_again(
    monkeypatch, tmp_path, capsys, sound
):
    from benchmarks.hostile_files import __main__ as command

    number = next(n for n in range(40) if mutant(sound, 1, n).kind == "MP3")
    monkeypatch.setattr(judging, "hear", segmentation_fault)
    monkeypatch.setattr(workers, "WARMING_UP", ())
    keep = tmp_path / "kept"
    arguments = ["", "--first", str(number), "--files", "1", "--workers", "1", "--keep", str(keep)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert command.main() == 1
    assert f"--seed 1 --first {number} --files 1: MP3" in capsys.readouterr().err
    assert Path(keep / f"1-{number}.mp3").read_bytes() == mutant(sound, 1, number).content
