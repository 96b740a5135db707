import errno
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.errors import ModelUnavailable, OutputUnwritable, UsageError
from membrane.models import registry as models
from membrane.voice import calibration
from membrane.voice.calibration import Calibration, load_calibration
from membrane.voice.levels import Threshold
from membrane.voice.ratio import Circumstances, Influence, Line

MINE = Calibration(
    encoder="mine",
    normalisation="centre",
    line=Line(
        intercept=-8.25,
        slope=19.5,
        influences=(
            Influence("speech", low=0.9, high=12.5, weight=1.5, interaction=-0.25),
            Influence("snr", low=2.0, high=38.0, weight=-0.1, interaction=0.3),
        ),
    ),
    thresholds={
        "convenient": Threshold(3.5, 0.01, "counted", trials=9000, pairs=900),
        "balanced": Threshold(0.1 + 0.2, 0.001, "extrapolated", trials=9000, pairs=900),
    },
    gains=((1.0, 2.5), (3.0, 6.125)),
    provenance={"speech": "two\ncorpora, \"quoted\" \\ 'and' ünïcode", "folds": 5, "prior": 0.01},
)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Return the path of the shipped calibration, which is not there yet."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(models, "shipped_folder", lambda: folder)
    calibration._shipped.cache_clear()
    yield folder / "mine.calibration.toml"
    calibration._shipped.cache_clear()


@pytest.fixture
def own(tmp_path):
    """Return the path of a calibration of one's own, which is not there yet."""
    return tmp_path / "home" / "calibration.toml"


def test_what_is_saved_is_loaded(own):
    MINE.save(own)
    assert load_calibration("mine", path=own) == MINE


numbers = st.floats(-1e6, 1e6)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    encoder=texts,
    intercept=numbers,
    threshold=numbers,
    provenance=st.dictionaries(
        texts, texts | st.integers(-(2**60), 2**60) | numbers | st.lists(texts)
    ),
)
def test_every_name_number_and_text_is_loaded_as_it_was(
    own, encoder, intercept, threshold, provenance
):
    saved = replace(
        MINE,
        encoder=encoder,
        line=replace(MINE.line, intercept=intercept),
        thresholds={"strict": Threshold(threshold, 0.0001, "counted", 1, 1)},
        provenance=provenance,
    )
    saved.save(own)
    assert load_calibration(encoder, path=own) == saved


def test_half_a_character_in_the_name_of_a_file_becomes_a_question_mark(own):
    replace(MINE, provenance={"file": "a\udc80b"}).save(own)
    assert load_calibration("mine", path=own).provenance == {"file": "a?b"}


def test_the_file_can_be_read_by_a_person():
    text = MINE.as_toml()
    assert "[mine.centre.thresholds.convenient]\nllr = 3.5\nfmr = 0.01\n" in text
    assert tomllib.loads(text)["mine"]["centre"]["slope"] == 19.5


def test_a_similarity_is_judged_by_the_line():
    circumstances = Circumstances(3.0, 20.0, 9.0)
    llr = MINE.llr(np.array([0.2, 0.7]), circumstances)
    np.testing.assert_array_equal(llr, MINE.line.llr(np.array([0.2, 0.7]), circumstances))


def test_a_level_that_the_data_did_not_support_is_refused_with_the_way_out():
    assert MINE.threshold("convenient").llr == 3.5
    with pytest.raises(UsageError, match=r"does not reach strict: .* --extrapolate"):
        MINE.threshold("strict")


def test_the_shipped_calibration_is_used_where_there_is_none_of_ones_own(shipped, own):
    MINE.save(shipped)
    assert load_calibration("mine") == MINE
    assert load_calibration("mine", path=own) == MINE


def test_ones_own_calibration_comes_first(shipped, own):
    MINE.save(shipped)
    mine = replace(MINE, line=replace(MINE.line, intercept=1.0))
    mine.save(own)
    assert load_calibration("mine", path=own) == mine
    assert load_calibration("mine") == MINE


def test_ones_own_calibration_of_another_encoder_leaves_the_shipped_one(shipped, own):
    MINE.save(shipped)
    replace(MINE, encoder="other").save(own)
    assert load_calibration("mine", path=own) == MINE


def test_the_calibration_that_was_saved_last_is_the_one_in_use(own):
    raw = replace(MINE, normalisation="none")
    for saved in (MINE, raw, replace(MINE, encoder="other")):
        saved.save(own)
    assert load_calibration("mine", path=own) == raw
    assert load_calibration("mine", "centre", path=own) == MINE
    MINE.save(own)
    assert load_calibration("mine", path=own) == MINE
    assert load_calibration("mine", "none", path=own) == raw
    assert load_calibration("other", path=own).encoder == "other"


def test_a_normalisation_that_nothing_was_fitted_with_is_a_usage_error(shipped):
    MINE.save(shipped)
    with pytest.raises(UsageError, match="with the normalisation 'as-norm'"):
        load_calibration("mine", "as-norm")


def test_the_file_before_is_kept(own):
    MINE.save(own)
    before = own.read_bytes()
    replace(MINE, normalisation="none").save(own)
    assert own.with_name("calibration.toml.previous").read_bytes() == before
    assert sorted(path.name for path in own.parent.iterdir()) == [
        "calibration.toml",
        "calibration.toml.previous",
    ]


def test_calibrating_again_replaces_a_damaged_file_and_keeps_it(own):
    own.parent.mkdir()
    own.write_bytes(b"[mine\xff")
    MINE.save(own)
    assert load_calibration("mine", path=own) == MINE
    assert own.with_name("calibration.toml.previous").read_bytes() == b"[mine\xff"


