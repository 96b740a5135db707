import json
import shutil
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import InvalidName, PoorQuality, UsageError
from membrane.login.membrane import NOBODY, Membrane
from membrane.settings import Settings
from membrane.voice.encoder import load_encoder
from membrane.voice.scoring import cosine_to_distance
from tests.conftest import UNGUARDED

PASSPHRASES = {
    "ada": "open the door because my voice is my key",
    "clara": "the river runs quietly past the old mill",
}


def membrane_with(**settings):
    return Membrane(Settings(**{**UNGUARDED, **settings}), processes=0)


@pytest.fixture(scope="module")
def known(three_phrases, tmp_path_factory):
    """Return the database of ada and clara, who have passphrases, and boris, who has none."""
    database = tmp_path_factory.mktemp("known") / "voiceprints.joblib"
    membrane = membrane_with(database=database)
    for person in ("ada", "boris", "clara"):
        membrane.enroll(person, three_phrases(person), passphrase=PASSPHRASES.get(person, ""))
    return database


@pytest.fixture
def knowing(known):
    """Return a Membrane that knows ada, boris and clara: ``knowing(metric="euclidean")``."""
    return lambda **settings: membrane_with(database=known, **settings)


@pytest.fixture
def said(recording, words_of):
    return lambda person, purpose, number=0: words_of(recording(person, purpose, number))


def nearly_silent(seconds=3):
    hiss = np.random.default_rng(2).normal(0, 1e-3, seconds * SAMPLE_RATE)
    return Utterance(hiss.astype(np.float32), source="hiss.wav")


# ---- Verification


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 65])
def test_a_name_that_nobody_may_have_is_refused(empty, three_phrases, name):
    for refuse in (
        empty.check_name_is_free,
        lambda name: empty.enroll(name, three_phrases("ada")),
        lambda name: empty.verify(name, nearly_silent()),
    ):
        with pytest.raises(InvalidName):
            refuse(name)
    assert not empty.store.path.exists()


@pytest.mark.parametrize("person", ["ada", "boris", "clara"])
@pytest.mark.parametrize("number", [0, 1])
def test_the_right_voice_with_the_right_words_is_let_in(
    knowing, utterance_of, said, person, number
):
    login = utterance_of(person, "login", number)
    decision = knowing().verify(person, login, expected=said(person, "login", number))
    assert decision.accepted
    assert decision.person == decision.claimed == person
    assert decision.reason == f"The voice is {person}'s. The words are right."
    assert (decision.encoder, decision.recognizer) == (Settings.encoder, "pocketsphinx")
    assert (decision.command, decision.security) == ("verify", "balanced")
    assert decision.source == login.source
    assert set(decision.timings) == {"sound", "words", "voice"}


@pytest.mark.parametrize("impostor", ["boris", "clara", "edgar", "farid"])
def test_another_voice_with_the_right_words_is_not(knowing, utterance_of, said, impostor):
    login = utterance_of(impostor, "login")
    decision = knowing().verify("ada", login, expected=said(impostor, "login"))
    assert not decision.accepted
    assert not decision.voice.accepted
    assert decision.person == ""
    assert "not close enough to ada's" in decision.reason


@pytest.mark.parametrize("expected", ["8 6 0 3 1 5", "4 7 1 9", "open the door"])
def test_the_right_voice_with_other_words_is_not(knowing, utterance_of, expected):
    decision = knowing().verify("ada", utterance_of("ada", "login", 0), expected=expected)
    assert not decision.accepted
    assert decision.voice.accepted
    assert decision.person == ""
    assert "The words are" in decision.reason


def test_another_voice_before_a_recording_of_the_right_one_is_refused(knowing, utterance_of):
    words = utterance_of("boris", "login").samples
    stolen = [utterance_of("ada", "enrol", number).samples for number in range(3)]
    spliced = Utterance(np.concatenate([words, *stolen, *stolen]))
    decision = knowing().verify("ada", spliced)
    assert decision.voice.score >= decision.voice.score_threshold
    assert not decision.accepted
    assert decision.reason.startswith("Part of the recording is not ada's voice.")


