import tomllib

import numpy as np
import pytest

from benchmarks import thresholds
from benchmarks.thresholds import Heard, Speaker, judge_of, stretch_threshold, write
from membrane.audio.quality import Quality
from membrane.voice.encoder import Embedding
from tests import second_encoder

TABLES = {"speakers": ["all: 3 of 3"], "stretch": {"similarity": 0.5, "choosing": "none"}}


def test_the_tables_of_one_encoder_are_written_and_those_of_others_kept(tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_bytes(thresholds.THRESHOLDS.read_bytes())
    before = tomllib.loads(path.read_text(encoding="utf-8"))
    write("mine", TABLES, path)
    write("mine", {**TABLES, "enrolment": {"similarity": 0.6}}, path)
    after = tomllib.loads(path.read_text(encoding="utf-8"))
    assert after == {**before, "mine": {**TABLES, "enrolment": {"similarity": 0.6}}}
    assert path.read_text(encoding="utf-8").startswith(thresholds.HEADER)


def test_the_shipped_file_is_as_it_would_be_written_again(tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_bytes(thresholds.THRESHOLDS.read_bytes())
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["resemblyzer"]
    write("resemblyzer", tables, path)
    assert path.read_bytes() == thresholds.THRESHOLDS.read_bytes()


@pytest.fixture
def halves():
    """Return a speaker with a probe that is let in, and one with a probe that is not."""

    def speaker(name, alike):
        voiceprint = np.eye(256, dtype=np.float32)[0]
        vector = alike * voiceprint + np.sqrt(1 - alike**2) * np.eye(256, dtype=np.float32)[1]
        voice = Embedding(vector.astype(np.float32), vector[np.newaxis].astype(np.float32))
        return Speaker(name, voiceprint, 9.0, [Heard(voice, Quality(3.0, 30.0, -20.0, 0.0))], [])

    return {"choosing": [speaker("a", 0.99), speaker("b", 0.1)]}


def test_only_probes_that_are_let_in_as_a_whole_choose_for_the_stretches(halves):
    least, rates = stretch_threshold(halves, judge_of("resemblyzer"))
    assert least == pytest.approx(0.985, abs=0.01)
    assert "of 1 strangers" in rates["choosing"]


def test_before_there_is_a_calibration_all_probes_do(halves, monkeypatch, tmp_path, capsys):
    with second_encoder.beside(monkeypatch, tmp_path) as weights:
        (weights / "turned.calibration.toml").unlink()
        judge = judge_of("turned")
    assert judge is None
    assert "Nothing is calibrated for turned yet" in capsys.readouterr().out
    least, rates = stretch_threshold(halves, judge)
    assert least == pytest.approx(0.1, abs=0.02)
    assert "of 2 strangers" in rates["choosing"]
