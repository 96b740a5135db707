import itertools
import json
import os
import runpy
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.audio.fingerprint import fingerprint_of
from membrane.audio.quality import Quality
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import (
    Disagreement,
    EngineUnavailable,
    LockedOut,
    MicrophoneUnavailable,
    PoorQuality,
    StoreDamaged,
    StoreError,
    StoreUnwritable,
    Unavailable,
)
from membrane.login.claim import Claim
from membrane.login.decision import Decision
from membrane.login.guard import ANYONE, LEAST_CHANGE, Guard, change
from membrane.phrase.prompts import random_prompt
from membrane.phrase.recognizer import PhraseMatch
from membrane.settings import Settings
from membrane.store.joblib_store import JoblibStore
from membrane.store.lockout import FREE_FAILURES, FREE_UNJUDGED
from membrane.store.login_record import REMEMBERED
from membrane.voice.voice import VoiceMatch
from tests.conftest import UNGUARDED

MAKERS = runpy.run_path(str(Path(__file__).parents[1] / "store" / "writer.py"))
QUALITY = Quality(speech_s=2.5, snr_db=30.0, level_dbfs=-24.0, clipped=0.0)
NEAR = VoiceMatch("cosine", 0.91, 0.91, None, True, 0.8, 0.65, score=9.12345, score_threshold=6.9)
FAR = replace(NEAR, accepted=False, score=-3.0)
WRONG = PhraseMatch("one two three", "two one three", False, -99.0, -30.0, "other words")
ADA = MAKERS["person"]("ada", 1, passphrase="open the green door")
NOBODY = Claim("zoe", None, None)


@pytest.fixture
def store(tmp_path):
    store = JoblibStore(tmp_path / "voiceprints.joblib")
    store.add(ADA)
    return store


@pytest.fixture
def guard(store):
    return Guard(store, Settings())


@pytest.fixture
def claim():
    return Claim.to_be(ADA)


def heard(seed=0, seconds=3):
    """Return the evidence of a recording of noise: only its fingerprint is looked at."""
    noise = np.random.default_rng(seed).normal(0, 0.1, seconds * SAMPLE_RATE)
    return SimpleNamespace(fingerprint=fingerprint_of(noise.astype(np.float32)))


def decided(voice=NEAR, **changes):
    accepted = changes.pop("accepted", voice is not None and voice.accepted)
    facts = {"claimed": "ada", "encoder": "one", "security": "balanced", **changes}
    return Decision("verify", accepted, "why", voice, QUALITY, **facts)


def failures(guard, name="ada"):
    return len(guard.attempts.state_of(name)["failures"])


def failing(guard, claim, times=1):
    for _ in range(times):
        with guard.attempt(claim) as attempt:
            attempt.end(decided(FAR), heard())


def files(store):
    return sorted(path.name for path in store.path.parent.rglob("*") if path.is_file())


# ---- A failure until something else is known


def test_a_failure_stands_on_disk_while_a_phrase_is_judged(guard, store, claim):
    with guard.attempt(claim) as attempt:
        assert failures(Guard(store, Settings())) == 1
        attempt.end(decided(), heard())
    assert failures(guard) == 0


def test_another_voice_has_failed(guard, claim):
    failing(guard, claim, 2)
    assert failures(guard) == 2


@pytest.mark.parametrize("error", [PoorQuality, Unavailable, StoreError])
def test_what_could_not_be_judged_is_no_attempt(guard, claim, error):
    failing(guard, claim)
    with pytest.raises(error), guard.attempt(claim):
        raise error("not now")
    assert failures(guard) == 1


