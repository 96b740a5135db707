import numpy as np
import pytest

from membrane.errors import ModelUnavailable, UsageError
from membrane.models import registry as models
from membrane.voice import thresholds
from membrane.voice.encoder import ENCODERS
from membrane.voice.normalisation import load_cohort
from membrane.voice.thresholds import threshold_for


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Return the path of the file of thresholds, which is not there yet."""
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path)
    thresholds._chosen.cache_clear()
    yield tmp_path / "thresholds.toml"
    thresholds._chosen.cache_clear()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("part", ["enrolment", "stretch"])
def test_a_part_must_be_more_alike_than_most_strangers_and_less_than_a_twin(encoder, part):
    strangers = load_cohort(encoder).vectors
    alike = (strangers @ strangers.T)[np.triu_indices(len(strangers), 1)]
    assert np.median(alike) < threshold_for(encoder, part) < 0.85


@pytest.mark.parametrize(
    ("encoder", "part"), [("resemblyzer", "breath"), ("another", "stretch"), ("", "")]
)
def test_what_nobody_chose_is_refused_with_the_way_out(encoder, part):
    with pytest.raises(UsageError, match="choose an encoder that is shipped"):
        threshold_for(encoder, part)


def test_the_file_decides(shipped):
    shipped.write_text("[mine.stretch]\nsimilarity = 0.625\n")
    assert threshold_for("mine", "stretch") == 0.625


@pytest.mark.parametrize("content", [None, b"[mine", b"\xff"])
def test_a_file_that_cannot_be_read_is_a_missing_model(shipped, content):
    if content is not None:
        shipped.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="reinstall Membrane"):
        threshold_for("mine", "stretch")
