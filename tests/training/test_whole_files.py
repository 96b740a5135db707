import os

import pytest

from membrane.errors import OutputUnwritable
from membrane.training.whole_files import write_whole


def test_a_file_holds_its_parts_one_after_the_other(tmp_path):
    write_whole(tmp_path / "new", b"one ", b"two")
    assert (tmp_path / "new").read_bytes() == b"one two"
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_a_full_disk_leaves_the_file_before_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    path.write_bytes(b"before")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputUnwritable, match="No space left on device"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_an_output_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        write_whole(tmp_path / "missing" / "file", b"")
