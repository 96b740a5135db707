import json
import os
import shutil

import numpy as np
import pytest

from membrane.__main__ import run
from membrane.errors import (
    Disagreement,
    LockedOut,
    NameTaken,
    NotTheOwner,
    StoreDamaged,
    UnknownName,
    UsageError,
)
from membrane.login.membrane import Membrane
from membrane.settings import Settings
from membrane.terminal import conversation as session
from membrane.terminal import tasks
from membrane.terminal.console import View
from membrane.terminal.tasks import Tasks
from membrane.voice.scoring import similarity

DAY = "2999-12-31"


@pytest.fixture(scope="module")
def known(phrases, tmp_path_factory):
    """Return the folder of a database of ada, who was enrolled by two phrases."""
    database = tmp_path_factory.mktemp("known") / "voiceprints.joblib"
    membrane = Membrane(Settings(database=database), processes=0)
    membrane.enroll("ada", [phrases("ada", 0), phrases("ada", 1)])
    return database.parent


@pytest.fixture
def membrane(known, tmp_path):
    """Return a Membrane that knows ada."""
    folder = shutil.copytree(known, tmp_path / "known")
    return Membrane(Settings(database=folder / "voiceprints.joblib"), processes=0)


@pytest.fixture
def another_user(monkeypatch):
    """Be somebody who owns no file here."""

    def be():
        monkeypatch.setattr(os, "geteuid", lambda: 54321)

    return be


def failures(membrane, name="ada"):
    return len(membrane.guard.attempts.state_of(name)["failures"])


def fail(membrane, times=1, name="ada"):
    for _ in range(times):
        membrane.guard.attempts.begin(name)


def told(membrane):
    return [(one["event"], one["who"]) for one in membrane.guard.log.entries()]


# ---- Who is enrolled


def test_somebody_enrolled_is_stored_with_all_that_is_known_of_each_phrase(
    empty, three_phrases, recording
):
    enrolment = empty.enroll("Ada", three_phrases("ada"))
    stored = empty.store.get("ada")
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


def test_consent_is_dated_now(empty, three_phrases):
    voiceprint = empty.enroll("ada", three_phrases("ada")).voiceprint
    assert voiceprint.consent_at[:13] == voiceprint.created_at[:13]


def test_a_name_is_taken_whatever_its_case(empty, three_phrases):
    assert empty.check_name_is_free(" Ada ") == "Ada"
    empty.enroll("Ada", three_phrases("ada"))
    with pytest.raises(NameTaken, match="is enrolled already"):
        empty.enroll("ADA", three_phrases("boris"))
    with pytest.raises(NameTaken, match="--replace"):
        empty.check_name_is_free("ada")
    ada = three_phrases("ada")[0].embedding.vector
    assert similarity(empty.store.get("ada").vector, ada) > 0.9


def test_somebody_may_be_replaced_and_nobody_else_is(empty, three_phrases):
    empty.enroll("ada", three_phrases("ada"))
    empty.enroll("clara", three_phrases("clara"))
    empty.enroll("ada", three_phrases("boris"), replace_existing=True)
    boris = three_phrases("boris")[0].embedding.vector
    assert similarity(empty.store.get("ada").vector, boris) > 0.9
    assert similarity(empty.store.get("clara").vector, boris) < 0.7
    empty.enroll("new", three_phrases("edgar"), replace_existing=True)
    assert len(empty.store.gallery()) == 3


def test_one_phrase_is_enough(empty, phrases, utterance_of):
    empty.enroll("edgar", [phrases("edgar")])
    assert empty.verify("edgar", utterance_of("edgar", "login")).accepted


def test_nobody_is_enrolled_without_a_phrase(empty):
    with pytest.raises(UsageError, match="without a recording"):
        empty.enroll("ada", [])


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_another_speaker_among_the_phrases_is_refused_by_file(
    empty, three_phrases, phrases, recording, place
):
    given = three_phrases("ada")
    given.insert(place, phrases("boris"))
    assert empty.find_outlier(given) == place
    with pytest.raises(Disagreement, match="does not sound like the other phrases") as refused:
        empty.enroll("ada", given)
    assert str(recording("boris", "enrol")) in str(refused.value)
    assert empty.store.get("ada") is None


