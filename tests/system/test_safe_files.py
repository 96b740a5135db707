import os
import stat

import pytest

from membrane.errors import StoreLocked, StoreUnwritable
from membrane.system.atomic import created, replacing
from membrane.system.safe_files import locked

ADMINISTRATOR = os.geteuid() == 0


def test_one_process_at_a_time_has_a_lock(tmp_path):
    with locked(tmp_path / "file", 1):
        held = pytest.raises(StoreLocked, match=r"the voiceprint database .*file for 0\.01 s")
        with held, locked(tmp_path / "file", 0.01):
            pytest.fail("two have the lock")
        with locked(tmp_path / "other", 0.01):
            pass
    with locked(tmp_path / "file", 0.01):
        pass


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_lock_and_folders_are_for_their_owner_only_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with locked(tmp_path / "some" / "folder" / "file", 1):
            pass
    finally:
        os.umask(before)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "some").rglob("*")
    }
    assert modes == {"folder": 0o700, "file.lock": 0o600}


def test_where_no_folder_can_be_made_nothing_is_locked(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(StoreUnwritable, match="cannot be locked")
    with refused, locked(tmp_path / "file" / "inner", 1):
        pytest.fail("there is no folder")


def test_a_file_that_exists_is_not_made_anew(tmp_path):
    (tmp_path / "file").write_bytes(b"good")
    with pytest.raises(FileExistsError), created(tmp_path / "file", like=tmp_path):
        pytest.fail("it exists")
    assert (tmp_path / "file").read_bytes() == b"good"


@pytest.mark.skipif(not ADMINISTRATOR, reason="only an administrator gives files away")
def test_what_an_administrator_makes_first_belongs_to_whom_the_database_does(tmp_path):
    database = tmp_path / "database"
    database.touch()
    os.chown(database, 1234, 1235)
    with locked(tmp_path / "file", 1, like=database):
        pass
    with replacing(tmp_path / "replaced", like=database) as file:
        file.write(b"whole")
    for made in ("file.lock", "replaced"):
        assert (tmp_path / made).stat().st_uid == 1234
        assert (tmp_path / made).stat().st_gid == 1235


def test_a_file_is_replaced_whole_or_stays_and_nothing_of_a_crash_is_left(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    path.with_name("file.new").write_bytes(b"of a crash")
    with pytest.raises(KeyError), replacing(path, like=path) as file:
        file.write({}["half"])
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path, like=path) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