def test_without_words_to_expect_the_voice_alone_is_judged_and_said_to_be(knowing, utterance_of):
    decision = knowing().verify("boris", utterance_of("boris", "login"))
    assert decision.accepted
    assert decision.words is None
    assert decision.recognizer == ""
    assert "words were not checked" in decision.reason
    assert decision.as_json()["words"] == "not checked"


def test_a_passphrase_is_expected_unless_other_words_are(knowing, utterance_of, said):
    by_passphrase = knowing().verify("clara", utterance_of("clara", "passphrase1"))
    assert by_passphrase.accepted
    assert not knowing().verify("clara", utterance_of("clara", "login")).accepted
    prompted = utterance_of("clara", "login")
    assert knowing().verify("clara", prompted, expected=said("clara", "login")).accepted


@pytest.mark.parametrize(("person", "purpose"), [("clara", "passphrase1"), ("boris", "login")])
def test_a_passphrase_is_never_told(knowing, utterance_of, person, purpose):
    for decision in (
        knowing().verify("clara", utterance_of(person, purpose)),
        knowing().verify_anyone(utterance_of(person, purpose)),
    ):
        told = json.dumps(decision.as_json()).replace(decision.source, "")
        assert not {"river", "quietly", "mill"} & set(told.replace('"', " ").split())
        if decision.words:
            assert (decision.words.expected, decision.words.heard) == ("", "")


def test_an_unknown_name_is_answered_like_a_wrong_voice(knowing, utterance_of, said):
    login, words = utterance_of("edgar", "login"), said("edgar", "login")
    known = knowing().verify("boris", login, expected=words)
    unknown = knowing().verify("zoe", login, expected=words)
    assert not known.accepted
    assert not unknown.accepted
    assert unknown.reason == known.reason.replace("boris", "zoe")
    keys = [field.name for field in fields(known)]
    assert [field.name for field in fields(unknown)] == keys
    one, other = known.as_json(), unknown.as_json()
    assert shape_of(one) == shape_of(other)
    assert (one["claimed"], other["claimed"]) == ("boris", "zoe")


def shape_of(plain):
    if isinstance(plain, dict):
        return {key: shape_of(value) for key, value in plain.items()}
    return type(plain).__name__


def test_a_refusal_does_not_tell_how_a_name_is_stored(empty, three_phrases, utterance_of):
    empty.enroll("Boris", three_phrases("boris"))
    refused = empty.verify("BORIS", utterance_of("edgar", "login"))
    assert refused.claimed == "BORIS"
    assert "BORIS's" in refused.reason
    assert empty.verify("BORIS", utterance_of("boris", "login")).person == "Boris"


def test_an_unknown_name_is_nobody_however_often_it_is_asked_for(knowing, utterance_of):
    one, again = (knowing().verify(name, utterance_of("ada", "login")) for name in ("zoe", "ZOE"))
    assert one.voice == again.voice
    other = knowing().verify("yvonne", utterance_of("ada", "login"))
    assert one.voice.similarity != other.voice.similarity


@pytest.mark.parametrize("name", [f"stranger {number}" for number in range(40)])
def test_an_unknown_name_lets_nobody_in(knowing, utterance_of, name):
    membrane = knowing(threshold=0.0)  # at which every voice is alike
    for person in ("ada", "edgar"):
        assert not membrane.verify(name, utterance_of(person, "login")).accepted


def test_somebody_is_verified_in_an_empty_database_as_nobody(empty, utterance_of):
    decision = empty.verify("ada", utterance_of("ada", "login"))
    assert not decision.accepted
    assert not empty.store.path.exists()


@pytest.mark.parametrize("name", ["ada", "boris", "zoe"])
def test_silence_is_refused_before_anything_is_compared(knowing, name):
    with pytest.raises(PoorQuality, match=r"hiss\.wav: I heard no speech"):
        knowing().verify(name, nearly_silent())


def test_the_euclidean_threshold_says_the_same_in_other_numbers(knowing, utterance_of):
    for person in ("boris", "edgar"):
        login = utterance_of(person, "login")
        by_cosine = knowing().verify("boris", login)
        by_distance = knowing(metric="euclidean").verify("boris", login)
        assert by_distance.accepted == by_cosine.accepted
        assert by_distance.voice.metric == "euclidean"
        assert by_distance.voice.score == by_cosine.voice.score
        distance = cosine_to_distance(by_cosine.voice.value)
        assert by_distance.voice.value == pytest.approx(distance)


