import json
import shutil
from dataclasses import fields
from functools import cache

import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.authenticator import NOBODY, Membrane
from membrane.errors import (
    Disagreement,
    InvalidName,
    NameTaken,
    PoorQuality,
    UnknownName,
    UsageError,
)
from membrane.settings import Settings
from membrane.voice.scoring import cosine_to_distance, similarity
from tests.conftest import UNGUARDED

PASSPHRASES = {
    "ada": "open the door because my voice is my key",
    "clara": "the river runs quietly past the old mill",
}


@pytest.fixture(scope="module")
def examined(engines, utterance_of):
    """Return a recording as it is examined for an enrolment, once."""

    @cache
    def examine(person, purpose="enrol", number=0):
        return engines.examine(utterance_of(person, purpose, number), enrolling=True)

    return examine


@pytest.fixture(scope="module")
def three_phrases(examined):
    return lambda person: [examined(person, "enrol", number) for number in range(3)]


def membrane_with(engines, **settings):
    membrane = Membrane(Settings(**{**UNGUARDED, **settings}))
    membrane.encoder, membrane.recognizer = engines.encoder, engines.recognizer
    return membrane


@pytest.fixture
def membrane(engines, tmp_path):
    """Return a Membrane that knows nobody."""
    return membrane_with(engines, database=tmp_path / "voiceprints.joblib")


@pytest.fixture(scope="module")
def known(engines, three_phrases, tmp_path_factory):
    """Return the database of ada and clara, who have passphrases, and boris, who has none."""
    database = tmp_path_factory.mktemp("known") / "voiceprints.joblib"
    membrane = membrane_with(engines, database=database)
    for person in ("ada", "boris", "clara"):
        membrane.enroll(person, three_phrases(person), passphrase=PASSPHRASES.get(person, ""))
    return database


@pytest.fixture
def knowing(engines, known):
    """Return a Membrane that knows ada, boris and clara: ``knowing(metric="euclidean")``."""
    return lambda **settings: membrane_with(engines, database=known, **settings)


@pytest.fixture
def said(recording, words_of):
    return lambda person, purpose, number=0: words_of(recording(person, purpose, number))


def nearly_silent(seconds=3):
    hiss = np.random.default_rng(2).normal(0, 1e-3, seconds * SAMPLE_RATE)
    return Utterance(hiss.astype(np.float32), source="hiss.wav")


# ---- Enrolment


def test_somebody_enrolled_is_stored_with_all_that_is_known_of_each_phrase(
    membrane, three_phrases, recording
):
    enrolment = membrane.enroll("Ada", three_phrases("ada"))
    stored = membrane.store.get("ada")
    assert (stored.name, stored.encoder, stored.passphrase) == ("Ada", Settings.encoder, "")
    assert len(stored.id) == 32
    assert len(stored.utterances) == 3
    first = stored.utterances[0]
    assert first.source == str(recording("ada", "enrol", 0))
    assert first.source_rate == 16_000
    assert first.quality.speech_s > 1.5
    assert enrolment.also_known_as == ""
    np.testing.assert_array_equal(enrolment.voiceprint.vector, stored.vector)


def test_a_voiceprint_by_resemblyzer_is_the_mean_of_the_partials_of_all_phrases(
    tmp_path, utterance_of
):
    membrane = Membrane(Settings(encoder="resemblyzer", database=tmp_path / "voiceprints.joblib"))
    said = [utterance_of("ada", "enrol", number) for number in range(3)]
    phrases = [membrane.examine(one, enrolling=True) for one in said]
    voiceprint = membrane.enroll("ada", phrases).voiceprint
    mean = np.concatenate([phrase.embedding.partials for phrase in phrases]).mean(axis=0)
    np.testing.assert_allclose(voiceprint.vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_consent_is_dated_now(membrane, three_phrases):
    voiceprint = membrane.enroll("ada", three_phrases("ada")).voiceprint
    assert voiceprint.consent_at[:13] == voiceprint.created_at[:13]


def test_a_name_is_taken_whatever_its_case(membrane, three_phrases):
    assert membrane.check_name_is_free(" Ada ") == "Ada"
    membrane.enroll("Ada", three_phrases("ada"))
    with pytest.raises(NameTaken, match="is enrolled already"):
        membrane.enroll("ADA", three_phrases("boris"))
    with pytest.raises(NameTaken, match="--replace"):
        membrane.check_name_is_free("ada")
    ada = three_phrases("ada")[0].embedding.vector
    assert similarity(membrane.store.get("ada").vector, ada) > 0.9


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 65])
def test_a_name_that_nobody_may_have_is_refused(membrane, three_phrases, name):
    for refuse in (
        membrane.check_name_is_free,
        lambda name: membrane.enroll(name, three_phrases("ada")),
        lambda name: membrane.verify(name, nearly_silent()),
    ):
        with pytest.raises(InvalidName):
            refuse(name)
    assert not membrane.store.path.exists()