def test_two_people_in_two_phrases_are_refused(empty, phrases):
    with pytest.raises(Disagreement):
        empty.enroll("ada", [phrases("ada"), phrases("edgar")])


@pytest.mark.parametrize("person", ["ada", "boris", "clara", "edgar", "farid"])
def test_phrases_of_one_person_agree(empty, three_phrases, person):
    assert empty.find_outlier(three_phrases(person)) is None
    assert empty.find_outlier(three_phrases(person)[:1]) is None


def test_a_voice_that_is_enrolled_under_another_name_is_warned_of(empty, three_phrases):
    empty.enroll("boris", three_phrases("boris"))
    empty.enroll("ada", three_phrases("ada"))
    assert empty.enroll("alias", three_phrases("ada")[:2]).also_known_as == "ada"
    assert empty.enroll("clara", three_phrases("clara")).also_known_as == ""


def test_phrases_can_be_added_later(empty, phrases, three_phrases):
    empty.enroll("ada", three_phrases("ada")[:1], passphrase="one two three")
    enrolment = empty.add_phrases("ADA", three_phrases("ada")[1:])
    assert enrolment.also_known_as == ""
    stored = empty.store.get("ada")
    assert len(stored.utterances) == 3
    assert stored.passphrase == "one two three"
    together = empty.enroll("other", three_phrases("ada")).voiceprint
    np.testing.assert_allclose(stored.vector, together.vector, atol=1e-6)


def test_nothing_is_added_to_somebody_unknown(empty, phrases):
    with pytest.raises(UnknownName):
        empty.add_phrases("ada", [phrases("ada")])


# ---- What is kept of it


def test_somebody_enrolled_is_written_down_as_a_number(membrane, phrases):
    boris = membrane.enroll("boris", [phrases("boris")]).voiceprint
    ada = membrane.store.get("ada")
    assert told(membrane) == [("enrolled", ada.id), ("enrolled", boris.id)]
    assert ada.id != boris.id


def test_every_phrase_of_an_enrolment_is_known_again(membrane, phrases):
    stored = membrane.store.get("ada").utterances
    expected = [phrases("ada", number).fingerprint.to_bytes() for number in (0, 1)]
    assert [one.fingerprint for one in stored] == expected
    assert all(expected)


def test_the_last_day_of_a_record_is_stored(membrane, phrases):
    assert membrane.store.get("ada").keep_until == ""
    kept = membrane.enroll("boris", [phrases("boris")], keep_until=DAY).voiceprint
    assert kept.keep_until == membrane.store.get("boris").keep_until == DAY


# ---- Adding


def test_phrases_of_the_person_are_added_and_no_failure_is_forgotten_for_them(membrane, phrases):
    fail(membrane, 3)
    voiceprint = membrane.add_phrases("ada", [phrases("ada", 2)]).voiceprint
    assert len(voiceprint.utterances) == 3
    assert failures(membrane) == 3
    *_, last = membrane.guard.log.entries()
    assert (last["event"], last["who"], last["phrases"]) == ("added", voiceprint.id, 1)


def test_another_voice_is_not_added_and_has_failed(membrane, phrases):
    before = membrane.store.path.read_bytes()
    with pytest.raises(Disagreement, match="does not sound like ada"):
        membrane.add_phrases("ada", [phrases("ada", 2), phrases("boris")])
    assert membrane.store.path.read_bytes() == before
    assert failures(membrane) == 1
    *_, last = membrane.guard.log.entries()
    assert (last["event"], last["who"]) == ("added", membrane.store.get("ada").id)
    assert (last["accepted"], last["refused_by"]) == (False, ["phrases"])


