import json
import math
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import ModelUnavailable, UnknownName
from membrane.login.compare import Compared
from membrane.login.explain import Stretch, explanation_of
from membrane.login.membrane import Membrane
from membrane.settings import EVALUATING, Settings
from membrane.voice.calibration import Calibration
from membrane.voice.frontends.partials import PARTIALS_PER_SECOND, partial_starts
from membrane.voice.judge import Judge
from membrane.voice.levels import Threshold
from membrane.voice.normalisation import Cohort
from membrane.voice.ratio import Influence, Line
from membrane.voice.scoring import similarity
from tests.weights import reweighted

NOISE = Influence("snr", low=5.0, high=40.0, weight=-0.2, interaction=0.5)
GAINS = ((1.0, 2.0), (2.0, 3.0), (4.0, 4.0), (8.0, 5.0))


def calibration(*influences, gains=(), normalisation="centre"):
    return Calibration(
        encoder=Settings.encoder,
        normalisation=normalisation,
        line=Line(-8.0, 20.0, influences),
        thresholds={"balanced": Threshold(3.0, 0.001, "counted", 9000, 3000)},
        gains=gains,
    )


@pytest.fixture(scope="module")
def examined(examiner, utterance_of):
    @cache
    def examine(person, purpose="enrol", number=0):
        return examiner.examine(utterance_of(person, purpose, number))

    return examine


@pytest.fixture(scope="module")
def cohort(examined):
    """Return edgar's and farid's phrases, three each, as six strangers."""
    voices = [
        examined(name, "enrol", n).embedding.vector for name in ("edgar", "farid") for n in range(3)
    ]
    return Cohort.of(np.stack(voices))


@pytest.fixture(scope="module")
def database(examined, tmp_path_factory):
    """Return a database of ada and boris, with three phrases each, and clara, with one."""
    path = tmp_path_factory.mktemp("known") / "voiceprints.joblib"
    membrane = Membrane(Settings(database=path, **EVALUATING), processes=0)
    for name, phrases in (("ada", 3), ("boris", 3), ("clara", 1)):
        membrane.enroll(name, [examined(name, "enrol", number) for number in range(phrases)])
    return path


@pytest.fixture
def knowing(database, cohort):
    """Return a Membrane that knows them and explains: ``knowing(NOISE, gains=GAINS)``."""

    def make(*influences, settings=None, **calibrated):
        chosen = Settings(database=database, **EVALUATING, **(settings or {}))
        given = calibration(*influences, **calibrated)
        judge = Judge(Settings.encoder, given=given, cohort=cohort, cosine=chosen.threshold)
        return judged_by(judge, Membrane(chosen, explains=True, processes=0))

    return make


class OneVoice:
    """Stands for `Voices` where there is one voice for everybody."""

    projection = None

    def __init__(self, own):
        self.own = own

    def of(self, *_, **__):
        return self.own

    of_claim = native = of


def judged_by(judge, membrane):
    """Let a Membrane decide as a judge says."""
    membrane.voices = OneVoice(replace(membrane.voice, judge=judge))
    return membrane


def noisy(utterance, snr_db):
    samples = utterance.samples
    sigma = np.sqrt(np.mean(samples**2)) * 10 ** (-snr_db / 20)
    hiss = np.random.default_rng(0).normal(0, sigma, len(samples)).astype(np.float32)
    return replace(utterance, samples=np.clip(samples + hiss, -1, 1).astype(np.float32))


def joined(*utterances):
    return Utterance(np.concatenate([one.samples for one in utterances]), source="joined.wav")


# ---- Whether there is one


def test_nothing_is_explained_unless_asked_for(knowing, utterance_of):
    membrane = knowing()
    membrane.explains = False
    login = utterance_of("ada", "login")
    for decision in (membrane.verify("ada", login), membrane.compare(login, login)):
        assert decision.explanation is None
        assert decision.as_json()["explanation"] is None


