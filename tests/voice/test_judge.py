import numpy as np
import pytest

from membrane.errors import ModelUnavailable, UsageError
from membrane.models import registry as models
from membrane.voice.calibration import Calibration
from membrane.voice.judge import COHORT, Judge, cohort_beside
from membrane.voice.levels import Threshold
from membrane.voice.normalisation import Cohort, save_cohort
from membrane.voice.ratio import Circumstances, Line

CALM = Circumstances(3.0, 30.0, 9.0)


def calibration(normalisation="none", **provenance):
    return Calibration(
        encoder="resemblyzer",
        normalisation=normalisation,
        line=Line(intercept=-8.0, slope=10.0),
        thresholds={
            "balanced": Threshold(1.0, 0.001, "counted", 10_000, 4_000),
            "convenient": Threshold(0.5, 0.01, "counted", 10_000, 4_000),
        },
        provenance=provenance,
    )


def cohort(seed):
    return Cohort.of(np.random.default_rng(seed).random((20, 256), np.float32))


def test_a_similarity_is_worth_what_the_calibration_says():
    judge = Judge("resemblyzer", given=calibration())
    assert judge.scores(np.array([0.9]), np.array([0.9]), CALM) == pytest.approx(1.0)
    assert judge.unit == "log-likelihood ratio"


def test_the_level_decides_how_much_is_enough():
    score, stretch = np.array([0.7]), np.array([0.9])
    assert Judge("resemblyzer", "convenient", given=calibration()).accepts(score, stretch)
    assert not Judge("resemblyzer", given=calibration()).accepts(score, stretch)


def test_a_level_that_was_not_reached_is_refused():
    with pytest.raises(UsageError, match="does not reach strict"):
        _ = Judge("resemblyzer", "strict", given=calibration()).threshold


def test_a_threshold_of_ones_own_is_held_against_the_raw_cosine():
    judge = Judge("resemblyzer", cosine=0.7, given=calibration("centre"))
    assert judge.unit == "similarity"
    assert judge.threshold == 0.7
    assert judge.normalisation.name == "none"
    assert judge.scores(np.array([0.8]), np.array([0.1]), CALM) == 0.8


def test_every_stretch_must_be_alike():
    judge = Judge("resemblyzer", given=calibration())
    assert judge.accepts(np.array([5.0]), np.array([judge.stretch_threshold]))
    assert not judge.accepts(np.array([5.0]), np.array([judge.stretch_threshold - 0.01]))


def test_whoever_lowers_the_threshold_lowers_that_of_the_stretches():
    assert Judge("resemblyzer", cosine=0.3).stretch_threshold == 0.3
    assert Judge("resemblyzer", cosine=0.9).stretch_threshold < 0.9


def test_a_gallery_is_ranked_without_the_slow_normalisation():
    judge = Judge("resemblyzer", given=calibration("as-norm"), cohort=cohort(0))
    assert judge.normalisation.name == "as-norm"
    assert judge.ranking.name == "centre"


def test_the_cohort_of_ones_own_calibration_is_used(tmp_path):
    path = tmp_path / "calibration.toml"
    beside = cohort_beside(path, "resemblyzer")
    save_cohort(cohort(1), beside)
    calibration("centre", **{COHORT: models.sha256_of(beside)}).save(path)
    judge = Judge("resemblyzer", calibration_file=path)
    assert np.allclose(judge.normalisation.cohort.mean, cohort(1).mean, atol=1e-3)


@pytest.mark.parametrize("left", [None, b"", b"another"])
def test_without_the_cohort_that_a_calibration_was_fitted_with_nothing_is_judged(tmp_path, left):
    path = tmp_path / "calibration.toml"
    beside = cohort_beside(path, "resemblyzer")
    save_cohort(cohort(1), beside)
    calibration("centre", **{COHORT: models.sha256_of(beside)}).save(path)
    beside.unlink()
    if left is not None:
        beside.write_bytes(left)
    with pytest.raises(ModelUnavailable, match="calibrate again"):
        _ = Judge("resemblyzer", calibration_file=path).normalisation


def test_a_cohort_beside_a_calibration_that_needs_none_is_left_alone(tmp_path):
    path = tmp_path / "calibration.toml"
    save_cohort(cohort(1), cohort_beside(path, "resemblyzer"))
    calibration("centre").save(path)
    judge = Judge("resemblyzer", calibration_file=path)
    assert not np.allclose(judge.normalisation.cohort.mean, cohort(1).mean, atol=1e-3)


def test_the_shipped_calibration_needs_no_cohort_in_the_data_folder(tmp_path):
    judge = Judge("resemblyzer", calibration_file=tmp_path / "calibration.toml")
    judge.calibration.save(tmp_path / "calibration.toml")
    for file in (judge, Judge("resemblyzer", calibration_file=tmp_path / "calibration.toml")):
        np.testing.assert_array_equal(
            file.normalisation.cohort.mean, Judge("resemblyzer").normalisation.cohort.mean
        )


def test_a_missing_file_of_ones_own_means_the_shipped_calibration(tmp_path):
    judge = Judge("resemblyzer", calibration_file=tmp_path / "none.toml")
    assert judge.threshold == Judge("resemblyzer").threshold
