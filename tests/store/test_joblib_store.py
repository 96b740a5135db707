import errno
import json
import os
import pickle
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import filelock
import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.errors import (
    NameTaken,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreUnreadable,
    StoreUnwritable,
    UnknownName,
)
from membrane.store import database_file
from membrane.store.columns import Columns
from membrane.store.database_file import previous_of
from membrane.store.joblib_store import JoblibStore

ROOT = Path(__file__).resolve().parents[2]
WINDOWS = os.name == "nt"


def names(store):
    return list(store.gallery().names())


def look_at_everything(path):
    """Read all that a database holds, as any command might."""
    gallery = JoblibStore(path).gallery()
    for row, name in enumerate(gallery.names()):
        gallery.voiceprint(row)
        gallery.encoder_of(row)
        gallery.index_of(name)
    list(gallery.passphrases())
    gallery.index_of("anna")


@pytest.fixture
def filled(store, person):
    for number, name in enumerate(["Anna", "Zoë", "Max"]):
        store.add(person(name, number, utterances=2, passphrase="open up" if number else ""))
    return store


# What a store does


def test_a_store_that_does_not_exist_yet_is_empty_and_reading_makes_nothing(store):
    assert len(store.gallery()) == 0
    assert store.get("anna") is None
    assert not store.path.parent.exists()


def test_a_person_who_was_added_is_found_again_by_another_process(store, person):
    added = person("Anna", utterances=3, passphrase="open up")
    store.add(added)
    assert JoblibStore(store.path).get("ANNA").as_json() == added.as_json()


def test_a_name_is_taken_whatever_its_case(filled, person):
    with pytest.raises(NameTaken, match="anna is enrolled already"):
        filled.add(person("anna", 9))
    assert names(filled) == ["Anna", "Zoë", "Max"]


def test_replacing_puts_the_new_person_in_the_place_of_the_old(filled, person):
    new = person("ANNA", 9)
    filled.replace(new)
    assert filled.get("anna").as_json() == new.as_json()
    assert sorted(names(filled)) == ["ANNA", "Max", "Zoë"]


def test_an_update_changes_one_person_and_returns_the_new_record(filled, utterance):
    before = filled.get("max")
    after = filled.update("max", lambda voiceprint: voiceprint.with_utterance(utterance(9)))
    assert len(after.utterances) == len(before.utterances) + 1
    assert filled.get("max").as_json() == after.as_json()


def test_an_update_that_fails_changes_nothing(filled):
    before = filled.path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        filled.update("max", lambda voiceprint: 1 / 0)
    with pytest.raises(ValueError, match="became"):
        filled.update("max", lambda voiceprint: replace(voiceprint, name="Anna"))
    assert filled.path.read_bytes() == before


def test_a_deleted_person_is_gone_and_the_others_are_not(filled):
    filled.delete("zoë")
    assert filled.get("Zoë") is None
    assert names(filled) == ["Anna", "Max"]


def test_clearing_says_how_many_they_were(filled):
    assert filled.clear() == 3
    assert len(filled.gallery()) == 0
    assert filled.clear() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda store, person: store.delete("nobody"),
        lambda store, person: store.replace(person("nobody")),
        lambda store, person: store.update("nobody", lambda voiceprint: voiceprint),
    ],
    ids=["delete", "replace", "update"],
)
def test_somebody_who_is_not_enrolled_cannot_be_changed(filled, person, change):
    with pytest.raises(UnknownName, match="nobody"):
        change(filled, person)


def test_a_gallery_that_was_opened_before_a_change_stays_as_it_was(filled):
    gallery = filled.gallery()
    vectors = gallery.matrix.copy()
    filled.delete("anna")
    filled.clear()
    assert list(gallery.names()) == ["Anna", "Zoë", "Max"]
    np.testing.assert_array_equal(gallery.matrix, vectors)


def test_a_researcher_can_read_the_file_with_plain_joblib(filled):
    columns = joblib.load(filled.path, mmap_mode="r")
    np.testing.assert_array_equal(columns["vectors"], filled.gallery().matrix)
    assert isinstance(columns["vectors"], np.memmap)


# What it leaves on the disk