def test_five_voices_that_were_not_added_let_the_person_wait_too(membrane, phrases):
    for _ in range(5):
        with pytest.raises(Disagreement):
            membrane.add_phrases("ada", [phrases("boris")])
    with pytest.raises(LockedOut):
        membrane.add_phrases("ada", [phrases("ada", 2)])
    with pytest.raises(LockedOut):
        membrane.guard.require_open(membrane.claim("ada"))
    assert len(membrane.store.get("ada").utterances) == 2


def test_whoever_must_wait_is_not_asked_for_phrases_to_add(membrane, monkeypatch):
    monkeypatch.setattr(session, "Session", lambda *_, **__: pytest.fail("the microphone opened"))
    fail(membrane, 5)
    with pytest.raises(LockedOut):
        Tasks(membrane, View()).enroll("ada", how="add")


def test_whoever_adds_phrases_without_the_passphrase_has_failed_and_does_not_learn_it(
    membrane_home, recording, words_of, capsys
):
    said = recording("edgar", "passphrase", 0)
    own = ["-f", str(said)]
    assert run(["enroll", "-u", "edgar", "--consent", "--phrase", words_of(said), *own]) == 0
    made = Membrane(Settings())
    adding = ["enroll", "-u", "edgar", "--add", "-f"]
    capsys.readouterr()
    for tries in range(1, 6):
        assert run([*adding, str(recording("edgar", "login"))]) == 3
        assert failures(made, "edgar") == tries
    assert run([*adding, str(recording("edgar", "passphrase", 1))]) == 1
    assert not set(words_of(said).split()) & set(capsys.readouterr().err.split())
    assert run(["unlock", "edgar"]) == 0
    assert run([*adding, str(recording("edgar", "passphrase", 1))]) == 0


def test_nothing_is_added_where_failures_cannot_be_counted(membrane, phrases):
    membrane.store.path.with_name("voiceprints.joblib.logins.sqlite").write_bytes(b"nonsense")
    with pytest.raises(StoreDamaged):
        membrane.add_phrases("ada", [phrases("ada", 2)])
    assert len(membrane.store.get("ada").utterances) == 2


def test_recordings_of_another_voice_for_another_encoder_have_failed(membrane, utterance_of):
    other = Membrane(Settings(database=membrane.store.path, encoder="membrane"))
    if membrane.store.get("ada").encoder == "membrane":
        other = Membrane(Settings(database=membrane.store.path, encoder="resemblyzer"))
    with pytest.raises(Disagreement):
        other.reencode("ada", [utterance_of("boris", "enrol")])
    assert failures(membrane) == 1
    fail(membrane, 4)
    with pytest.raises(LockedOut):
        other.reencode("ada", [utterance_of("ada", "enrol")])


# ---- Replacing


def test_whoever_owns_the_database_may_replace_somebody_who_starts_anew(membrane, phrases):
    old = membrane.store.get("ada")
    fail(membrane, 5)
    membrane.guard.attempts.remember_prompt("ada", "1 2 3")
    new = membrane.enroll("ADA", [phrases("boris")], replace_existing=True).voiceprint
    assert new.id != old.id
    assert membrane.guard.attempts.state_of("ada") == {
        "failures": [],
        "locked": False,
        "recent_prompts": [],
        "recent_recordings": [],
    }
    assert told(membrane)[-2:] == [("replaced", old.id), ("enrolled", new.id)]


def test_nobody_else_may_replace_anybody(membrane, phrases, another_user):
    before = membrane.store.path.read_bytes()
    fail(membrane)
    another_user()
    with pytest.raises(NotTheOwner):
        membrane.enroll("ada", [phrases("boris")], replace_existing=True)
    assert membrane.store.path.read_bytes() == before
    assert failures(membrane) == 1


