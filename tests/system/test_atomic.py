import os

import pytest

from membrane.system.atomic import write_whole


def test_a_file_holds_its_parts_one_after_the_other(tmp_path):
    write_whole(tmp_path / "new", b"one ", b"two")
    assert (tmp_path / "new").read_bytes() == b"one two"
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


@pytest.mark.parametrize(
    ("step", "problem"), [("fsync", OSError(28, "no space")), ("replace", KeyboardInterrupt())]
)
def test_what_fails_leaves_the_file_before_and_nothing_else(tmp_path, monkeypatch, step, problem):
    path = tmp_path / "kept"
    path.write_bytes(b"before")

    def failing(*_):
        raise problem

    monkeypatch.setattr(*((os, step) if step == "fsync" else (type(path), step)), failing)
    with pytest.raises(type(problem)):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", b"")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_has_the_permissions_that_were_asked_for_whoever_had_it_before(tmp_path):
    path = tmp_path / "own"
    path.touch(0o644)
    write_whole(path, b"secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
