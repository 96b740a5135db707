import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.errors import StoreError, StoreUnreadable, StoreUnwritable
from membrane.store.log.check import older_name
from membrane.store.log.decision_log import DecisionLog
from membrane.store.log.lines import Head, Stamp, hash_of, line_of

ROOT = Path(__file__).resolve().parents[3]
WINDOWS = os.name == "nt"
KEYS = {"without a key": None, "with a key": b"k" * 32}
LONGEST_LIFE_LINES = 6
"""A kill finds the writer anywhere between the start of its first line and about its sixth."""

NOON = 1_795_262_400.0


@pytest.fixture(params=KEYS.values(), ids=KEYS)
def key(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "decisions.jsonl"


@pytest.fixture
def log(path, key):
    return DecisionLog(path, mac_key=key, clock=lambda: NOON)


def filled(path, key, lines=5, **options):
    log = DecisionLog(path, mac_key=key, clock=lambda: NOON, **options)
    for number in range(lines):
        log.append({"event": "verify", "who": "5f" * 16, "accepted": number % 2 == 0})
    return log


def files_of(log):
    """Return the files with lines, oldest first."""
    return [*sorted(log.path.parent.glob("*.jsonl.0*")), log.path]


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


# What is written


def test_a_line_holds_the_entry_its_number_and_its_time(log):
    log.append({"event": "verify", "accepted": False})
    log.append({"event": "verify", "accepted": True})
    first, second = log.entries()
    assert (first["number"], second["number"]) == (1, 2)
    assert (first["accepted"], second["accepted"]) == (False, True)
    assert first["time"] == "2026-11-21T12:00:00.000+00:00"
    assert second["previous"] == hash_of(log.path.read_bytes().splitlines()[0])


def test_each_line_is_json_in_ascii_whatever_is_in_it(log):
    log.append({"event": "enroll", "device": "Mikrofön\n\u2028{", "odd": "\ud800"})
    (line,) = log.path.read_bytes().splitlines()
    assert line.isascii()
    assert json.loads(line)["device"] == "Mikrofön\n\u2028{"
    assert log.verify().problems == ()


@pytest.mark.skipif(WINDOWS, reason="Windows has no such modes")
def test_only_the_owner_may_read_any_of_the_files(path, key):
    before = os.umask(0)
    try:
        filled(path, key, lines=20, most_bytes=2_000)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator gives files away")
def test_what_an_administrator_writes_first_belongs_to_whom_the_folder_does(log, path):
    path.parent.mkdir()
    os.chown(path.parent, 1234, 1235)
    log.append({"event": "verify"})
    made = list(path.parent.iterdir())
    assert len(made) == 3
    assert {(file.stat().st_uid, file.stat().st_gid) for file in made} == {(1234, 1235)}


def test_a_log_that_does_not_exist_is_sound_and_looking_at_it_makes_nothing(log):
    assert log.verify().lines == 0
    assert log.verify().problems == ()
    assert list(log.entries()) == []
    assert not log.path.parent.exists()


@pytest.mark.parametrize("field", ["number", "time", "previous", "by", "hash", "mac", "next"])
def test_an_entry_cannot_pass_for_what_the_log_says_itself(log, field):
    with pytest.raises(ValueError, match=field):
        log.append({field: "1"})
    assert not log.path.exists()


def test_what_json_cannot_say_is_refused_and_leaves_a_sound_log(log):
    log.append({"score": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.append({"score": float("nan")})
    assert (log.verify().lines, log.verify().problems) == (1, ())


def test_broken_lines_are_left_out_of_the_entries(path, key):
    log = filled(path, key)
    lines = lines_of(path)
    lines[1], lines[2] = b"{}\n", lines[2].replace(b"true", b"null")
    path.write_bytes(b"".join(lines))
    assert [entry["number"] for entry in log.entries()] == [1, 4, 5]


# What is noticed


def test_an_untouched_log_is_sound_however_often_it_was_put_aside(path, key):
    log = filled(path, key, lines=60, most_bytes=2_000, kept_files=4)
    found = log.verify()
    assert (found.problems, found.notes) == ((), ())
    assert len(files_of(log)) == 4
    numbers = [entry["number"] for entry in log.entries()]
    assert numbers == list(range(61 - len(numbers), 61))
    assert found.lines == len(numbers)


def changed(lines):
    lines[2] = lines[2].replace(b"true", b"false")


def removed(lines):
    del lines[2]


def cut_off(lines):
    del lines[3:]


def swapped(lines):
    lines[1], lines[2] = lines[2], lines[1]


def doubled(lines):
    lines.insert(3, lines[2])


def emptied(lines):
    lines.clear()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (changed, "decisions.jsonl line 3 was changed, or was never a line of this log"),
        (removed, "line 3 is missing before decisions.jsonl line 3"),
        (cut_off, "lines 4 to 5 are missing at the end of decisions.jsonl"),
        (swapped, "line 2 is missing before decisions.jsonl line 2"),
        (doubled, "decisions.jsonl line 4 has the number 3, which does not belong there"),
        (emptied, "lines 1 to 5 are missing at the end of decisions.jsonl"),
    ],
)
@pytest.mark.parametrize("went_on", [False, True], ids=["", "and the log went on"])
def test_the_first_problem_names_file_and_line(path, key, edit, told, went_on):
    log = filled(path, key)
    lines = lines_of(path)
    edit(lines)
    path.write_bytes(b"".join(lines))
    if went_on:
        log.append({"event": "verify"})
        told = told.replace("at the end of decisions.jsonl", "before decisions.jsonl")
    assert log.verify().problems[0].startswith(told)


def test_a_line_that_was_stamped_anew_does_not_fit_the_next(path):
    log = filled(path, None)
    lines = lines_of(path)
    fields = json.loads(lines[2])
    fields.pop("hash")
    lines[2] = Stamp().line({**fields, "accepted": False}) + b"\n"
    path.write_bytes(b"".join(lines))
    assert log.verify().problems == ("decisions.jsonl line 4 does not follow the line before it",)


def test_a_last_line_that_was_stamped_anew_is_not_the_one_of_the_head(path):
    log = filled(path, None)
    lines = lines_of(path)
    fields = json.loads(lines[4])
    fields.pop("hash")
    lines[4] = Stamp().line({**fields, "accepted": False}) + b"\n"
    path.write_bytes(b"".join(lines))
    (problem,) = log.verify().problems
    assert problem == "line 5 is not the one that decisions.jsonl.head names"


def test_whoever_lacks_the_key_cannot_write_lines_and_head_anew(path):
    log = filled(path, KEYS["with a key"])
    shutil.rmtree(path.parent)
    filled(path, None)
    assert "decisions.jsonl.head was changed, or is of another key" in log.verify().problems[0]
    log.append({"event": "verify"})
    assert "its head was missing or changed" in " ".join(log.verify().problems)


@pytest.mark.parametrize("which", [0, 1, 2, -1], ids=["oldest", "second", "third", "newest"])
def test_a_missing_file_is_named(path, key, which):
    log = filled(path, key, lines=30, most_bytes=2_000)
    gone = files_of(log)[which]
    gone.unlink()
    assert log.verify().problems[0] == f"{gone.name} is missing"
    log.append({"event": "verify"})
    assert log.verify().problems


def test_a_file_of_another_name_does_not_pass_for_one_of_the_log(path, key):
    log = filled(path, key, lines=30, most_bytes=2_000)
    shutil.copy(path, path.with_name("decisions.jsonl.0000000031"))
    (problem,) = log.verify().problems
    assert problem == "decisions.jsonl.0000000031 is not a file of this log"


def test_a_line_that_was_moved_from_one_file_to_the_next_is_told(path, key):
    log = filled(path, key, lines=30, most_bytes=2_000)
    oldest, second, *_ = files_of(log)
    *lines, last = lines_of(oldest)
    oldest.write_bytes(b"".join(lines))
    second.write_bytes(last + second.read_bytes())
    (problem,) = log.verify().problems
    assert problem.startswith(f"{second.name} line 1 is not line ")


def test_a_line_end_that_was_cut_off_costs_no_later_line(path, key):
    log = filled(path, key)
    path.write_bytes(path.read_bytes()[:-1])
    assert log.verify().problems == ("line 5 is missing at the end of decisions.jsonl",)
    log.append({"event": "verify"})
    assert [entry["number"] for entry in log.entries()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("went_on", [False, True])
def test_a_head_that_is_gone_is_told_and_told_for_ever(path, key, went_on):
    log = filled(path, key)
    path.with_name("decisions.jsonl.head").unlink()
    path.write_bytes(b"".join(lines_of(path)[:3]))
    if went_on:
        log.append({"event": "verify"})
    (problem,) = log.verify().problems
    assert "head" in problem
    assert "missing" in problem
    assert len(list(log.entries())) == (5 if went_on else 3)


def test_many_problems_are_counted_not_listed(path, key):
    log = filled(path, key, lines=40)
    path.write_bytes(b"\n" * 40)
    problems = log.verify().problems
    assert len(problems) == 21
    assert problems[-1] == "21 more problems follow"


TEMPLATES = {}


def template(key):
    """Return a folder with a log of some lines in two files; made once, copied often."""
    if key not in TEMPLATES:
        folder = TemporaryDirectory()
        filled(Path(folder.name) / "decisions.jsonl", key, lines=9, most_bytes=2_000)
        TEMPLATES[key] = folder
    return Path(TEMPLATES[key].name)


def an_edit(draw, content):
    """Return what somebody may have made of a file."""
    lines = content.splitlines(keepends=True)
    places = st.integers(0, len(lines) - 1)
    what = draw(st.sampled_from(["bytes", "remove", "swap", "double", "insert", "cut", "move"]))
    if what == "bytes":
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 20)))
        return content[:start] + draw(st.binary(max_size=20)) + content[stop:]
    if what == "cut":
        return content[: draw(st.integers(0, len(content)))]
    first, second = draw(places), draw(places)
    if what == "remove":
        del lines[first]
    elif what == "swap":
        lines[first], lines[second] = lines[second], lines[first]
    elif what == "double":
        lines.insert(second, lines[first])
    elif what == "insert":
        lines.insert(first, draw(st.binary(max_size=40)) + b"\n")
    else:
        lines.insert(second, lines.pop(first))
    return b"".join(lines)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_edit_is_found(key, data):
    with TemporaryDirectory() as folder, patch("os.fsync"):
        home = shutil.copytree(template(key), folder, dirs_exist_ok=True)
        log = DecisionLog(Path(home) / "decisions.jsonl", mac_key=key)
        edited = data.draw(st.sampled_from([*files_of(log), log.head_path]))
        before = edited.read_bytes()
        after = data.draw(st.composite(an_edit)(before))
        edited.write_bytes(after)
        found = log.verify()
        assert bool(found.problems or found.notes) == (before != after)
        log.append({"event": "verify"})
        found = log.verify()
        # A line end that was cut off is put back: nothing is missing then.
        made_good = edited == log.path and edited.read_bytes().startswith(before)
        assert made_good or bool(found.problems or found.notes) == (before != after)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300), head=st.binary(max_size=100))