@pytest.mark.skipif(WINDOWS, reason="Windows has no mode bits")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_read_files_and_folder_whatever_the_umask(store, person, umask):
    before = os.umask(umask)
    try:
        store.add(person("Anna"))
        store.add(person("Max", 1))
        store.delete("anna")
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.skipif(WINDOWS, reason="Windows has no mode bits")
def test_nobody_else_may_put_another_folder_in_the_place_of_a_new_one(tmp_path, person):
    before = os.umask(0)
    try:
        JoblibStore(tmp_path / "share" / "membrane" / "people.joblib").add(person("Anna"))
    finally:
        os.umask(before)
    for folder in (tmp_path / "share", tmp_path / "share" / "membrane"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder.name


def test_the_previous_good_copy_is_kept_and_nothing_else_is_left(filled, person):
    before = filled.path.read_bytes()
    filled.add(person("Eve", 7))
    assert previous_of(filled.path).read_bytes() == before
    assert sorted(path.name for path in filled.path.parent.iterdir()) == [
        "voiceprints.joblib",
        "voiceprints.joblib.lock",
        "voiceprints.joblib.previous",
    ]


@pytest.mark.parametrize("erase", [lambda s: s.delete("zoë"), lambda s: s.clear()])
def test_an_erased_person_is_in_no_file_not_even_in_what_a_crash_left(filled, erase):
    erased = filled.get("zoë")
    traces = [erased.vector.tobytes(), *(u.vector.tobytes() for u in erased.utterances), b"Zo\xc3"]
    for leftover in (".new", ".kept"):
        Path(f"{filled.path}{leftover}").write_bytes(filled.path.read_bytes())
    erase(filled)
    for path in filled.path.parent.iterdir():
        assert not any(trace in path.read_bytes() for trace in traces), path.name
    assert previous_of(filled.path).read_bytes() == filled.path.read_bytes()
    assert not previous_of(filled.path).samefile(filled.path)


def test_without_links_the_previous_good_copy_is_a_copy(filled, person, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    before = filled.path.read_bytes()
    filled.add(person("Eve", 7))
    assert previous_of(filled.path).read_bytes() == before


@pytest.mark.skipif(WINDOWS, reason="links need a privilege")
def test_a_database_behind_a_link_is_written_where_it_is(filled, person, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(filled.path)
    JoblibStore(link).add(person("Eve", 7))
    assert link.is_symlink()
    assert filled.get("eve").name == "Eve"
    assert not (tmp_path / "link.previous").exists()


@pytest.mark.skipif(WINDOWS or os.geteuid() != 0, reason="only root writes other people's files")
def test_what_an_administrator_changes_stays_its_owners(filled):
    os.chown(filled.path, 12345, 12345)
    filled.delete("anna")
    assert filled.path.stat().st_uid == previous_of(filled.path).stat().st_uid == 12345


# What goes wrong


def test_a_database_that_somebody_holds_is_reported_as_locked(filled, person):
    hurried = JoblibStore(filled.path, lock_timeout_s=0.05)
    with (
        filelock.FileLock(f"{filled.path}.lock", thread_local=False),
        pytest.raises(StoreLocked, match=r"0\.05 s: try again"),
    ):
        hurried.add(person("Eve"))
    hurried.add(person("Eve"))


def test_a_database_can_be_read_while_somebody_holds_it(filled):
    with filelock.FileLock(f"{filled.path}.lock"):
        assert len(filled.gallery()) == 3


@pytest.mark.skipif(WINDOWS, reason="Windows has no such limit")
def test_a_disk_that_fills_up_leaves_everything_as_it_was(filled, person, monkeypatch):
    import resource

    before = {path: path.read_bytes() for path in filled.path.parent.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (filled.path.stat().st_size, limits[1]))
    try:
        with pytest.raises(StoreUnwritable, match="space on its disk"):
            filled.add(person("Eve", 7))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in filled.path.parent.iterdir()} == before


@pytest.mark.parametrize("failing", ["fsync", "open", "chmod"])
def test_a_failing_disk_is_one_line_and_the_file_stays(filled, person, failing, monkeypatch):
    def fails(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    before = filled.path.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(database_file.os, failing, fails)
        with pytest.raises(StoreUnwritable) as failure:
            filled.add(person("Eve", 7))
    assert len(str(failure.value).splitlines()) == 1
    assert filled.path.read_bytes() == before
    filled.add(person("Eve", 7))


def test_a_folder_that_cannot_be_made_is_reported_as_unwritable(tmp_path, person):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnwritable):
        JoblibStore(tmp_path / "file" / "voiceprints").add(person("Anna"))


@pytest.mark.skipif(WINDOWS or os.geteuid() == 0, reason="mode bits do not stop root")
def test_a_file_that_may_not_be_read_is_reported_as_unreadable(filled):
    filled.path.chmod(0)
    with pytest.raises(StoreUnreadable, match="permissions"):
        filled.gallery()


def test_what_is_not_a_file_is_reported_as_unreadable(tmp_path):
    with pytest.raises(StoreUnreadable, match="not a file"):
        JoblibStore(tmp_path).gallery()


def test_a_joblib_that_writes_what_we_cannot_read_loses_nothing(filled, person, monkeypatch):
    before = filled.path.read_bytes()
    monkeypatch.setattr(joblib, "dump", lambda value, file, protocol: file.write(b"later format"))
    with pytest.raises(StoreUnwritable, match="install joblib"):
        filled.add(person("Eve", 7))
    assert filled.path.read_bytes() == before


def test_a_truncated_file_is_damaged_at_every_length(filled):
    sound = filled.path.read_bytes()
    for length in range(0, len(sound), 10):
        filled.path.write_bytes(sound[:length])
        with pytest.raises(StoreDamaged):
            filled.gallery()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a database",
        b"PK\x03\x04 zip",
        b"\x80\x04N.",
        database_file.PICKLE_PROTOCOL.to_bytes() * 100,
    ],
    ids=ascii,
)
def test_a_foreign_file_is_damaged_and_never_overwritten(store, person, content):
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    for use in (
        store.gallery,
        store.clear,
        lambda: store.get("anna"),
        lambda: store.add(person("Anna")),
        lambda: store.delete("anna"),
    ):
        with pytest.raises(StoreDamaged, match="move it away to start anew") as damage:
            use()
        assert len(str(damage.value).splitlines()) == 1
    assert store.path.read_bytes() == content


