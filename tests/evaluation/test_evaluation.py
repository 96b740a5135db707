import numpy as np
import pytest

from membrane.errors import UsageError
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.evaluation import evaluate
from membrane.evaluation.trials import enrol_and_probe
from membrane.evaluation.voices import Heard
from tests.evaluation.synthetic_speakers import listen, speakers, voice_at

LOUD = Condition("noise 0 dB", "noise", made="pink", snr_db=0.0)
COSINE = voice_at(0.8)


@pytest.fixture
def people():
    return speakers(("f1", "f2", "f3", "m1", "m2", "m3"), 6)


def test_clear_voices_are_told_apart_and_drowned_ones_are_not(people):
    clean, loud = evaluate(
        enrol_and_probe(people), COSINE, listen, conditions=(CLEAN, LOUD), resamples=20
    ).outcomes
    assert clean.measures["eer"].value == 0
    assert clean.measures["fnmr"].value == 0
    assert loud.measures["fnmr"].value == 1
    assert (loud.condition, loud.snr_db) == ("noise 0 dB", 0.0)


def test_everything_is_counted(people):
    (outcome,) = evaluate(
        enrol_and_probe(people), COSINE, listen, conditions=(CLEAN,), resamples=20
    ).outcomes
    assert outcome.counts == {
        "speakers": 6,
        "enrolled": 6,
        "probes": 18,
        "genuine": 18,
        "impostor": 90,
        "refused": 0,
        "unreadable": 0,
    }


def refuse(numbers, problem="refused"):
    """Return a listener that refuses some recordings of everybody."""

    def refusing(jobs):
        return [
            Heard(None, None, problem=problem, reason="it is too noisy")
            if int(job.recording.files[0].stem) in numbers
            else one
            for job, one in zip(jobs, listen(jobs), strict=True)
        ]

    return refusing


def test_refused_probes_are_counted_and_not_scored(people):
    (outcome,) = evaluate(
        enrol_and_probe(people), COSINE, refuse({5}), conditions=(CLEAN,), resamples=20
    ).outcomes
    assert outcome.counts["refused"] == 6
    assert outcome.counts["genuine"] == 12


def test_who_can_be_enrolled_in_part_is_enrolled_and_it_is_said(people):
    evaluation = evaluate(
        enrol_and_probe(people), COSINE, refuse({0}), conditions=(CLEAN,), resamples=20
    )
    assert evaluation.outcomes[0].counts["enrolled"] == 6
    assert "6 of 18 recordings to enrol from were refused" in " ".join(evaluation.notes)


def test_unreadable_files_are_counted_and_named(people):
    evaluation = evaluate(
        enrol_and_probe(people),
        COSINE,
        refuse({4}, "unreadable"),
        conditions=(CLEAN,),
        resamples=20,
    )
    assert evaluation.outcomes[0].counts["unreadable"] == 6
    assert "6 recordings could not be read" in " ".join(evaluation.notes)


def test_where_nothing_can_be_judged_the_commonest_reason_is_said(people):
    with pytest.raises(UsageError, match="most often because it is too noisy"):
        evaluate(enrol_and_probe(people), COSINE, refuse(set(range(6))), conditions=(CLEAN,))


def test_a_group_is_compared_within_itself(people):
    everybody, women, men = evaluate(
        enrol_and_probe(people), COSINE, listen, conditions=(CLEAN,), by=("gender",), resamples=20
    ).outcomes
    assert (everybody.group, women.group, men.group) == ("", "gender=f", "gender=m")
    assert women.counts["genuine"] == 9
    assert women.counts["impostor"] == 18


def test_a_label_that_nobody_has_is_refused_with_those_that_exist(people):
    with pytest.raises(UsageError, match="'age': choose from gender"):
        evaluate(enrol_and_probe(people), COSINE, listen, conditions=(CLEAN,), by=("age",))


def test_every_recording_is_heard_once(people):
    jobs = []

    def counting(asked):
        jobs.extend(asked)
        return listen(asked)

    evaluate(enrol_and_probe(people), COSINE, counting, conditions=(CLEAN, LOUD), resamples=20)
    assert len(jobs) == len(set(jobs)) == 18 + 2 * 18
    assert sum(job.enrolling for job in jobs) == 18


def test_the_figures_are_plain_values(people):
    plain = evaluate(
        enrol_and_probe(people), COSINE, listen, conditions=(CLEAN,), resamples=20
    ).as_json()
    assert plain["unit"] == "similarity"
    assert plain["outcomes"][0]["measures"]["eer"]["value"] == 0
    assert plain["outcomes"][0]["measures"]["fnmr_at_fmr_01"]["value"] is None  # 90 impostors


def test_a_speaker_of_whom_nothing_was_heard_has_no_voice(people):
    def deaf_to_one(jobs):
        return [
            Heard(None, None, problem="refused", reason="silence")
            if job.recording.speaker == "m3"
            else one
            for job, one in zip(jobs, listen(jobs), strict=True)
        ]

    evaluation = evaluate(
        enrol_and_probe(people), COSINE, deaf_to_one, conditions=(CLEAN,), resamples=20
    )
    assert evaluation.speakers[-1] == "m3"
    assert np.isnan(evaluation.vectors[-1]).all()
    assert np.isfinite(evaluation.vectors[:-1]).all()
