from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.audio.quality import Quality
from membrane.errors import UsageError
from membrane.login.adapt import (
    AGEING,
    LEAST_SNR_DB,
    LEAST_SPEECH_S,
    MARGIN,
    MOST_ADAPTED,
    MOST_CLIPPED,
    STRETCH_MARGIN,
    Login,
    adapted,
    may_adapt,
    without_adaptation,
)
from membrane.login.decision import Decision
from membrane.phrase.recognizer import PhraseMatch
from membrane.store.joblib_store import JoblibStore
from membrane.store.voiceprint import EnrolledUtterance, RecordedQuality, Voiceprint
from membrane.voice.voice import VoiceMatch

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STRICT = 7.0
RIGHT = PhraseMatch("one two three", "one two three", accepted=True, score=1.0, threshold=0.0)
CLEAR = Quality(LEAST_SPEECH_S, LEAST_SNR_DB, -23.0, MOST_CLIPPED)
SURE = VoiceMatch(
    metric="cosine",
    similarity=0.9,
    value=0.9,
    threshold=None,
    accepted=True,
    stretch=0.7 + STRETCH_MARGIN,
    stretch_threshold=0.7,
    score=STRICT + MARGIN,
    score_threshold=5.0,
)
ACCEPTED = Decision("verify", True, "", SURE, CLEAR, claimed="ada", words=RIGHT, encoder="one")


def utterance(direction, *, partials=3, weight=1.0):
    vector = np.asarray(direction, np.float64)
    return EnrolledUtterance(
        vector=(vector / np.linalg.norm(vector)).astype(np.float32),
        norm=0.9,
        partials=partials,
        recorded_at="2026-01-01T00:00:00+00:00",
        quality=RecordedQuality(2.5, 30.0, -23.0, 0.0),
        weight=weight,
    )


def voice(seed, *, near=0.0, **facts):
    """Return an utterance of a random voice; `near` 1 is as like the first as a probe is."""
    spread = np.random.default_rng(seed).normal(size=256)
    spread[0] += 16 * near
    return utterance(spread, **facts)


def enrolled(utterances=3, **facts):
    spoken = [voice(number, near=1, partials=2 + number) for number in range(utterances)]
    return replace(Voiceprint.of("ada", "one", spoken), **facts)


def angle(one, other):
    return float(np.degrees(np.arccos(np.clip(one.astype(float) @ other.astype(float), -1, 1))))


@pytest.fixture
def ageing():
    return enrolled(updated_at=(NOW - AGEING).isoformat())


# Which logins


def test_a_login_beyond_doubt_renews_an_ageing_voiceprint(ageing):
    assert may_adapt(ageing, Login(ACCEPTED, SURE, STRICT), NOW)


def decided(**changes):
    return Login(replace(ACCEPTED, **changes), SURE, STRICT)


def anchored(**changes):
    return Login(ACCEPTED, replace(SURE, **changes), STRICT)


DOUBTFUL = {
    "refused": decided(accepted=False),
    "identified only": decided(command="identify"),
    "words not checked": decided(words=None),
    "wrong words": decided(words=replace(RIGHT, accepted=False)),
    "another encoder": decided(encoder="two"),
    "too short": decided(quality=replace(CLEAR, speech_s=LEAST_SPEECH_S - 0.01)),
    "too noisy": decided(quality=replace(CLEAR, snr_db=LEAST_SNR_DB - 0.1)),
    "clipped": decided(quality=replace(CLEAR, clipped=MOST_CLIPPED + 0.001)),
    "a score just below": anchored(score=STRICT + MARGIN - 0.001),
    "a score that strict accepts": anchored(score=STRICT),
    "a doubtful stretch": anchored(stretch=0.7 + STRETCH_MARGIN - 0.001),
    "a threshold of one's own": anchored(score=None, score_threshold=None, threshold=0.5),
    "a score that is not a number": anchored(score=float("nan")),
    "a calibration that does not reach strict": Login(ACCEPTED, SURE, None),
}


