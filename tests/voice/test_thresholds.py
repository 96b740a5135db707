import pytest

from membrane import models
from membrane.errors import ModelUnavailable, UsageError
from membrane.settings import SECURITY_LEVELS
from membrane.voice import thresholds
from membrane.voice.encoder import ENCODERS
from membrane.voice.thresholds import threshold_for


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Return the path of the file of thresholds, which is not there yet."""
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path)
    thresholds._chosen.cache_clear()
    yield tmp_path / "thresholds.toml"
    thresholds._chosen.cache_clear()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_safer_level_asks_for_a_closer_voice(encoder):
    levels = [threshold_for(encoder, level) for level in SECURITY_LEVELS]
    assert levels == sorted(set(levels))
    assert levels[0] > 0.5
    assert levels[-1] < 1


@pytest.mark.parametrize(
    ("encoder", "level"), [("resemblyzer", "paranoid"), ("another", "strict"), ("", "")]
)
def test_what_nobody_chose_is_refused_with_the_way_out(encoder, level):
    with pytest.raises(UsageError, match="give one with --threshold"):
        threshold_for(encoder, level)


def test_the_file_decides(shipped):
    shipped.write_text("[mine.strict]\nsimilarity = 0.625\n")
    assert threshold_for("mine", "strict") == 0.625


@pytest.mark.parametrize("content", [None, b"[mine", b"\xff"])
def test_a_file_that_cannot_be_read_is_a_missing_model(shipped, content):
    if content is not None:
        shipped.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="reinstall Membrane"):
        threshold_for("mine", "strict")
