import numpy as np
import pytest

from membrane.errors import UsageError
from membrane.evaluation.calibrating import Goal, HeardTrials, calibrate, pairs_of_speakers
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.trials import enrol_and_probe
from membrane.voice.normalisation import Raw
from tests.evaluation.synthetic_speakers import heard, speakers, voice_at

COSINE = voice_at(0.5)
SHORT = Condition("2 s", "seconds", seconds=2.0)


def listen(jobs):
    """Hear everybody in a mist, so that not all of them are told apart."""
    return [
        heard(
            job.recording.speaker,
            int(job.recording.files[0].stem),
            spread=3.0 if job.condition == CLEAN else 4.0,
            shared=5.0,
            speech_s=4.0 if job.condition == CLEAN else 2.0,
        )
        for job in jobs
    ]


@pytest.fixture(scope="module")
def thirty():
    """Thirty speakers, which are 435 pairs: enough for a rate of 1 %, too few for 0.1 %."""
    names = [f"{'fm'[number % 2]}{number}" for number in range(30)]
    trials = enrol_and_probe(speakers(names, 7))
    return HeardTrials.of(trials, listen, (CLEAN, SHORT))


@pytest.fixture(scope="module")
def calibrated(thirty):
    return calibrate(thirty, COSINE, Goal("convenient"), Raw(), resamples=20)


def test_scores_mean_more_than_they_did(calibrated):
    assert calibrated.after["cllr"].value < calibrated.before["cllr"].value
    assert calibrated.after["cllr"].value < calibrated.after["min_cllr"].value + 0.1


def test_the_threshold_keeps_the_rate_that_it_aims_at(calibrated):
    assert calibrated.after["fmr"].value == pytest.approx(0.01, abs=0.005)
    assert calibrated.calibration.thresholds["convenient"].support == "counted"


def test_a_pair_of_speakers_counts_once(thirty, calibrated):
    assert calibrated.pairs == 30 * 29 // 2
    assert pairs_of_speakers(thirty.compare(Raw())["clean"]) == calibrated.pairs


def test_levels_that_so_many_pairs_cannot_show_are_left_out(calibrated):
    assert set(calibrated.calibration.thresholds) == {"convenient"}


def test_a_level_that_cannot_be_shown_is_refused_with_what_it_needs(thirty):
    with pytest.raises(UsageError, match=r"435 pairs .* show .* 0.69%, not 0.10% \(2,995 pairs\)"):
        calibrate(thirty, COSINE, Goal("balanced"), Raw(), resamples=20)


def test_it_can_be_taken_from_the_fit_and_says_so(thirty):
    goal = Goal("balanced", extrapolate=True)
    thresholds = calibrate(thirty, COSINE, goal, Raw(), resamples=20).calibration.thresholds
    assert thresholds["convenient"].support == "counted"
    assert thresholds["balanced"].support == thresholds["strict"].support == "extrapolated"
    llrs = [thresholds[level].llr for level in ("convenient", "balanced", "strict")]
    assert llrs == sorted(llrs)


def test_a_level_may_mean_another_rate_here(thirty):
    loose = calibrate(thirty, COSINE, Goal("balanced", fmr=0.05), Raw(), resamples=20)
    assert loose.calibration.thresholds["balanced"].fmr == 0.05
    assert loose.after["fmr"].value == pytest.approx(0.05, abs=0.01)


def test_more_speech_is_worth_what_was_measured(calibrated):
    ((speech_s, median),) = calibrated.calibration.gains
    assert speech_s == 2.0
    assert np.isfinite(median)


def test_speakers_who_were_held_back_are_reported_on(thirty):
    others = HeardTrials.of(enrol_and_probe(speakers(["x1", "x2", "x3"], 7)), listen, (CLEAN,))
    told = calibrate(thirty, COSINE, Goal("convenient"), Raw(), reporting=others, resamples=20)
    assert told.reported_on == "speakers that were held back"
    assert (
        told.calibration
        == calibrate(thirty, COSINE, Goal("convenient"), Raw(), resamples=20).calibration
    )


def test_the_rate_asked_for_is_the_first_of_the_levels():
    assert next(iter(Goal("strict", fmr=0.002).levels.items())) == ("strict", 0.002)
    assert Goal("strict").levels["convenient"] == 0.01