def test_damage_names_the_previous_good_copy_and_that_copy_is_good(filled):
    filled.path.write_bytes(filled.path.read_bytes()[:-1])
    with pytest.raises(StoreDamaged) as damage:
        filled.gallery()
    assert f"the previous good copy is {previous_of(filled.path)}," in str(damage.value)
    previous_of(filled.path).replace(filled.path)
    assert names(filled) == ["Anna", "Zoë"]


def test_a_previous_copy_that_is_damaged_too_is_not_called_good(filled):
    filled.path.write_bytes(b"damaged")
    previous_of(filled.path).write_bytes(b"damaged")
    with pytest.raises(StoreDamaged, match="there is no good copy"):
        filled.gallery()


def test_a_hostile_file_runs_nothing(store, tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    objects = np.empty(1, object)
    objects[0] = Harm()
    store.path.parent.mkdir()
    for content in (Harm(), {**Columns.of([]).as_mapping(), "vectors": objects}):
        joblib.dump(content, store.path)
        with pytest.raises(StoreDamaged):
            store.gallery()
    assert not (tmp_path / "harm").exists()


def test_a_hostile_file_cannot_write_to_the_terminal_through_the_message(store):
    store.path.parent.mkdir()
    for shown in ("\x1b[2J\n", "x" * 10_000):
        module = pickle.BINUNICODE + len(shown).to_bytes(4, "little") + shown.encode()
        program = module + module + pickle.STACK_GLOBAL + pickle.STOP
        store.path.write_bytes(pickle.PROTO + b"\x04" + program)
        with pytest.raises(StoreDamaged, match="it asks for") as damage:
            store.gallery()
        message = str(damage.value).replace(str(store.path), "")
        assert message.isprintable()
        assert len(message) < 250


@pytest.mark.parametrize(
    "change",
    [
        {"format": "another"},
        {"version": "1"},
        {"encoders": [1]},
        {"encoders": "x"},
        {"vectors": np.zeros((3, 255), np.float32)},
        {"vectors": np.zeros((2, 256), np.float32)},
        {"vectors": [[0.0]]},
        {"encoder_codes": np.zeros(3, np.int64)},
        {"encoder_codes": np.full(3, 9, np.uint16)},
        {"first_utterances": np.array([0, 1, 2, 2])},
        {"first_utterances": np.array([0, 6, 2, 6])},
        {"first_utterances": np.array([0, -1, 2, 6])},
        {"first_utterances": np.zeros(0, np.int64)},
        {"names_starts": np.array([0, 9, 3, 12])},
        {"names_starts": np.array([0, 1, 1, 1])},
        {"names_characters": np.full(11, 0xFF, np.uint8)},
        {"facts_characters": None},
        {"facts_starts": np.array([0, 0, 0, 9]), "facts_characters": np.full(9, 0x5B, np.uint8)},
        {
            "facts_starts": np.array([0, 0, 0, 10**6]),
            "facts_characters": np.full(10**6, 0x5B, np.uint8),
        },
    ],
    ids=lambda change: ascii(change)[:60],
)
def test_columns_that_contradict_each_other_are_damage_when_they_are_used(filled, change):
    mapping = joblib.load(filled.path)
    joblib.dump({**mapping, **change}, filled.path, protocol=4)
    with pytest.raises(StoreDamaged):
        look_at_everything(filled.path)


def test_a_missing_column_is_damage(filled):
    mapping = joblib.load(filled.path)
    for missing in mapping:
        joblib.dump({k: v for k, v in mapping.items() if k != missing}, filled.path, protocol=4)
        with pytest.raises(StoreDamaged):
            filled.gallery()


def test_a_file_of_a_newer_membrane_asks_for_an_update_and_stays(filled, person):
    joblib.dump({**joblib.load(filled.path), "version": 3}, filled.path, protocol=4)
    before = filled.path.read_bytes()
    with pytest.raises(StoreDamaged, match="update Membrane"):
        filled.add(person("Eve"))
    assert filled.path.read_bytes() == before


def test_a_file_of_the_first_version_is_read_and_becomes_one_of_this_version(filled, person):
    of_now = ("epoch", "fingerprints_starts", "fingerprints_characters")
    columns = joblib.load(filled.path)
    before = {name: value for name, value in columns.items() if name not in of_now}
    joblib.dump({**before, "version": 1}, filled.path, protocol=4)
    names = list(filled.gallery().names())
    ids = [filled.get(name).id for name in names]
    assert len({*ids}) == len(names)
    assert all(ids)
    assert all(one.fingerprint == b"" for one in filled.get(names[0]).utterances)
    filled.add(person("Eve"))
    assert joblib.load(filled.path)["version"] == 2
    assert list(filled.gallery().names()) == [*names, "Eve"]


@pytest.fixture
def sound(filled):
    return filled.path.read_bytes()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    # The vectors come last; what goes before them is where a mutation matters.
    mutations=st.lists(
        st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=3), st.booleans()),
        min_size=1,
    )
)
def test_mutated_bytes_are_a_sound_database_or_a_store_error(store, sound, mutations):
    mutated = bytearray(sound)
    for position, value, inserted in mutations:
        mutated[position : position + (0 if inserted else len(value))] = value
    store.path.write_bytes(mutated)
    message = ""
    try:
        look_at_everything(store.path)
    except StoreError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


