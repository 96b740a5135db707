from pathlib import Path

import pytest

from benchmarks.accuracy.__main__ import default_first
from benchmarks.accuracy.ours import Ours
from membrane.settings import Settings
from membrane.voice.encoder import ENCODERS


def test_an_encoder_that_is_shipped_can_be_measured():
    ours = Ours(Path(), "resemblyzer")
    assert ours.problem == ""
    assert ours.name == "Membrane (resemblyzer)"
    assert "encoder resemblyzer, normalisation" in ours.about


def test_an_encoder_without_a_model_is_left_out_and_says_why(monkeypatch):
    monkeypatch.setitem(ENCODERS, "other", ENCODERS["resemblyzer"])
    assert "no model is called 'other'" in Ours(Path(), "other").problem


@pytest.mark.parametrize("default", sorted(ENCODERS))
def test_the_encoder_of_a_login_comes_first(monkeypatch, default):
    monkeypatch.setattr("benchmarks.accuracy.__main__.Settings", lambda: Settings(encoder=default))
    assert default_first()[0] == default
    assert sorted(default_first()) == sorted(ENCODERS)