def test_an_explanation_changes_no_decision(knowing, utterance_of):
    explaining = knowing(NOISE)
    silent = knowing(NOISE)
    silent.explains = False
    for person in ("ada", "boris"):
        login = utterance_of(person, "login")
        one, other = explaining.verify("ada", login), silent.verify("ada", login)
        assert one.voice == other.voice
        assert one.accepted is other.accepted


@pytest.mark.parametrize("person", ["ada", "boris"])
def test_an_explanation_is_plain_strict_json(knowing, utterance_of, person):
    login = utterance_of(person, "login")
    for decision in (
        knowing(NOISE, gains=GAINS).verify("ada", login),
        knowing(NOISE, gains=GAINS).explain("ada", login),
        knowing().compare(utterance_of("ada", "login", 1), login),
        knowing(settings={"threshold": 0.8}).verify("ada", login),
    ):
        plain = decision.as_json()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert set(plain["explanation"]) == {one.name for one in fields(decision.explanation)}


def test_nobody_unknown_is_explained(knowing, utterance_of):
    with pytest.raises(UnknownName, match="membrane list"):
        knowing().explain("zoe", utterance_of("ada", "login"))


# ---- The person's own spread


def test_own_spread_is_that_of_each_phrase_to_the_mean_of_the_others(knowing, examined, cohort):
    membrane = knowing(normalisation="none")
    own = membrane.explain("ada", examined("ada", "login").utterance).explanation.own
    stored = membrane.store.get("ada").utterances
    sums = [one.partial_sum for one in stored]
    alike = []
    for place, one in enumerate(stored):
        others = sum(part for number, part in enumerate(sums) if number != place)
        alike.append(float(one.vector @ (others / np.linalg.norm(others))))
    assert own.phrases == 3
    assert [own.least, own.median, own.most] == pytest.approx(sorted(alike), abs=1e-5)


def test_a_phrase_that_does_not_count_is_no_part_of_the_spread(knowing, examined):
    membrane = knowing()
    person = membrane.store.get("ada")
    spread = {}
    for voiceprint in (
        person,
        reweighted(person, 1, 0.0),
        reweighted(reweighted(person, 1, 0), 2, 0),
    ):
        probe, compared = examined("ada", "login"), Compared.of(voiceprint)
        match = compared.match(probe, membrane.voice)
        own = explanation_of(match, compared, probe, voice=membrane.voice).own
        spread[own and own.phrases] = own
    assert set(spread) == {3, 2, None}
    assert spread[2].least == pytest.approx(spread[2].most, abs=1e-5)


def test_one_phrase_and_two_recordings_have_no_spread(knowing, utterance_of):
    login = utterance_of("clara", "login")
    assert knowing().explain("clara", login).explanation.own is None
    compared = knowing().compare(utterance_of("clara", "login", 1), login)
    assert compared.explanation.own is None


def test_another_voice_lies_below_the_persons_own_spread(knowing, utterance_of):
    explained = knowing().explain("ada", utterance_of("boris", "login")).explanation
    assert explained.alike < explained.own.least


# ---- Strangers


def test_strangers_are_counted_on_the_scale_that_decides(knowing, examined, cohort):
    explained = knowing().explain("ada", examined("farid", "login").utterance).explanation
    mean = cohort.vectors.mean(axis=0)

    def centred(vector):
        return (vector - mean) / np.linalg.norm(vector - mean)

    probe = centred(examined("farid", "login").embedding.vector)
    theirs = np.array([centred(one) @ probe for one in cohort.vectors])
    assert explained.normalisation == "centre"
    assert explained.strangers.count == 6
    assert explained.strangers.closest == pytest.approx(theirs.max(), abs=1e-4)
    assert explained.strangers.median == pytest.approx(np.median(theirs), abs=1e-4)
    assert explained.strangers.as_alike == np.count_nonzero(theirs >= explained.alike) >= 3


def test_no_stranger_is_as_like_the_right_voice(knowing, utterance_of):
    explained = knowing().explain("ada", utterance_of("ada", "login")).explanation
    assert explained.strangers.as_alike == explained.strangers_of_person.as_alike == 0
    assert explained.strangers.closest < explained.alike