# Crashes and crowds


def started(writer, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(writer), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(WINDOWS, reason="forks")
def test_killing_the_writer_at_200_random_moments_loses_nobody(store, writer, person):
    process = started(writer, "killed", store.path, 200)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    outcome = json.loads(output)
    assert outcome["interrupted"] > 20, "the kills must find writers at work"
    assert outcome["acknowledged"] > 10, "and let some of them finish"
    assert outcome["found"] - outcome["acknowledged"] <= 200
    store.add(person("Survivor"))
    assert len(store.gallery()) == outcome["found"] + 1
    assert not Path(f"{store.path}.new").exists()


def test_eight_processes_enrolling_fifty_people_each_lose_nobody(store, writer):
    processes = [started(writer, "enrol", store.path, f"Process {n}", 50) for n in range(8)]
    seen = [0]
    while any(process.poll() is None for process in processes):
        gallery = store.gallery()
        seen.append(len(gallery))
        if len(gallery):
            gallery.voiceprint(len(gallery) - 1)
    acknowledged = [name for process in processes for name in process.communicate()[0].splitlines()]
    assert [process.returncode for process in processes] == [0] * 8
    assert len(acknowledged) == 400
    assert sorted(names(store)) == sorted(acknowledged)
    assert seen == sorted(seen)
    assert len(set(seen)) > 20, "the reader must have looked while they wrote"


def test_where_files_cannot_be_mapped_reading_waits_for_writing(filled, monkeypatch):
    monkeypatch.setattr(database_file, "MAPS_FILES", False)
    assert names(filled) == ["Anna", "Zoë", "Max"]
    hurried = JoblibStore(filled.path, lock_timeout_s=0.05)
    with (
        filelock.FileLock(f"{filled.path}.lock", thread_local=False),
        pytest.raises(StoreLocked),
    ):
        hurried.gallery()