def test_no_content_of_the_files_ends_in_a_traceback(content, head):
    with TemporaryDirectory() as folder, patch("os.fsync"):
        path = Path(folder) / "decisions.jsonl"
        path.write_bytes(content)
        path.with_name("decisions.jsonl.head").write_bytes(head)
        log = DecisionLog(path)
        assert log.verify().problems
        list(log.entries())
        log.append({"event": "verify"})
        assert next(reversed(list(log.entries())))["event"] == "verify"


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_line_nested_too_deep_is_no_line(path, key):
    log = filled(path, key, lines=1)
    path.write_bytes(b"[" * 100_000 + b"\n")
    assert "line 1 was changed" in log.verify().problems[0]


# Another key


def test_a_log_that_was_handed_over_is_sound_under_the_new_key_and_only_there(path):
    log = filled(path, None)
    log.hand_over(b"new" * 11, {"event": "protect"})
    log.append({"event": "verify"})
    assert log.verify().problems == ()
    assert DecisionLog(path, mac_key=b"new" * 11).verify().problems == ()
    assert DecisionLog(path, mac_key=b"old" * 11).verify().problems
    assert DecisionLog(path).verify().problems
    assert [entry["number"] for entry in log.entries()] == list(range(1, 9))


def test_a_log_may_go_from_key_to_key_and_back_to_none(path):
    log = filled(path, b"first" * 7)
    log.hand_over(b"second" * 6, {"event": "protect"})
    log.append({"event": "verify"})
    log.hand_over(None, {"event": "unprotect"})
    log.append({"event": "verify"})
    assert DecisionLog(path).verify().problems == ()


