import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.evaluation.asked import FALSE, RIGHT, asked_about, candidates
from membrane.phrase.matching import DIGIT_WORDS, word_errors

DIGITS = ["four seven one one", "two two two two", "nine eight seven", "one two three four five"]
WORDS = ["open", "the", "door", "bear", "is", "my", "key"]
SENTENCES = ["open the door", "my voice is my key", "the bear is big"]


def by_kind(phrases, place=0, seed=0):
    known = candidates(phrases)
    return {kind: words.split() for kind, words in asked_about(phrases, known, seed=seed)[place]}


phrases = st.lists(
    st.one_of(
        st.lists(st.sampled_from(DIGIT_WORDS), min_size=1, max_size=8),
        st.lists(
            st.sampled_from(["open", "the", "door", "bear", "is", "my", "key"]),
            min_size=1,
            max_size=8,
        ),
    ).map(" ".join),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)  # the dictionary is read once
@given(phrases=phrases, seed=st.integers(0, 100))
def test_every_false_claim_differs_from_what_was_said_as_its_kind_tells(phrases, seed):
    for phrase, claims in zip(
        phrases, asked_about(phrases, candidates(phrases), seed=seed), strict=True
    ):
        said = phrase.split()
        found = {kind: words.split() for kind, words in claims}
        assert found[RIGHT] == said
        assert len(found["changed"]) == len(said)
        assert word_errors(said, found["changed"]) == 1
        assert len(found["more"]) == len(said) + 1
        assert word_errors(said, found["more"]) == 1
        if len(said) > 1:
            assert len(found["fewer"]) == len(said) - 1
            assert word_errors(said, found["fewer"]) == 1
        if "other" in found:
            assert found["other"] != said
            assert " ".join(found["other"]) in phrases


def test_every_kind_of_claim_is_made():
    assert set(by_kind(DIGITS)) == {RIGHT, *FALSE}
    assert set(by_kind(SENTENCES)) == {RIGHT, *FALSE}


@pytest.mark.parametrize("place", range(len(DIGITS)))
def test_digits_become_digits(place):
    claims = by_kind(DIGITS + SENTENCES, place)
    assert all(set(words) <= set(DIGIT_WORDS) for words in claims.values())


def test_other_words_are_of_the_same_number_where_there_are_such():
    assert by_kind(DIGITS, 0)["other"] == DIGITS[1].split()


def test_other_words_are_of_the_nearest_number_else():
    assert by_kind(DIGITS[1:], 1)["other"] == DIGITS[1].split()


def test_a_single_phrase_has_no_other_words_and_a_single_word_not_one_fewer():
    assert set(by_kind(["door"])) == {RIGHT, "changed", "more"}


def test_a_phrase_that_was_said_again_is_not_other_words():
    assert "other" not in by_kind([SENTENCES[0]] * 3)


def test_no_word_is_changed_for_one_that_sounds_alike():
    pool = ["bare", "bear", "door"]
    claims = asked_about(["bear"] * 50, pool)
    assert {dict(each)["changed"] for each in claims} == {"door"}


def test_places_are_of_chance():
    claims = asked_about([SENTENCES[1]] * 60, candidates(SENTENCES))
    fewer = {dict(each)["fewer"] for each in claims}
    assert len(fewer) == 5