def test_a_threshold_of_ones_own_decides(knowing, utterance_of):
    login = utterance_of("boris", "login")
    found = knowing().verify("boris", login).voice.similarity
    assert knowing(threshold=found - 0.001).verify("boris", login).accepted
    assert not knowing(threshold=found + 0.001).verify("boris", login).accepted
    distance = cosine_to_distance(found)
    near, far = (
        knowing(metric="euclidean", threshold=distance + step).verify("boris", login)
        for step in (0.001, -0.001)
    )
    assert near.accepted
    assert not far.accepted


def test_strict_needs_more_than_balanced(knowing, utterance_of, said):
    login = utterance_of("ada", "login")
    balanced, strict = (
        knowing(security=level).verify("ada", login, expected=said("ada", "login"))
        for level in ("balanced", "strict")
    )
    assert strict.voice.score_threshold > balanced.voice.score_threshold
    assert strict.words.threshold > balanced.words.threshold
    assert strict.security == "strict"


# ---- Anyone


@pytest.mark.parametrize("person", ["ada", "clara"])
def test_a_passphrase_finds_its_owner_whose_voice_is_then_verified(knowing, utterance_of, person):
    decision = knowing().verify_anyone(utterance_of(person, "passphrase1"))
    assert decision.accepted
    assert decision.person == decision.claimed == person


def test_what_is_nobodys_passphrase_finds_nobody(knowing, utterance_of):
    decision = knowing().verify_anyone(utterance_of("boris", "passphrase1"))
    assert not decision.accepted
    assert decision.claimed == decision.person == ""
    assert decision.reason == NOBODY
    assert decision.voice is None


def test_somebody_elses_passphrase_does_not_let_in(empty, three_phrases, utterance_of):
    empty.enroll("boris", three_phrases("boris"), passphrase=PASSPHRASES["clara"])
    decision = empty.verify_anyone(utterance_of("clara", "passphrase1"))
    assert not decision.accepted
    assert decision.claimed == "boris"
    assert not decision.voice.accepted


def test_whose_passphrase_was_said_is_not_told_to_another_voice(
    three_phrases, utterance_of, tmp_path
):
    hiding = {"scores": "hide", "lockout": "on", "log": "on"}
    membrane = membrane_with(database=tmp_path / "voiceprints.joblib", **hiding)
    membrane.enroll("boris", three_phrases("boris"), passphrase=PASSPHRASES["clara"])
    waiting = membrane.guard.attempts
    told = [membrane.verify_anyone(utterance_of("clara", "passphrase1"))]
    for _ in range(4):
        waiting.begin("boris")
    told.append(membrane.verify_anyone(utterance_of("clara", "passphrase1")))
    told.append(membrane.verify_anyone(utterance_of("ada", "passphrase1")))
    of_each = ("quality", "source", "timings")
    plain = [
        {name: value for name, value in one.as_json().items() if name not in of_each}
        for one in told
    ]
    assert plain[0] == plain[1] == plain[2]
    assert told[0].reason == NOBODY
    assert len(waiting.state_of("")["failures"]) == 3
    *_, wrong_voice, locked, nobody = membrane.guard.log.entries()
    assert wrong_voice["who"] == locked["who"] == membrane.store.get("boris").id != nobody["who"]


def test_of_two_people_with_one_passphrase_the_voice_decides(empty, three_phrases, utterance_of):
    for person in ("boris", "clara"):
        empty.enroll(person, three_phrases(person), passphrase=PASSPHRASES["clara"])
    assert empty.verify_anyone(utterance_of("clara", "passphrase1")).person == "clara"


def test_where_nobody_has_a_passphrase_that_is_said(empty, three_phrases, utterance_of):
    empty.enroll("boris", three_phrases("boris"))
    with pytest.raises(UsageError, match="nobody has a passphrase"):
        empty.verify_anyone(utterance_of("boris", "login"))


# ---- Identification


@pytest.mark.parametrize("person", ["ada", "boris", "clara"])
def test_somebody_known_is_identified(knowing, utterance_of, person):
    decision = knowing().identify(utterance_of(person, "login", 1))
    assert decision.accepted
    assert decision.person == decision.candidates[0].name == person
    assert decision.reason == f"This is {person}."
    assert len(decision.candidates) == 3
    alike = [candidate.similarity for candidate in decision.candidates]
    assert alike == sorted(alike, reverse=True)
    assert decision.voice.similarity == pytest.approx(alike[0], abs=1e-6)