def test_strangers_of_as_norm_are_seen_on_the_scale_of_a_gallery(knowing, utterance_of):
    explained = knowing(normalisation="as-norm").explain("ada", utterance_of("ada", "login"))
    assert explained.explanation.normalisation == "centre"
    assert -1 <= explained.explanation.alike <= 1


def test_without_a_cohort_strangers_are_left_out(knowing, utterance_of, monkeypatch):
    def missing(_encoder):
        raise ModelUnavailable("no cohort: reinstall")

    monkeypatch.setattr("membrane.voice.judge.load_cohort", missing)
    judge = Judge(Settings.encoder, given=calibration(normalisation="none"))
    membrane = judged_by(judge, knowing())
    explained = membrane.explain("ada", utterance_of("ada", "login")).explanation
    assert explained.strangers is explained.strangers_of_person is None
    assert explained.own is not None


# ---- Stretches


def test_stretches_are_the_partials_at_their_time_in_the_speech(knowing, examined):
    membrane = knowing()
    probe = examined("ada", "login")
    explained = membrane.explain("ada", probe.utterance).explanation
    vector = membrane.store.get("ada").vector
    alike = [similarity(vector, one) for one in probe.embedding.partials]
    assert [one.similarity for one in explained.stretches] == pytest.approx(alike, abs=1e-5)
    starts = partial_starts(5 * SAMPLE_RATE, PARTIALS_PER_SECOND)[:3]
    assert [100 * one.start_s for one in explained.stretches[:3]] == pytest.approx(starts)
    assert all(one.stop_s - one.start_s == pytest.approx(1.6) for one in explained.stretches)


def test_a_part_that_is_another_voice_is_pointed_at(knowing, utterance_of):
    logins = [utterance_of("ada", "login", number) for number in (0, 1)]
    heard = joined(*logins, utterance_of("ada", "enrol"), utterance_of("boris", "login"))
    lenient = replace(calibration(), line=Line(30.0, 1.0, ()))
    membrane = knowing()
    judge = replace(membrane.voice.judge, given=lenient)
    decision = judged_by(judge, membrane).verify("ada", heard)
    assert decision.voice.mixed
    stretches = decision.explanation.stretches
    unlike = [one for one in stretches if not one.enough]
    assert min(one.start_s for one in unlike) > stretches[-1].stop_s / 2
    were = "was" if len(unlike) == 1 else "were"
    assert decision.explanation.verdict == (
        f"The whole was good enough; {len(unlike)} of {len(stretches)} stretches {were} not."
    )


# ---- Circumstances


def test_noise_costs_the_difference_to_the_least_noise_that_was_seen(knowing, utterance_of):
    membrane = knowing(NOISE)
    decision = membrane.explain("ada", noisy(utterance_of("ada", "login"), 10))
    snr_db = decision.quality.snr_db
    assert 5 < snr_db < 20
    speech, noise, enrolment = decision.explanation.costs
    assert [speech.measure, noise.measure, enrolment.measure] == ["speech", "snr", "enrolled"]
    alike = decision.explanation.alike
    assert noise.value == snr_db
    assert noise.best == 40.0
    assert noise.change == pytest.approx((40 - snr_db) * (-0.2 + 0.5 * alike), abs=1e-4)
    assert noise.change > 0
    assert speech.best is speech.change is enrolment.change is None


def test_a_stranger_would_count_for_less_without_noise(knowing, utterance_of):
    decision = knowing(NOISE).explain("ada", noisy(utterance_of("boris", "login"), 10))
    assert decision.explanation.costs[1].change < 0


def test_what_is_better_than_anything_seen_costs_nothing(knowing, utterance_of):
    best = replace(NOISE, high=10.0)
    decision = knowing(best).explain("ada", utterance_of("ada", "login"))
    assert decision.quality.snr_db > 10
    assert decision.explanation.costs[1].change == 0.0


def test_a_threshold_of_ones_own_has_neither_costs_nor_gains(knowing, utterance_of):
    membrane = knowing(NOISE, gains=GAINS, settings={"threshold": 0.5})
    explained = membrane.explain("ada", utterance_of("ada", "login")).explanation
    assert explained.costs == ()
    assert explained.gain is None
    assert explained.normalisation == "none"