@pytest.mark.parametrize("login", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_login_that_leaves_any_doubt_renews_nothing(ageing, login):
    assert not may_adapt(ageing, login, NOW)


def test_what_is_like_an_adapted_voiceprint_only_does_not_renew_it(ageing):
    unlike_the_enrolled = replace(SURE, score=1.0)
    assert not may_adapt(ageing, Login(ACCEPTED, unlike_the_enrolled, STRICT), NOW)


@pytest.mark.parametrize(
    "updated_at",
    [
        (NOW - AGEING + timedelta(seconds=1)).isoformat(),
        (NOW + timedelta(days=400)).isoformat(),
        (NOW - timedelta(days=400)).replace(tzinfo=None).isoformat(),
        "long ago",
        "",
    ],
    ids=["young", "of the future", "without a zone", "no date", "empty"],
)
def test_a_voiceprint_that_is_not_known_to_be_ageing_is_left_alone(updated_at):
    voiceprint = enrolled(updated_at=updated_at)
    assert not may_adapt(voiceprint, Login(ACCEPTED, SURE, STRICT), NOW)


def test_a_renewed_voiceprint_is_young_again(ageing):
    renewed = adapted(ageing, voice(9, near=1))
    assert not may_adapt(renewed, Login(ACCEPTED, SURE, STRICT), datetime.now(UTC))


# What they do


def test_an_adapted_utterance_is_marked_and_moves_the_voiceprint_towards_it():
    before = enrolled()
    login = voice(9, near=1)
    after = adapted(before, login)
    assert [one.adapted for one in after.utterances] == [False, False, False, True]
    assert angle(after.vector, login.vector) < angle(before.vector, login.vector)
    assert (after.name, after.encoder, after.created_at) == (
        before.name,
        before.encoder,
        before.created_at,
    )


def test_five_are_kept_and_the_oldest_goes_first():
    voiceprint = enrolled()
    for number in range(MOST_ADAPTED + 2):
        voiceprint = adapted(voiceprint, voice(50 + number, near=1, partials=4 + number))
    assert [one.partials for one in voiceprint.utterances] == [2, 3, 4, *range(6, 6 + MOST_ADAPTED)]


logins = st.lists(
    st.builds(
        voice,
        st.integers(0, 10**6),
        near=st.floats(-1, 1),
        partials=st.integers(1, 500),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(logins)
def test_undoing_gives_the_enrolled_vector_bit_for_bit(spoken):
    before = enrolled()
    voiceprint = before
    for login in spoken:
        voiceprint = adapted(voiceprint, login)
    undone = without_adaptation(voiceprint)
    assert undone.vector.tobytes() == before.vector.tobytes()
    assert undone.utterances == before.utterances


@settings(max_examples=60, deadline=None)
@given(logins)
def test_however_long_logins_are_they_weigh_no_more_than_the_enrolment(spoken):
    voiceprint = before = enrolled()
    for login in spoken:
        voiceprint = adapted(voiceprint, login)
    kept = [one for one in voiceprint.utterances if one.adapted]
    whole = np.linalg.norm(sum(one.partial_sum for one in before.utterances))
    added = [np.linalg.norm(one.weight * one.partial_sum) for one in kept]
    assert sum(added) <= whole * (1 + 1e-9)
    assert max(added) <= whole / MOST_ADAPTED * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 1))
def test_a_voice_that_is_taken_for_the_persons_moves_it_half_of_the_way_at_most(seed, near):
    before = voiceprint = enrolled()
    attacker = voice(seed, near=near, partials=500)
    for _ in range(20):
        voiceprint = adapted(voiceprint, attacker)
    way = angle(before.vector, attacker.vector)
    assert angle(before.vector, voiceprint.vector) <= way / 2 + 0.1


def test_a_voiceprint_that_no_login_renewed_is_returned_as_it_is():
    voiceprint = enrolled()
    assert without_adaptation(voiceprint) is voiceprint


def test_phrases_that_are_added_later_stay_when_the_logins_are_undone():
    added = voice(11, near=1)
    both = adapted(enrolled(), voice(9, near=1)).with_utterance(added)
    undone = without_adaptation(both)
    assert undone.vector.tobytes() == enrolled().with_utterance(added).vector.tobytes()


def test_logins_alone_are_no_voiceprint():
    renewed = adapted(enrolled(1), voice(9, near=1))
    with pytest.raises(UsageError):
        without_adaptation(renewed.reencoded(renewed.encoder, renewed.utterances[1:]))


def test_undoing_is_possible_after_the_database_was_written_and_read(tmp_path):
    store = JoblibStore(tmp_path / "voiceprints.joblib")
    before = enrolled()
    store.add(before)
    store.update("ada", lambda one: adapted(one, voice(9, near=1)))
    store.update("ada", without_adaptation)
    assert store.get("ada").vector.tobytes() == before.vector.tobytes()
