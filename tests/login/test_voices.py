from dataclasses import replace

import pytest

from membrane.errors import EncoderMismatch, UsageError
from membrane.login.voices import Voices
from membrane.settings import Settings, calibration_file
from membrane.voice.levels import Threshold
from tests import second_encoder
from tests.second_encoder import NAME as TURNED


def judge_of(**settings):
    return Voices(Settings(**settings)).own.judge


def test_a_safer_level_needs_a_higher_score():
    levels = ("convenient", "balanced", "strict")
    needed = [judge_of(security=level).threshold for level in levels]
    assert needed == sorted(set(needed))


def test_a_threshold_of_ones_own_is_in_the_metrics_numbers():
    assert judge_of(threshold=0.7).threshold == 0.7
    assert judge_of(threshold=1.0, metric="euclidean").threshold == pytest.approx(0.5)
    assert judge_of(threshold=0.0).threshold == 0


def test_a_calibration_of_ones_own_decides(membrane_home):
    threshold = Threshold(12.5, 0.001, "counted", 1, 1)
    own = replace(judge_of().calibration, thresholds={"balanced": threshold})
    own.save(calibration_file())
    assert judge_of().threshold == 12.5


def test_each_encoder_has_one_voice_which_is_made_once(monkeypatch, tmp_path):
    with second_encoder.beside(monkeypatch, tmp_path):
        voices = Voices(Settings(encoder="resemblyzer"))
        own, other = voices.own, voices.of(TURNED, whose="ada")
        assert voices.of("resemblyzer", whose="ada") is voices.own is own
        assert voices.of(TURNED, whose="boris") is other
        assert (own.name, other.name) == (own.judge.encoder, "turned") == ("resemblyzer", "turned")
        assert other.judge.encoder == TURNED


def test_an_unknown_encoder_is_a_usage_error_and_of_a_voiceprint_a_mismatch():
    unknown = Voices(Settings(encoder="ecapa"))
    for ask in (lambda: unknown.own, lambda: unknown.of(Settings.encoder, whose="ada")):
        with pytest.raises(UsageError, match="no encoder is called 'ecapa'"):
            ask()
    with pytest.raises(EncoderMismatch, match="ada was enrolled with the encoder ecapa"):
        Voices(Settings()).of("ecapa", whose="ada")