# ---- What would help


def test_more_speech_helps_as_much_as_was_measured(knowing, utterance_of):
    decision = knowing(gains=GAINS).explain("ada", utterance_of("ada", "login"))
    speech_s = decision.quality.speech_s
    gain = decision.explanation.gain
    assert (gain.speech_s, gain.more_s) == (speech_s, 2.0)
    # The medians rise by 1 each time the speech doubles.
    assert gain.change == pytest.approx(math.log2((speech_s + 2) / speech_s))


def test_no_more_is_asked_for_than_was_measured(knowing, utterance_of):
    explained = knowing(gains=((1.0, 2.0), (3.0, 9.0))).explain("ada", utterance_of("ada", "login"))
    gain = explained.explanation.gain
    assert gain.speech_s + gain.more_s <= 3.0 < gain.speech_s + gain.more_s + 0.5


@pytest.mark.parametrize(
    "gains",
    [
        (),
        ((2.0, 3.0),),
        ((1.0, 3.0), (4.0, 3.0), (8.0, 3.1)),
        ((1.0, 5.0), (8.0, 2.0)),
        ((1.0, 2.0), (2.0, 9.0)),
        ((4.0, 2.0), (9.0, 9.0)),
    ],
    ids=["unmeasured", "one length", "little", "loss", "beyond the longest", "below the shortest"],
)
def test_more_speech_is_not_recommended_where_no_gain_was_measured(knowing, utterance_of, gains):
    decision = knowing(gains=gains).explain("ada", utterance_of("ada", "login"))
    assert decision.explanation.gain is None


# ---- What decided


def test_margin_is_told_as_a_factor(knowing, utterance_of):
    accepted = knowing().verify("ada", utterance_of("ada", "login"))
    assert accepted.accepted
    assert "times what is needed." in accepted.explanation.verdict
    refused = knowing().verify("ada", utterance_of("boris", "login"))
    assert "falls short by a factor of" in refused.explanation.verdict


def test_wrong_words_are_told_from_a_wrong_voice(knowing, utterance_of):
    wrong = "1 1 1 1 1 1"
    right_voice = knowing().verify("ada", utterance_of("ada", "login"), expected=wrong)
    assert right_voice.explanation.verdict == "The voice was good enough; the words were not."
    neither = knowing().verify("ada", utterance_of("boris", "login"), expected=wrong)
    assert neither.explanation.verdict.endswith("The words were wrong, too.")


# ---- What is withheld


def test_a_wrong_voice_and_an_unknown_name_are_explained_alike(knowing, utterance_of):
    login = utterance_of("farid", "login")
    known, unknown = (knowing(NOISE).verify(name, login).explanation for name in ("ada", "zoe"))
    assert known.withheld
    assert unknown.withheld
    for explained in (known, unknown):
        assert explained.alike is explained.own is None
        assert explained.strangers is explained.strangers_of_person is None
        assert explained.stretches == ()
        assert [cost.measure for cost in explained.costs] == ["speech", "snr"]
    one, other = known.as_json(), unknown.as_json()
    assert {name: type(value) for name, value in one.items()} == {
        name: type(value) for name, value in other.items()
    }


def test_a_voice_that_was_accepted_is_told_everything(knowing, utterance_of):
    login = utterance_of("ada", "login")
    for expected in ("", "1 1 1 1 1 1"):
        explained = knowing().verify("ada", login, expected=expected).explanation
        assert not explained.withheld
        assert explained.own.phrases == 3
        assert explained.stretches


def test_the_owner_is_told_everything_of_a_voice_that_was_refused(knowing, utterance_of):
    decision = knowing().explain("ADA", utterance_of("farid", "login"))
    assert not decision.accepted
    assert decision.claimed == "ada"
    assert decision.words is None
    assert decision.explanation.own.phrases == 3
    assert all(isinstance(one, Stretch) for one in decision.explanation.stretches)
    assert len(decision.explanation.costs) == 3
