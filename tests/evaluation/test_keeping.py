import pytest

from membrane.evaluation import keeping
from membrane.evaluation.keeping import Kept, source_hash

KEY = "ab" * 32


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "kept", "results")


def file_of(kept):
    (path,) = (path for path in kept.folder.rglob("*") if path.is_file())
    return path


def test_what_was_put_is_got(kept):
    kept.put(KEY, b"found")
    assert Kept(kept.folder).get(KEY) == b"found"


def test_what_was_never_put_is_missing(kept):
    assert kept.get(KEY) is None


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"x" + data, lambda _: b""]
)
def test_a_damaged_file_counts_as_missing(kept, change):
    kept.put(KEY, b"found")
    path = file_of(kept)
    path.write_bytes(change(path.read_bytes()))
    assert kept.get(KEY) is None


def test_nothing_but_the_result_is_left_in_the_folder(kept):
    kept.put(KEY, b"found")
    kept.put(KEY, b"found again")
    assert kept.get(KEY) == b"found again"
    assert file_of(kept)


def test_an_interruption_leaves_no_half_file(kept, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(keeping.Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept.put(KEY, b"found")
    assert not [path for path in kept.folder.rglob("*") if path.is_file()]


def test_where_nothing_can_be_written_the_problem_is_told_and_nothing_breaks(tmp_path):
    (tmp_path / "file").touch()
    kept = Kept(tmp_path / "file", "results")
    kept.put(KEY, b"found")
    assert "results cannot be kept" in kept.problem
    assert kept.get(KEY) is None


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping.membrane, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "one.py").write_text("1")
    source_hash.cache_clear()
    yield tmp_path
    source_hash.cache_clear()


def test_a_changed_source_file_changes_the_hash_and_another_does_not(package):
    def hashed():
        source_hash.cache_clear()
        return source_hash(("o*.py",), ("numpy",))

    first = hashed()
    (package / "two.py").write_text("2")
    assert hashed() == first
    (package / "one.py").write_text("changed")
    assert hashed() != first


def test_another_version_of_a_library_changes_the_hash(package, monkeypatch):
    first = source_hash(("o*.py",), ("numpy",))
    source_hash.cache_clear()
    monkeypatch.setattr(keeping, "version", lambda name: "another")
    assert source_hash(("o*.py",), ("numpy",)) != first