def test_root_may_replace_somebody(membrane, phrases, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    membrane.enroll("ada", [phrases("boris")], replace_existing=True)
    boris = phrases("boris").embedding.vector
    np.testing.assert_allclose(membrane.store.get("ada").vector, boris, atol=1e-6)


def test_whoever_may_not_replace_is_refused_before_they_are_asked_anything(
    membrane, monkeypatch, another_user
):
    monkeypatch.setattr(session, "Session", lambda *_, **__: pytest.fail("the microphone opened"))
    monkeypatch.setattr(tasks, "at_terminal", lambda: pytest.fail("a question was asked"))
    another_user()
    with pytest.raises(NotTheOwner):
        Tasks(membrane, View()).enroll("ada", how="replace")


def test_replacing_by_another_user_ends_the_command_in_5(
    enrolled, recording, capsys, monkeypatch, another_user
):
    another_user()
    login = str(recording("boris", "enrol"))
    assert run(["enroll", "-u", "ada", "--replace", "--consent", "-f", login]) == 5
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("Error: only whoever owns the database ")
    assert len(error.splitlines()) == 1


# ---- Until when


@pytest.mark.parametrize("day", ["2020-01-01", "tomorrow", "2999-02-30", "31.12.2999", ""])
def test_a_day_that_is_none_or_over_is_a_usage_error(recording, answer, day):
    files = ("-f", recording("ada", "enrol"))
    assert answer("enroll", "-u", "ada", "--consent", "--keep-until", day, *files) == (2, "")


def test_the_day_does_not_change_with_the_encoder(recording, answer):
    files = ("-f", recording("ada", "enrol"))
    assert answer("enroll", "-u", "ada", "--reencode", "--keep-until", DAY, *files) == (2, "")


def test_the_day_changes_with_phrases_that_are_added_and_outlives_a_replacement(
    enrolled, recording, answer
):
    more = ("-f", recording("ada", "login"))
    assert answer("enroll", "-u", "ada", "--add", "--keep-until", DAY, *more)[0] == 0
    assert json.loads(answer("export", "ada")[1])["keep_until"] == DAY
    anew = ("-f", recording("ada", "login", 1))
    assert answer("enroll", "-u", "ada", "--replace", "--consent", *anew)[0] == 0
    assert json.loads(answer("export", "ada")[1])["keep_until"] == DAY


def test_a_recording_that_is_there_already_is_not_enrolled_again(
    enrolled, recording, answer, capsys
):
    for files in ([("edgar", "enrol", 0)] * 2, [("ada", "enrol", 0)]):
        how = "--add" if files[0][0] == "ada" else "--consent"
        given = [part for one in files for part in ("-f", str(recording(*one)))]
        assert run(["enroll", "-u", files[0][0], how, *given]) == 3
        assert "was heard before" in capsys.readouterr().err
    assert len(json.loads(answer("export", "ada")[1])["utterances"]) == 3


def test_the_day_is_stored_exported_and_warned_of_when_it_is_over(
    enrolled, recording, answer, capsys, monkeypatch
):
    files = ("-f", recording("edgar", "enrol"))
    options = ("-u", "edgar", "--consent", "--keep-until", DAY)
    assert answer("enroll", *options, *files)[0] == 0
    assert json.loads(answer("export", "edgar")[1])["keep_until"] == DAY
    assert run(["list"]) == 0
    assert capsys.readouterr().err == ""
    late(monkeypatch)
    assert run(["list", "--json"]) == 0
    warned = capsys.readouterr().err
    assert warned.startswith(f"edgar was to be kept until {DAY}, which is over: ")
    assert len(warned.splitlines()) == 1
    login = str(recording("edgar", "login"))
    assert run(["verify", "-u", "Edgar", "-f", login]) == 0
    assert capsys.readouterr().err == warned
    assert run(["verify", "-u", "edgar", "-f", str(recording("boris", "login"))]) == 1
    assert capsys.readouterr().err == ""


def late(monkeypatch):
    """Let it be the year 3000."""
    from datetime import date

    from membrane.terminal import console

    class Later(date):
        @classmethod
        def today(cls):
            return date(3000, 1, 1)

    monkeypatch.setattr(console, "date", Later)
