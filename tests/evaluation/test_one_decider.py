"""A login and an evaluation of the same recordings say the same."""

import numpy as np
import pytest

from membrane.audio.files import read_utterance
from membrane.evaluation.asked import RIGHT, Asked
from membrane.evaluation.conditions import CLEAN
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.evaluation import evaluate
from membrane.evaluation.trials import against_database, enrol_and_probe
from membrane.evaluation.voices import hear
from membrane.evaluation.word_checks import WordCheck, check_words
from membrane.login.compare import Compared
from membrane.login.membrane import Membrane
from membrane.phrase.matching import normalise
from membrane.settings import Settings

PEOPLE = ("ada", "boris", "clara")


@pytest.fixture(scope="module", params=["membrane", "resemblyzer"])
def membrane(request, tmp_path_factory, recording, unguarded):
    """A database of three people, each enrolled from three recordings."""
    database = tmp_path_factory.mktemp("enrolled") / "voiceprints.joblib"
    made = Membrane(Settings(database=database, encoder=request.param, **unguarded), processes=0)
    for name in PEOPLE:
        files = [recording(name, "enrol", number) for number in range(3)]
        made.enroll(name, [made.examine(read_utterance(one), enrolling=True) for one in files])
    return made


@pytest.fixture(scope="module")
def recordings_of(recording):
    """Return the recordings to enrol from, and those of two logins, of each person."""
    return [
        Recording((recording(name, purpose, number),), name)
        for name in PEOPLE
        for purpose, count in (("enrol", 3), ("login", 2))
        for number in range(count)
    ]


def logins(membrane, trials):
    """Return what a login says of each trial, and whether its voice and words would pass."""
    found = []
    for who, probe in trials.pairs:
        compared = Compared.of(membrane.known(trials.enrolled[who].name))
        examined = membrane.examine(trials.probes[probe].read(), gate=False)
        found.append(compared.match(examined, membrane.voice))
    return found


@pytest.mark.parametrize("stored", [False, True])
def test_a_voice_has_the_score_and_the_decision_of_a_login(stored, membrane, recordings_of):
    settings = membrane.settings
    if stored:
        probes = [one for one in recordings_of if "login" in one.files[0].name]
        trials = against_database(membrane.people(), probes, encoder=settings.encoder)
    else:
        trials = enrol_and_probe(recordings_of)
    found = evaluate(
        trials,
        membrane.voice,
        lambda jobs: hear(jobs, settings, backend="sequential", gate=False),
        conditions=(CLEAN,),
        resamples=0,
    )
    scored = found.outcomes[0].scored
    order = {(who, probe): place for place, (who, probe) in enumerate(trials.pairs.tolist())}
    places = [order[pair] for pair in zip(scored.enrolled, scored.probes, strict=True)]
    expected = [logins(membrane, trials)[place] for place in places]
    assert len(expected) == 18
    # In single precision the product of one row may round otherwise than that of many.
    np.testing.assert_allclose(scored.scores, [one.score for one in expected], rtol=0, atol=1e-5)
    np.testing.assert_allclose(scored.similarities, [one.similarity for one in expected], atol=1e-6)
    assert scored.accepted.tolist() == [one.accepted for one in expected]
    assert set(scored.accepted.tolist()) == {True, False}
    assert found.threshold == expected[0].score_threshold


@pytest.mark.parametrize("security", ["balanced", "strict"])
def test_words_have_the_decision_of_a_login(security, recordings_of, unguarded):
    settings = Settings(security=security, **unguarded)
    membrane = Membrane(settings, processes=0)
    phrases = [
        normalise(one.files[0].stem.split("-", 1)[1].replace("-", " ")) for one in recordings_of
    ]
    checks = [
        WordCheck(
            Said(one, said),
            CLEAN,
            settings.recognizer,
            tuple(Asked(RIGHT, each) for each in phrases),
        )
        for one, said in zip(recordings_of[3:5], phrases[3:5], strict=True)
    ]
    for check, checked in zip(
        checks, check_words(checks, settings, backend="sequential"), strict=True
    ):
        prepared = membrane.examine(check.said.recording.read()).prepared
        expected = [membrane.words.check(prepared.samples, each).accepted for each in phrases]
        assert list(checked.accepted) == expected
        assert sum(expected) == 1