@pytest.mark.parametrize("error", [Disagreement, KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_whoever_breaks_off_or_adds_another_voice_has_failed(guard, claim, error):
    with pytest.raises(error), guard.attempt(claim):
        raise error
    assert failures(guard) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_whoever_waits_in_silence_for_a_prompt_that_suits_them_has_failed(guard, claim):
    for _ in range(FREE_UNJUDGED):
        with pytest.raises(PoorQuality), guard.attempt(claim):
            raise PoorQuality("nobody spoke")
    assert failures(guard) == 0
    for _ in range(FREE_FAILURES):
        with pytest.raises(MicrophoneUnavailable), guard.attempt(claim):
            raise MicrophoneUnavailable("it was pulled out")
    assert failures(guard) == FREE_FAILURES
    with pytest.raises(LockedOut), guard.attempt(claim):
        pytest.fail("somebody was asked again")


def test_a_login_forgives_that_others_could_not_be_judged(guard, claim):
    for _ in range(2):
        for _ in range(FREE_UNJUDGED):
            with pytest.raises(PoorQuality), guard.attempt(claim):
                raise PoorQuality("too noisy")
        with guard.attempt(claim) as attempt:
            attempt.end(decided(), heard())
    assert failures(guard) == 0


def test_an_engine_that_is_missing_fails_nobody(guard, claim):
    for _ in range(2 * FREE_UNJUDGED):
        with pytest.raises(EngineUnavailable), guard.attempt(claim):
            raise EngineUnavailable("it is missing")
    assert failures(guard) == 0


def test_whoever_breaks_off_leaves_a_line_in_the_log(guard, claim):
    with pytest.raises(KeyboardInterrupt), guard.attempt(claim):
        raise KeyboardInterrupt
    (entry,) = guard.log.entries()
    assert (entry["accepted"], entry["refused_by"]) == (False, ["broken off"])


def test_a_process_that_is_killed_has_failed(guard, claim):
    child = os.fork()
    if not child:
        with guard.attempt(claim):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert failures(guard) == 1


def test_after_five_failures_somebody_must_wait_and_that_is_written_down(guard, claim):
    failing(guard, claim, 5)
    with pytest.raises(LockedOut, match="as ada: try again in 30 s"), guard.attempt(claim):
        pytest.fail("it was judged")
    with pytest.raises(LockedOut):
        guard.require_open(Claim.to_be(ADA))
    *_, last = guard.log.entries()
    assert (last["event"], last["who"], last["accepted"]) == ("verify", ADA.id, False)
    assert last["refused_by"] == ["lock"]
    assert failures(guard) == 5


def test_a_name_that_nobody_has_must_wait_in_the_same_way(guard):
    failing(guard, NOBODY, 5)
    with pytest.raises(LockedOut, match="as zoe: try again in 30 s"), guard.attempt(NOBODY):
        pytest.fail("it was judged")
    guard.require_open(Claim.to_be(ADA))


def test_somebody_called_anyone_does_not_answer_for_whoever_claims_no_name(guard):
    failing(guard, Claim("anyone", None, None), 5)
    guard.require_open(ANYONE)
    failing(guard, ANYONE, 5)
    with pytest.raises(LockedOut, match="too many failed logins: try again"):
        guard.require_open(ANYONE)


def test_where_failures_are_not_counted_nobody_waits(store, claim):
    guard = Guard(store, Settings(lockout="off"))
    failing(guard, claim, 7)
    guard.require_open(Claim.to_be(ADA))
    assert failures(guard) == 0


# ---- A recording that was heard before


def test_the_recording_of_an_accepted_login_is_known_again(guard, claim):
    one, other = heard(1), heard(2)
    assert not guard.heard_before(claim, one.fingerprint)
    with guard.attempt(claim) as attempt:
        attempt.end(decided(), one)
    assert guard.heard_before(claim, one.fingerprint)
    assert not guard.heard_before(claim, other.fingerprint)


def test_the_recording_of_a_refused_login_is_forgotten(guard, claim):
    with guard.attempt(claim) as attempt:
        attempt.end(decided(FAR), heard(1))
    assert not guard.heard_before(claim, heard(1).fingerprint)


def enrolled_from(recording):
    (utterance,) = ADA.utterances
    spoken = replace(utterance, fingerprint=recording.fingerprint.to_bytes())
    return replace(ADA, utterances=(spoken,))


def test_a_recording_of_the_enrolment_is_known_again(guard):
    person = enrolled_from(heard(1))
    assert guard.heard_before(Claim.to_be(person), heard(1).fingerprint)
    assert not guard.heard_before(Claim.to_be(person), heard(2).fingerprint)


def test_nobody_learns_from_a_recording_of_their_own_whom_an_unknown_name_is_led_like(guard):
    unknown = Claim("zoe", None, enrolled_from(heard(1)))
    assert not guard.heard_before(unknown, heard(1).fingerprint)


def test_where_replays_are_allowed_none_is_looked_for_or_remembered(store, claim):
    guard = Guard(store, Settings(replay="allow"))
    with guard.attempt(claim) as attempt:
        attempt.end(decided(), heard(1))
    assert not guard.heard_before(claim, heard(1).fingerprint)
    assert guard.attempts.recent_recordings("ada") == ()


def test_recordings_are_remembered_where_failures_are_not_counted(store, claim):
    guard = Guard(store, Settings(lockout="off"))
    with guard.attempt(claim) as attempt:
        attempt.end(decided(), heard(1))
    assert guard.heard_before(claim, heard(1).fingerprint)


def test_a_recording_that_is_stored_as_nonsense_lets_nobody_in(guard, store, claim):
    with guard.attempt(claim) as attempt:
        attempt.end(decided(), heard(1))
    file = store.path.with_name(f"{store.path.name}.logins.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE kept SET content = x'00' WHERE kind = 'recording'")
        connection.commit()
    with pytest.raises(StoreError), guard.attempt(claim):
        guard.heard_before(claim, heard(1).fingerprint)


@pytest.mark.parametrize("stored", [b"\x01\x00", b"\x00", b"another version"])
def test_a_fingerprint_that_is_stored_as_nonsense_lets_nobody_in(guard, stored):
    (utterance,) = ADA.utterances
    person = replace(ADA, utterances=(replace(utterance, fingerprint=stored),))
    for claim in (Claim.to_be(person), Claim("zoe", None, person)):
        with pytest.raises(StoreDamaged, match="--replace"), guard.attempt(claim):
            guard.heard_before(claim, heard(1).fingerprint)
        assert guard.attempts.state_of(claim.name)["failures"] == []


# ---- Prompts


def digits():
    return random_prompt("digits")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("1 2 3 4 5 6", "1 2 3 4 5 6", 0),
        ("1 2 3 4 5 6", "1 2 3 4 5 7", 1 / 6),
        ("1 2 3 4 5 6", "2 3 4 5 6 1", 1),
        ("1 2 3 4", "1 2 3 4 5 6 7 8", 1 / 2),
        ("1 2 3 4 5 6 7 8", "1 2 3 4", 1 / 2),
        ("river stone", "1 2 3 4 5 6", 1),
        ("1 2", "", 1),
        ("", "", 1),
    ],
)
def test_how_much_two_prompts_differ_is_told_place_by_place(one, other, expected):
    assert change(one, other) == pytest.approx(expected)


