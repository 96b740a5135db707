import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.phrase.matching import (
    DIGIT_WORDS,
    is_digits,
    match_transcript,
    normalise,
    word_errors,
)
from membrane.phrase.recognizer import PhraseMatch
from membrane.phrase.words import Words


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("4711", "four seven one one"),
        ("7 3", "seven three"),
        ("route 66!", "route six six"),
        ("  My Voice, is my PASSPORT. ", "my voice is my passport"),
        ("don't 'quote' me", "don't quote me"),
        ("don’t", "don't"),
        ("GRÖSSE", "grösse"),
        ("Gro\u0308ße", "grösse"),
        ("٣", "three"),
        ("well-known\tsea", "well known sea"),
        ("?!", ""),
        ("", ""),
    ],
)
def test_a_phrase_is_written_as_it_is_spoken(text, spoken):
    assert normalise(text) == spoken


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("expected", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b c", "", 3),
        ("", "a", 1),
        ("a b", "b a", 2),
    ],
)
def test_word_errors_count_insertions_deletions_and_replacements(expected, heard, errors):
    assert word_errors(expected.split(), heard.split()) == errors


def test_only_digit_words_are_digits():
    assert is_digits(DIGIT_WORDS)
    assert not is_digits(["one", "apple"])
    assert not is_digits([])


def test_the_right_transcript_is_accepted_even_strictly():
    match = match_transcript("4 7 1 9 0 2", "four seven one nine zero two", strict=True)
    assert match.accepted
    assert match.score == 1.0
    assert match.problem == ""


def test_words_that_sound_like_digits_count_as_digits_only_where_digits_were_asked_for():
    assert match_transcript("4 2 8 0", "for to ate oh").accepted
    assert not match_transcript("four apples", "for apples").accepted


def test_one_wrong_word_of_six_passes_unless_strict():
    heard = "four seven one nine zero three"
    assert match_transcript("471902", heard).accepted
    assert not match_transcript("471902", heard, strict=True).accepted


def test_other_words_and_no_words_are_told_apart():
    assert match_transcript("471902", "call me tomorrow").problem == "other words"
    assert match_transcript("471902", "").problem == "not speech"


def test_nothing_matches_when_nothing_was_asked_for():
    assert not match_transcript("", "anything").accepted
    assert not match_transcript("", "").accepted


class _Scripted:
    """A recognizer whose scores are given beforehand."""

    name = "scripted"

    def __init__(self, scores):
        self._scores = scores

    def match(self, samples, expected, *, strict=False):
        score = self._scores[expected]
        return PhraseMatch(expected, expected, score >= 0, score, 0.0)


def test_passphrases_that_pass_are_found_best_first():
    scores = {"red door": 1.0, "blue sea": -1.0, "old mill": 3.0}
    words = Words("scripted")
    words.recognizer = _Scripted(scores)
    found = words.whose(np.zeros(16, np.float32), list(scores))
    assert [index for index, _ in found] == [2, 0]
    assert [match.expected for _, match in found] == ["old mill", "red door"]