@pytest.mark.parametrize(("before", "after"), [(None, b"k" * 32), (b"k" * 32, None)])
def test_a_change_of_key_that_nothing_announces_is_told(path, before, after):
    filled(path, before)
    log = DecisionLog(path, mac_key=after)
    log.append({"event": "verify"})
    assert log.verify().problems


def test_what_was_wrong_before_a_change_of_key_is_not_forgotten(path):
    log = filled(path, b"old" * 11)
    lines = lines_of(path)
    forged = json.loads(lines[4])
    forged.pop("mac")
    lines[4] = Stamp(b"guessed" * 5).line({**forged, "accepted": False}) + b"\n"
    path.write_bytes(b"".join(lines))
    log.hand_over(b"new" * 11, {"event": "protect"})
    assert "line 5 is not the one that decisions.jsonl.head names" in " ".join(
        DecisionLog(path, mac_key=b"new" * 11).verify().problems
    )


def test_a_line_without_mac_behind_the_head_does_not_pass_for_one_of_a_crash(path):
    log = filled(path, KEYS["with a key"])
    last = lines_of(path)[-1].rstrip(b"\n")
    forged = {"number": 6, "time": "now", "accepted": True, "previous": hash_of(last)}
    with path.open("ab") as file:
        file.write(Stamp().line(forged) + b"\n")
    assert "nothing announces it" in log.verify().problems[0]
    log.append({"event": "verify"})
    assert log.verify().problems