prompts = st.lists(st.sampled_from("0123456789"), min_size=1, max_size=9).map(" ".join)


@given(prompts, prompts)
def test_a_prompt_differs_from_another_as_that_does_from_it(one, other):
    assert 0 <= change(one, other) == change(other, one) <= 1
    assert change(one, one) == 0


def test_no_prompt_is_like_one_of_the_last_twenty_under_that_name(guard):
    given = [guard.fresh_prompt("ada", digits) for _ in range(30)]
    for number, prompt in enumerate(given):
        for earlier in given[max(0, number - REMEMBERED) : number]:
            assert change(prompt, earlier) >= LEAST_CHANGE
    assert guard.attempts.recent_prompts("ADA") == tuple(given[-REMEMBERED:])
    assert guard.attempts.recent_prompts("zoe") == ()


def test_a_prompt_that_was_given_lately_is_drawn_again(guard):
    drawn = iter(["1 2 3 4 5 6", "1 2 3 4 5 6", "1 2 3 4 9 9", "1 2 3 7 8 9"])
    assert guard.fresh_prompt("ada", drawn.__next__) == "1 2 3 4 5 6"
    assert guard.fresh_prompt("ada", drawn.__next__) == "1 2 3 7 8 9"


def test_a_pool_that_is_too_small_still_gives_a_prompt(guard):
    few = itertools.cycle(["1 2", "1 3"])
    given = [guard.fresh_prompt("ada", few.__next__) for _ in range(5)]
    assert set(given) <= {"1 2", "1 3"}
    assert all(given)


def test_a_prompt_is_remembered_before_it_is_shown(guard, store, monkeypatch):
    store.path.with_name(f"{store.path.name}.logins.sqlite").write_bytes(b"nonsense")
    with pytest.raises(StoreDamaged):
        guard.fresh_prompt("ada", digits)


# ---- What is written down


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few people make links")
def test_logins_through_a_link_stand_in_the_log_of_the_database(guard, store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.joblib"
    link.symlink_to(store.path)
    Guard(JoblibStore(link), Settings()).record("verify", "somebody", accepted=False)
    assert [one["who"] for one in guard.log.entries()] == ["somebody"]
    assert list(link.parent.iterdir()) == [link]


def test_a_decision_is_written_down_without_anything_that_was_said(guard, claim):
    with guard.attempt(claim) as attempt:
        attempt.end(decided(words=WRONG, accepted=False, source="ada/secret.wav"), heard())
    (entry,) = guard.log.entries()
    own = {"number", "time", "previous", "by", "hash", "mac"}
    assert {name: value for name, value in entry.items() if name not in own} == {
        "event": "verify",
        "who": ADA.id,
        "accepted": False,
        "refused_by": ["words"],
        "score": 9.123,
        "security": "balanced",
        "encoder": "one",
        "source": "file",
    }


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (decided(), []),
        (decided(FAR), ["voice"]),
        (decided(FAR, words=WRONG), ["voice", "words"]),
        (decided(replayed=True, accepted=False), ["replay"]),
        (decided(None, words=WRONG), ["voice", "words"]),
    ],
)
def test_the_log_says_what_refused(guard, claim, decision, expected):
    guard.record_decision(decision, claim)
    (entry,) = guard.log.entries()
    assert entry["refused_by"] == expected
    assert entry["score"] == (None if decision.voice is None else round(decision.voice.score, 3))


