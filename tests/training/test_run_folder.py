import pytest
from hypothesis import given
from hypothesis import strategies as some

from membrane.errors import NoSuchFile, UsageError

torch = pytest.importorskip("torch")

from membrane.training import run_folder  # noqa: E402 (torch is needed)

STATE = {"step": 7, "network": {"weight": torch.arange(6.0)}, "names": ["a", "b"], "share": 0.5}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "last.pt"
    run_folder.save_checkpoint(path, STATE)
    return path


def test_what_is_read_is_what_was_written(kept):
    state = run_folder.load_checkpoint(kept)
    assert torch.equal(state["network"].pop("weight"), torch.arange(6.0))
    assert state == {**STATE, "network": {}}


def test_a_checkpoint_that_is_missing_is_named(tmp_path):
    with pytest.raises(NoSuchFile, match=r"last\.pt cannot be read"):
        run_folder.load_checkpoint(tmp_path / "last.pt")


def test_another_file_is_no_checkpoint(tmp_path):
    other = tmp_path / "other.pt"
    torch.save(STATE, other)
    with pytest.raises(UsageError, match="is no checkpoint"):
        run_folder.load_checkpoint(other)


@given(share=some.floats(0.0, 0.999), flip=some.booleans())
def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(kept, share, flip):
    data = bytearray(kept.read_bytes())
    place = len(run_folder.MAGIC) + int(share * (len(data) - len(run_folder.MAGIC)))
    if flip:
        data[place] ^= 1
    damaged = kept.with_name("damaged.pt")
    damaged.write_bytes(data if flip else data[:place])
    with pytest.raises(UsageError, match="is damaged"):
        run_folder.load_checkpoint(damaged)


def test_a_checkpoint_runs_nothing_that_it_holds(tmp_path):
    hostile = tmp_path / "hostile.pt"

    class Hostile:
        def __reduce__(self):
            return (hostile.with_name("ran").touch, ())

    run_folder.save_checkpoint(hostile, {"network": Hostile()})
    with pytest.raises(UsageError, match="is no checkpoint"):
        run_folder.load_checkpoint(hostile)
    assert not hostile.with_name("ran").exists()
