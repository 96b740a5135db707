import pytest

from membrane.evaluation import keeping
from membrane.evaluation.keeping import Kept, source_hash, sources_of

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


# ---- What results depend on


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules: one imports two, in a function and with numpy; three is alone."""
    monkeypatch.setattr(keeping.membrane, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "one.py").write_text("def f():\n    from membrane.room import two\n")
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").touch()
    (tmp_path / "room" / "two.py").write_text("import numpy, os\n")
    (tmp_path / "room" / "words.txt").write_text("one two")
    (tmp_path / "three.py").write_text("import membrane.one\n")
    source_hash.cache_clear()
    yield tmp_path
    source_hash.cache_clear()


def hashed(*modules):
    source_hash.cache_clear()
    return source_hash(*modules or ("membrane.one",))


def test_all_that_a_module_imports_is_found(package):
    sources, libraries = sources_of("membrane.one")
    names = {path.relative_to(package).as_posix() for path in sources}
    assert names == {"one.py", "room/__init__.py", "room/two.py", "room/words.txt"}
    assert libraries == {"numpy"}


@pytest.mark.parametrize("changed", ["one.py", "room/two.py", "room/words.txt"])
def test_a_change_of_what_a_module_depends_on_changes_the_hash_and_another_does_not(
    package, changed
):
    first = hashed()
    (package / "three.py").write_text("changed = 3\n")
    assert hashed() == first
    with (package / changed).open("a") as file:
        file.write("# changed\n")
    assert hashed() != first


def test_another_version_of_a_library_changes_the_hash(package, monkeypatch):
    first = hashed()
    monkeypatch.setattr(keeping, "version", lambda name: "another")
    assert hashed() != first


def test_what_is_only_imported_for_types_does_not_count(package):
    (package / "one.py").write_text("if TYPE_CHECKING:\n    import membrane.room.two\n")
    assert [path.name for path in sources_of("membrane.one")[0]] == ["one.py"]


def test_a_module_that_is_not_there_is_an_error(package):
    with pytest.raises(ValueError, match=r"no source of membrane\.four"):
        hashed("membrane.four")


def test_another_package_may_hold_an_encoder(package):
    assert hashed("membrane.one", "tests.second_encoder") != hashed()