def test_a_source_that_is_the_microphone_is_told_as_such(guard, claim):
    guard.record_decision(decided(source="microphone"), claim)
    assert [one["source"] for one in guard.log.entries()] == ["microphone"]


def test_a_name_that_nobody_has_is_a_number_that_needs_the_secret(guard, store, tmp_path):
    one = guard.who(NOBODY)
    assert one.startswith("unknown ")
    assert "zoe" not in one
    assert one == guard.who(Claim("ZOE", None, None)) != guard.who(Claim("yves", None, None))
    other = JoblibStore(tmp_path / "other.joblib")
    assert one != Guard(other, Settings()).who(NOBODY)


def test_neither_names_nor_words_stand_in_any_file_beside_the_database(guard, store, claim):
    guard.fresh_prompt("zoe", lambda: "river stone")
    failing(guard, claim)
    failing(guard, NOBODY)
    with guard.attempt(claim) as attempt:
        attempt.end(decided(words=WRONG, source="/home/ada/ada.wav"), heard(3))
    told = store.path.with_name(f"{store.path.name}.log").read_bytes()
    for secret in (b'ada"', b"ada.", b"zoe", b"open the", b"green", b"two one", b"river", b".wav"):
        assert secret not in told
    counted = store.path.with_name(f"{store.path.name}.logins.sqlite").read_bytes()
    for secret in (b'ada"', b"zoe", b"open the", b"green"):  # keys have hexadecimal digits
        assert secret not in counted


def test_nothing_at_all_is_written_where_everything_is_off(store, claim):
    guard = Guard(store, Settings(**UNGUARDED))
    before = files(store)
    failing(guard, claim, 6)
    with guard.attempt(claim) as attempt:
        attempt.end(decided(), heard())
    guard.require_open(Claim.to_be(ADA))
    assert guard.fresh_prompt("ada", lambda: "1 2") == "1 2"
    assert not guard.heard_before(claim, heard().fingerprint)
    assert guard.secret == bytes(32)
    assert files(store) == before


@pytest.mark.parametrize("accepted", [True, False])
def test_nobody_is_told_a_decision_that_cannot_be_written_down(guard, store, claim, accepted):
    assert guard.secret
    store.path.with_name(f"{store.path.name}.log").mkdir()
    with pytest.raises(StoreUnwritable) as told, guard.attempt(claim) as attempt:
        attempt.end(decided(NEAR if accepted else FAR), heard(1))
    assert told.value.exit_code == 5
    assert failures(guard) == 1
    assert guard.attempts.recent_recordings("ada") == ()


def test_whoever_deletes_the_failures_leaves_a_line_in_the_log(guard, store, claim):
    failing(guard, claim)
    assert [entry["event"] for entry in guard.log.entries()] == ["verify"]
    store.path.with_name(f"{store.path.name}.logins.sqlite").unlink()
    failing(guard, claim)
    events = [entry["event"] for entry in guard.log.entries()]
    assert events == ["verify", "failures forgotten", "verify"]
    assert guard.log.verify().problems == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_nobody_is_let_in_where_the_folder_cannot_be_written(guard, store, claim):
    store.path.parent.chmod(0o500)
    with pytest.raises(StoreUnwritable), guard.attempt(claim):
        pytest.fail("it was judged")


@pytest.mark.parametrize("content", [b"", b"nonsense", json.dumps({}).encode()])
def test_nobody_is_let_in_where_the_record_of_failures_is_damaged(guard, store, claim, content):
    store.path.with_name(f"{store.path.name}.logins.sqlite").write_bytes(content)
    with pytest.raises(StoreDamaged) as told, guard.attempt(claim):
        pytest.fail("it was judged")
    assert told.value.exit_code == 5
    with pytest.raises(StoreDamaged):
        guard.require_open(Claim.to_be(ADA))