@pytest.mark.parametrize("person", ["edgar", "farid"])
def test_a_stranger_is_nobody_known(knowing, utterance_of, person):
    decision = knowing().identify(utterance_of(person, "login"))
    assert not decision.accepted
    assert decision.person == ""
    assert decision.reason == "This is nobody I know."
    assert len(decision.candidates) == 3


@pytest.mark.parametrize(("top_n", "named"), [(1, 1), (2, 2), (10, 3)])
def test_as_many_are_named_as_asked_for(knowing, utterance_of, top_n, named):
    decision = knowing().identify(utterance_of("ada", "login"), top_n=top_n)
    assert len(decision.candidates) == named
    assert decision.candidates[0].name == "ada"


def test_where_nobody_is_enrolled_nobody_is_identified(empty, utterance_of):
    decision = empty.identify(utterance_of("ada", "login"))
    assert not decision.accepted
    assert decision.reason == "Nobody is enrolled yet."
    assert (decision.candidates, decision.voice) == ((), None)


# ---- Comparison


def test_two_recordings_of_one_person_sound_alike(empty, utterance_of):
    one, other = utterance_of("farid", "login", 0), utterance_of("farid", "login", 1)
    decision = empty.compare(one, other)
    assert decision.accepted
    assert decision.reason == "They sound like one person."
    assert decision.source == f"{one.source} {other.source}"
    assert empty.compare(other, one).voice.similarity == pytest.approx(
        decision.voice.similarity, abs=1e-6
    )
    assert not empty.store.path.exists()


def test_two_people_do_not(empty, utterance_of):
    decision = empty.compare(utterance_of("farid", "login"), utterance_of("ada", "login"))
    assert not decision.accepted
    assert decision.reason == "They sound like two people."


def test_each_recording_of_a_comparison_must_be_good_enough(empty, utterance_of):
    for pair in ((0, 1), (1, 0)):
        both = (utterance_of("farid", "login"), nearly_silent())
        with pytest.raises(PoorQuality, match=r"hiss\.wav"):
            empty.compare(*(both[place] for place in pair))


# ---- All of them


def test_every_decision_is_plain_json(knowing, empty, utterance_of):
    login = utterance_of("ada", "login")
    for decision in (
        knowing().verify("ada", login),
        knowing().verify("zoe", login, expected="1 2 3 4 5 6"),
        knowing().verify_anyone(utterance_of("ada", "passphrase1")),
        knowing().identify(login),
        empty.identify(login),
        empty.compare(login, login),
    ):
        plain = decision.as_json()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_decision_changes_nothing_in_the_database(known, tmp_path, utterance_of):
    database = tmp_path / "voiceprints.joblib"
    shutil.copy(known, database)
    before = database.read_bytes()
    membrane = membrane_with(database=database)
    membrane.verify("ada", utterance_of("boris", "login"))
    membrane.identify(utterance_of("boris", "login"))
    assert database.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voiceprints.joblib"]


@pytest.mark.parametrize("encoder", ["resemblyzer", "membrane"])
def test_engines_can_be_loaded_beforehand(encoder):
    load_encoder.cache_clear()
    membrane = Membrane(Settings(encoder=encoder), processes=0)
    membrane.preload()
    assert "recognizer" in vars(membrane.words)
    assert "session" in vars(membrane.voice.encoder)


def test_the_voice_of_another_encoder_is_loaded_instead_where_it_is_needed(empty):
    heard = []
    empty.preload(SimpleNamespace(embed=heard.append))
    assert len(heard) == 1


def test_a_transcript_has_the_words_that_were_said(empty, utterance_of):
    heard = empty.transcribe(utterance_of("clara", "passphrase1")).split()
    said = ["the", "river", "runs", "quietly", "past", "old", "mill"]
    assert len(set(heard) & set(said)) >= 3


def test_settings_come_from_the_environment_unless_given(monkeypatch):
    monkeypatch.setenv("MEMBRANE_SECURITY", "strict")
    assert Membrane().settings.strict
    assert not Membrane(Settings()).settings.strict