def test_a_first_line_without_mac_does_not_pass_for_one_of_a_crash(path):
    key = KEYS["with a key"]
    log = DecisionLog(path, mac_key=key)
    path.parent.mkdir()
    log.head_path.write_bytes(Head().written(Stamp(key)))
    forged = {"number": 1, "time": "now", "accepted": True, "previous": Head().last_hash}
    path.write_bytes(Stamp().line(forged) + b"\n")
    assert log.verify().problems == ("decisions.jsonl ends with a line that is stamped by sha256",)


# Crashes


def test_a_head_that_is_one_line_behind_is_nobodys_doing(path, key):
    log = filled(path, key)
    head = log.head_path
    behind = head.read_bytes()
    log.append({"event": "verify"})
    head.write_bytes(behind)
    assert (log.verify().problems, log.verify().notes) == ((), ())
    log.append({"event": "verify"})
    assert (log.verify().lines, log.verify().problems) == (7, ())


def test_a_head_that_is_two_lines_behind_is_somebodys(path, key):
    log = filled(path, key)
    behind = log.head_path.read_bytes()
    log.append({"event": "verify"})
    log.append({"event": "verify"})
    log.head_path.write_bytes(behind)
    assert log.verify().problems == ("line 7 is not known to decisions.jsonl.head",)


def test_an_unfinished_line_is_told_and_then_removed_and_told_in_the_log(path, key):
    log = filled(path, key)
    with path.open("ab") as file:
        file.write(b'{"number":6,"ti')
    found = log.verify()
    assert found.problems == ()
    assert found.notes == ("decisions.jsonl ends in an unfinished line, as a crash leaves it",)
    log.append({"event": "verify"})
    found = log.verify()
    assert (found.lines, found.problems) == (7, ())
    assert found.notes == (
        "before decisions.jsonl line 6 an unfinished line of a crash was removed",
    )


def test_a_crash_while_a_file_is_put_aside_leaves_a_sound_log(path, key):
    log = filled(path, key, lines=5)
    path.replace(path.with_name(older_name(path.name, 1)))
    assert log.verify().problems == ()
    log.append({"event": "verify"})
    assert [entry["number"] for entry in log.entries()] == [1, 2, 3, 4, 5, 6]
    assert log.verify().problems == ()


def test_a_crash_before_the_oldest_file_is_dropped_leaves_a_sound_log(path, key):
    log = filled(path, key, lines=30, most_bytes=2_000, kept_files=2)
    dropped = path.with_name(older_name(path.name, 1))
    dropped.write_bytes(b"any")
    assert log.verify().problems == ()
    for _ in range(10):
        log.append({"event": "verify"})
    assert not dropped.exists()
    assert log.verify().problems == ()


WRITER = """
import itertools, os, sys
from pathlib import Path
from membrane.store.log.decision_log import DecisionLog
path, writer, count, key = sys.argv[1:]
log = DecisionLog(Path(path), mac_key=key.encode() or None, most_bytes=20_000)
numbers = range(int(count)) if int(count) else itertools.count()
for number in numbers:
    log.append({"event": "verify", "writer": writer, "count": number})
    os.write(1, f"{writer} {number}\\n".encode())
"""


def writer(path, name, count, key):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count), (key or b"").decode()],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_several_processes_append_and_nothing_is_lost(path, key):
    writers = [writer(path, f"writer {number}", 40, key) for number in range(3)]
    for one in writers:
        one.communicate(timeout=60)
        assert one.returncode == 0
    log = DecisionLog(path, mac_key=key)
    assert (log.verify().lines, log.verify().problems) == (120, ())
    written = {(entry["writer"], entry["count"]) for entry in log.entries()}
    assert written == {(f"writer {one}", count) for one in range(3) for count in range(40)}