def test_somebody_may_be_replaced_and_nobody_else_is(membrane, three_phrases):
    membrane.enroll("ada", three_phrases("ada"))
    membrane.enroll("clara", three_phrases("clara"))
    membrane.enroll("ada", three_phrases("boris"), replace_existing=True)
    boris = three_phrases("boris")[0].embedding.vector
    assert similarity(membrane.store.get("ada").vector, boris) > 0.9
    assert similarity(membrane.store.get("clara").vector, boris) < 0.7
    membrane.enroll("new", three_phrases("edgar"), replace_existing=True)
    assert len(membrane.store.gallery()) == 3


def test_one_phrase_is_enough(membrane, examined, utterance_of):
    membrane.enroll("edgar", [examined("edgar")])
    assert membrane.verify("edgar", utterance_of("edgar", "login")).accepted


def test_nobody_is_enrolled_without_a_phrase(membrane):
    with pytest.raises(UsageError, match="without a recording"):
        membrane.enroll("ada", [])


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_another_speaker_among_the_phrases_is_refused_by_file(
    membrane, three_phrases, examined, recording, place
):
    phrases = three_phrases("ada")
    phrases.insert(place, examined("boris"))
    assert membrane.find_outlier(phrases) == place
    with pytest.raises(Disagreement, match="does not sound like the other phrases") as refused:
        membrane.enroll("ada", phrases)
    assert str(recording("boris", "enrol")) in str(refused.value)
    assert membrane.store.get("ada") is None


def test_two_people_in_two_phrases_are_refused(membrane, examined):
    with pytest.raises(Disagreement):
        membrane.enroll("ada", [examined("ada"), examined("edgar")])


@pytest.mark.parametrize("person", ["ada", "boris", "clara", "edgar", "farid"])
def test_phrases_of_one_person_agree(membrane, three_phrases, person):
    assert membrane.find_outlier(three_phrases(person)) is None
    assert membrane.find_outlier(three_phrases(person)[:1]) is None


def test_a_voice_that_is_enrolled_under_another_name_is_warned_of(membrane, three_phrases):
    membrane.enroll("boris", three_phrases("boris"))
    membrane.enroll("ada", three_phrases("ada"))
    assert membrane.enroll("alias", three_phrases("ada")[:2]).also_known_as == "ada"
    assert membrane.enroll("clara", three_phrases("clara")).also_known_as == ""


def test_phrases_can_be_added_later(membrane, examined, three_phrases):
    membrane.enroll("ada", three_phrases("ada")[:1], passphrase="one two three")
    enrolment = membrane.add_phrases("ADA", three_phrases("ada")[1:])
    assert enrolment.also_known_as == ""
    stored = membrane.store.get("ada")
    assert len(stored.utterances) == 3
    assert stored.passphrase == "one two three"
    together = membrane.enroll("other", three_phrases("ada")).voiceprint
    np.testing.assert_allclose(stored.vector, together.vector, atol=1e-6)


def test_phrases_of_somebody_else_are_not_added(membrane, examined, three_phrases):
    membrane.enroll("ada", three_phrases("ada"))
    with pytest.raises(Disagreement, match="does not sound like ada"):
        membrane.add_phrases("ada", [examined("ada", "login"), examined("boris")])
    assert len(membrane.store.get("ada").utterances) == 3


def test_nothing_is_added_to_somebody_unknown(membrane, examined):
    with pytest.raises(UnknownName):
        membrane.add_phrases("ada", [examined("ada")])


# ---- Verification


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