@pytest.mark.parametrize(
    "content", ["mine = 3", '[mine]\ncentre = "x"', "[mine.centre]", "mine = " + "[" * 100_000]
)
def test_calibrating_again_replaces_what_is_no_calibration(own, content):
    own.parent.mkdir()
    own.write_text(content)
    MINE.save(own)
    assert load_calibration("mine", path=own) == MINE


def test_a_file_of_something_else_is_not_overwritten(own):
    own.parent.mkdir()
    own.write_text("born = 1990-01-01\n")
    with pytest.raises(OutputUnwritable, match="more than calibrations"):
        MINE.save(own)
    assert own.read_text() == "born = 1990-01-01\n"


def test_a_place_that_cannot_be_written_says_so(own):
    own.parent.write_text("a file where a folder should be")
    with pytest.raises(OutputUnwritable, match="choose another place") as refused:
        MINE.save(own)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_device_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputUnwritable, match="no ordinary file"):
        MINE.save(pipe)
    assert list(tmp_path.iterdir()) == [pipe]
    assert pipe.is_fifo()


def test_a_link_to_the_file_stays_one(own):
    own.parent.mkdir()
    own.symlink_to("elsewhere.toml")
    MINE.save(own)
    assert own.is_symlink()
    assert load_calibration("mine", path=own.with_name("elsewhere.toml")) == MINE


def test_a_full_disk_leaves_the_file_as_it_was(own, monkeypatch):
    MINE.save(own)
    before = own.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputUnwritable, match="No space left"):
        replace(MINE, normalisation="none").save(own)
    assert own.read_bytes() == before
    assert [path.name for path in own.parent.iterdir()] == ["calibration.toml"]


def without(text, line):
    assert text.count(line) >= 1
    return text.replace(line, "")


GOOD = MINE.as_toml()
DAMAGES = {
    "empty key": "[",
    "not text": "mine = 3",
    "no table": "[mine]\ncentre = 3",
    "a list": "mine = [1, 2]",
    "no slope": without(GOOD, "slope = 19.5\n"),
    "falling": GOOD.replace("slope = 19.5", "slope = -19.5"),
    "turned around by noise": GOOD.replace("interaction = 0.3", "interaction = -9.0"),
    "not a number": GOOD.replace("slope = 19.5", "slope = nan"),
    "endless": GOOD.replace("intercept = -8.25", "intercept = inf"),
    "endless threshold": GOOD.replace("llr = 3.5", "llr = -inf"),
    "endless weight": GOOD.replace("weight = 1.5", "weight = nan"),
    "text for a number": GOOD.replace("weight = 1.5", 'weight = "1.5"'),
    "text for a threshold": GOOD.replace("llr = 3.5", 'llr = "3.5"'),
    "huge": GOOD.replace("slope = 19.5", f"slope = {'9' * 400}"),
    "beyond any fit": GOOD.replace("slope = 19.5", "slope = 1e300"),
    "so high that all pass": GOOD.replace("intercept = -8.25", "intercept = 1e300"),
    "unknown measure": GOOD.replace("influences.speech", "influences.age"),
    "unknown number": GOOD.replace("llr = 3.5", "llr = 3.5\nfoo = 1"),
    "impossible range": GOOD.replace("low = 0.9", "low = -0.9"),
    "empty range": GOOD.replace("high = 12.5", "high = 0.5"),
    "half a gain": without(GOOD, "        2.5,\n"),
    "deep": "mine = " + "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_named_with_the_way_out(shipped, own, text):
    assert text != GOOD
    own.parent.mkdir()
    for path in (own, shipped):
        path.write_text(text)
    with pytest.raises(UsageError, match=r"calibration\.toml is damaged .* calibrate again") as one:
        load_calibration("mine", path=own)
    with pytest.raises(ModelUnavailable, match=r"mine\.calibration\.toml .* reinstall") as other:
        load_calibration("mine")
    assert "\n" not in f"{one.value}{other.value}"


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_bytes(b"\xff\xfe")])
def test_what_is_no_text_file_cannot_be_read(shipped, own, make):
    own.parent.mkdir()
    make(own)
    make(shipped)
    with pytest.raises(UsageError, match=r"is damaged|cannot be read"):
        load_calibration("mine", path=own)
    with pytest.raises(ModelUnavailable, match="reinstall"):
        load_calibration("mine")


def test_a_missing_shipped_file_is_a_missing_model(shipped):
    with pytest.raises(ModelUnavailable, match="reinstall"):
        load_calibration("mine")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(start=st.integers(0, len(GOOD) - 1), length=st.integers(1, 60))
def test_a_file_with_a_hole_is_refused_or_still_sound(own, start, length):
    own.parent.mkdir(exist_ok=True)
    own.write_text(GOOD[:start] + GOOD[start + length :])
    try:
        found = load_calibration("mine", "centre", path=own)
    except (UsageError, ModelUnavailable):
        return
    assert found.line.least_slope > 0
    assert np.isfinite(found.llr(0.5, Circumstances(3.0, 20.0, 9.0)))


def test_a_file_that_cannot_be_read_is_neither_used_nor_replaced(own, monkeypatch):
    MINE.save(own)
    before = own.read_bytes()

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as denied:
        denied.setattr(Path, "read_text", refused)
        denied.setattr("os.access", lambda path, mode: mode != os.R_OK)
        with pytest.raises(UsageError, match=r"cannot be read \(Permission denied\)"):
            load_calibration("mine", path=own)
        with pytest.raises(OutputUnwritable, match="it cannot be read"):
            MINE.save(own)
    assert own.read_bytes() == before
