import numpy as np
import pytest

from benchmarks import embedding
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import ModelUnavailable
from membrane.voice.encoder import ENCODERS


class Busy:
    """An encoder that does nothing but count."""

    def __init__(self, name):
        self.name = name
        self.heard = []

    def embed(self, samples):
        self.heard.append(samples)


def test_clips_are_of_the_length_and_the_number_asked_for():
    clips = embedding.clips(1.5, 7)
    assert [len(clip) for clip in clips] == 7 * [int(1.5 * SAMPLE_RATE)]
    assert all(np.abs(clip).max() > 0.01 for clip in clips)


def test_encoders_take_turns_on_the_same_clips():
    one, other = Busy("one"), Busy("other")
    spent = embedding.cpu_of([one, other], seconds=1.0, rounds=3)
    assert spent.shape == (3, 2)
    assert (spent >= 0).all()
    for first, second in zip(one.heard, other.heard, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_ratio_is_that_of_the_middle_round():
    ratio = embedding.ratio_of(np.array([2.0, 4.0, 900.0]), np.array([2.0, 2.0, 3.0]))
    assert ratio.value == 2.0
    assert ratio.low <= 2.0 <= ratio.high


def test_ratios_that_are_all_alike_are_sure():
    ratio = embedding.ratio_of(np.full(5, 3.0), np.full(5, 2.0))
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_an_encoder_without_its_model_is_left_out_and_named(monkeypatch, capsys):
    def missing():
        raise ModelUnavailable("there is no model")

    monkeypatch.setitem(ENCODERS, "missing", ("benchmarks.embedding", "missing"))
    monkeypatch.setattr(embedding, "missing", missing, raising=False)
    found = embedding.encoders_here(["resemblyzer", "missing"])
    assert [encoder.name for encoder in found] == ["resemblyzer"]
    assert "missing is left out: there is no model" in capsys.readouterr().out