def test_a_refusal_does_not_tell_how_a_name_is_stored(membrane, three_phrases, utterance_of):
    membrane.enroll("Boris", three_phrases("boris"))
    refused = membrane.verify("BORIS", utterance_of("edgar", "login"))
    assert refused.claimed == "BORIS"
    assert "BORIS's" in refused.reason
    assert membrane.verify("BORIS", utterance_of("boris", "login")).person == "Boris"


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


def test_somebody_is_verified_in_an_empty_database_as_nobody(membrane, utterance_of):
    decision = membrane.verify("ada", utterance_of("ada", "login"))
    assert not decision.accepted
    assert not membrane.store.path.exists()


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


def test_somebody_elses_passphrase_does_not_let_in(engines, membrane, three_phrases, utterance_of):
    membrane.enroll("boris", three_phrases("boris"), passphrase=PASSPHRASES["clara"])
    decision = membrane.verify_anyone(utterance_of("clara", "passphrase1"))
    assert not decision.accepted
    assert decision.claimed == "boris"
    assert not decision.voice.accepted


def test_whose_passphrase_was_said_is_not_told_to_another_voice(
    engines, three_phrases, utterance_of, tmp_path
):
    hiding = {"scores": "hide", "lockout": "on", "log": "on"}
    membrane = membrane_with(engines, database=tmp_path / "voiceprints.joblib", **hiding)
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


def test_of_two_people_with_one_passphrase_the_voice_decides(membrane, three_phrases, utterance_of):
    for person in ("boris", "clara"):
        membrane.enroll(person, three_phrases(person), passphrase=PASSPHRASES["clara"])
    assert membrane.verify_anyone(utterance_of("clara", "passphrase1")).person == "clara"


def test_where_nobody_has_a_passphrase_that_is_said(membrane, three_phrases, utterance_of):
    membrane.enroll("boris", three_phrases("boris"))
    with pytest.raises(UsageError, match="nobody has a passphrase"):
        membrane.verify_anyone(utterance_of("boris", "login"))


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


def test_where_nobody_is_enrolled_nobody_is_identified(membrane, utterance_of):
    decision = membrane.identify(utterance_of("ada", "login"))
    assert not decision.accepted
    assert decision.reason == "Nobody is enrolled yet."
    assert (decision.candidates, decision.voice) == ((), None)


# ---- Comparison


def test_two_recordings_of_one_person_sound_alike(membrane, utterance_of):
    one, other = utterance_of("farid", "login", 0), utterance_of("farid", "login", 1)
    decision = membrane.compare(one, other)
    assert decision.accepted
    assert decision.reason == "They sound like one person."
    assert decision.source == f"{one.source} {other.source}"
    assert membrane.compare(other, one).voice.similarity == pytest.approx(
        decision.voice.similarity, abs=1e-6
    )
    assert not membrane.store.path.exists()


def test_two_people_do_not(membrane, utterance_of):
    decision = membrane.compare(utterance_of("farid", "login"), utterance_of("ada", "login"))
    assert not decision.accepted
    assert decision.reason == "They sound like two people."


def test_each_recording_of_a_comparison_must_be_good_enough(membrane, utterance_of):
    for pair in ((0, 1), (1, 0)):
        both = (utterance_of("farid", "login"), nearly_silent())
        with pytest.raises(PoorQuality, match=r"hiss\.wav"):
            membrane.compare(*(both[place] for place in pair))


# ---- All of them


def test_every_decision_is_plain_json(knowing, membrane, utterance_of):
    login = utterance_of("ada", "login")
    for decision in (
        knowing().verify("ada", login),
        knowing().verify("zoe", login, expected="1 2 3 4 5 6"),
        knowing().verify_anyone(utterance_of("ada", "passphrase1")),
        knowing().identify(login),
        membrane.identify(login),
        membrane.compare(login, login),
    ):
        plain = decision.as_json()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_decision_changes_nothing_in_the_database(engines, known, tmp_path, utterance_of):
    database = tmp_path / "voiceprints.joblib"
    shutil.copy(known, database)
    before = database.read_bytes()
    membrane = membrane_with(engines, database=database)
    membrane.verify("ada", utterance_of("boris", "login"))
    membrane.identify(utterance_of("boris", "login"))
    assert database.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["voiceprints.joblib"]
