import os
from types import SimpleNamespace

import pytest

from membrane.errors import NotTheOwner
from membrane.store.ownership import require_owner

pytestmark = pytest.mark.skipif(os.name == "nt", reason="on Windows folders keep others out")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "voiceprints.joblib"
    path.write_bytes(b"")
    return path


@pytest.fixture
def me(monkeypatch):
    """Be another user."""
    return lambda user: monkeypatch.setattr(os, "geteuid", lambda: user)


def test_the_owner_may(database, me):
    me(database.stat().st_uid)
    require_owner(database)


@pytest.mark.parametrize(("user", "allowed"), [(1000, True), (0, True), (1001, False)])
def test_of_all_users_the_owner_and_whoever_administers_the_machine_may(me, user, allowed):
    belongs_to_1000 = SimpleNamespace(stat=lambda: SimpleNamespace(st_uid=1000))
    me(user)
    if allowed:
        require_owner(belongs_to_1000)
        return
    with pytest.raises(NotTheOwner):
        require_owner(belongs_to_1000)


def test_nobody_else_may_and_it_is_one_line(database, me):
    me(database.stat().st_uid + 1)
    with pytest.raises(NotTheOwner, match="only whoever owns the database") as told:
        require_owner(database)
    assert str(database) in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert told.value.exit_code == 5


def test_where_there_is_no_database_nobody_is_to_be_protected(tmp_path, me):
    me(12345)
    require_owner(tmp_path / "missing.joblib")


def test_a_link_does_not_make_anybody_its_owner(database, tmp_path, me):
    link = tmp_path / "link"
    link.symlink_to(database)
    me(database.stat().st_uid + 1)
    with pytest.raises(NotTheOwner):
        require_owner(link)


def test_whose_database_it_is_must_be_told_or_nobody_may(database, me):
    me(12345)
    with pytest.raises(NotTheOwner, match="cannot be told who owns"):
        require_owner(database / "not a folder")