def acknowledged_by_a_killed_child(log, life_s):
    """Return what a process said that it had logged before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        for number in range(10**6):
            log.append({"event": "verify", "child": os.getpid(), "count": number})
            os.write(writing, b".")
    os.close(writing)
    time.sleep(life_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as counted:
        return child, len(counted.read())


@pytest.mark.skipif(WINDOWS, reason="Windows has no kill -9")
def test_fifty_kills_look_like_no_tampering_and_lose_nothing_that_was_acknowledged(path, key):
    log = DecisionLog(path, mac_key=key, most_bytes=3_000, kept_files=1_000)
    log.append({"event": "first"})
    start = time.perf_counter()
    log.append({"event": "second"})
    longest_life_s = LONGEST_LIFE_LINES * (time.perf_counter() - start)
    chance = random.Random(7)
    acknowledged = {}
    for _ in range(50):
        child, count = acknowledged_by_a_killed_child(log, chance.uniform(0, longest_life_s))
        acknowledged[child] = count
        assert log.verify().problems == ()
    log.append({"event": "last"})
    assert log.verify().problems == ()
    for child, count in acknowledged.items():
        found = [entry["count"] for entry in log.entries() if entry.get("child") == child]
        assert len(found) >= count


# What cannot be written


@pytest.mark.skipif(WINDOWS, reason="Windows needs a right of its own for links")
@pytest.mark.parametrize("name", ["decisions.jsonl", "decisions.jsonl.head"])
@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_in_its_place_is_refused(log, name, dangling, tmp_path):
    log.path.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    if not dangling:
        elsewhere.write_bytes(b"theirs")
    (log.path.parent / name).symlink_to(elsewhere)
    with pytest.raises(StoreUnwritable, match="it is a link"):
        log.append({"event": "verify"})
    assert elsewhere.exists() != dangling
    assert dangling or elsewhere.read_bytes() == b"theirs"


@pytest.mark.skipif(WINDOWS, reason="Windows has no such pipes")
def test_a_pipe_in_its_place_is_refused_and_not_waited_for(log):
    log.path.parent.mkdir()
    os.mkfifo(log.path)
    with pytest.raises(StoreUnwritable) as caught:
        log.append({"event": "verify"})
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(StoreError):
        log.verify()


def test_a_folder_in_its_place_is_refused(log):
    log.path.mkdir(parents=True)
    with pytest.raises(StoreUnwritable, match="cannot be written"):
        log.append({"event": "verify"})


def test_a_full_disk_is_one_line_and_leaves_a_sound_log(path, key, monkeypatch):
    log = filled(path, key)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnwritable, match="No space left on device") as caught:
        log.append({"event": "verify"})
    monkeypatch.undo()
    assert caught.value.exit_code == 5
    assert log.verify().problems == ()
    log.append({"event": "verify"})
    assert log.verify().problems == ()


# Lines


@given(fields=st.dictionaries(st.text(max_size=5), st.integers() | st.floats() | st.text()))
@settings(max_examples=50, deadline=None)
def test_any_line_that_can_be_written_is_read_as_it_was(fields):
    stamp = Stamp(b"k")
    own = {"number": 1, "previous": "00"}
    content = {**fields, **own}
    for name in ("by", "hash", "mac"):
        content.pop(name, None)
    try:
        raw = stamp.line(content)
    except ValueError:
        return
    read = line_of(raw)
    assert stamp.is_genuine(read)
    assert {name: read[name] for name in content} == content
    assert not Stamp(b"k").is_genuine({**read, "number": 2})


def test_a_head_is_not_taken_for_a_line_nor_a_line_for_a_head():
    stamp = Stamp(b"k")
    assert line_of(Head().written(stamp)) is None
    assert Head.read(stamp.line({"number": 1, "previous": "00"}), stamp) is None


def test_a_log_that_no_membrane_wrote_is_not_read_whole(log, path):
    log.append({"event": "verify"})
    with path.open("r+b") as file:
        file.truncate(10_000_000_000)  # sparse
    with pytest.raises(StoreUnreadable, match="too large"):
        log.verify()
    with pytest.raises(StoreUnwritable, match="too large"):
        log.append({"event": "verify"})
