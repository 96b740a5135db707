from collections import Counter
from itertools import combinations
from pathlib import Path

import pocketsphinx
import pytest

from membrane.errors import UsageError
from membrane.phrase.matching import word_errors
from membrane.phrase.prompts import prompt_words, random_prompt


def _pronunciations():
    folder = Path(pocketsphinx.get_model_path("en-us"))
    spoken = {}
    for line in (folder / "cmudict-en-us.dict").read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        spoken.setdefault(word.partition("(")[0], []).append(phones)
    return spoken


def _distance(phones, others):
    return word_errors(phones, others) / max(len(phones), len(others))


def test_a_prompt_is_six_digits_by_default():
    prompt = random_prompt()
    assert len(prompt.split()) == 6
    assert all(figure in "0123456789" for figure in prompt.split())


def test_all_digits_are_about_equally_likely():
    counts = Counter(random_prompt(length=5000).split())
    assert set(counts) == set("0123456789")
    assert max(counts.values()) < 2 * min(counts.values())


def test_prompts_differ_from_one_to_the_next():
    assert len({random_prompt(length=8) for _ in range(50)}) == 50


def test_no_word_comes_twice_in_a_prompt():
    words = random_prompt("words", len(prompt_words())).split()
    assert sorted(words) == sorted(prompt_words())


def test_four_words_are_asked_for_by_default():
    assert len(random_prompt("words").split()) == 4


@pytest.mark.parametrize(("kind", "length"), [("digits", 0), ("words", 0), ("words", 10_000)])
def test_impossible_lengths_are_refused(kind, length):
    with pytest.raises(UsageError, match=str(length)):
        random_prompt(kind, length)


def test_an_unknown_kind_of_prompt_is_refused_with_the_kinds_there_are():
    with pytest.raises(UsageError, match="digits, words"):
        random_prompt("melodies")


def test_the_recognizer_knows_every_prompt_word():
    assert set(prompt_words()) <= set(_pronunciations())


def test_any_two_prompt_words_differ_in_half_of_their_phones():
    spoken = _pronunciations()
    too_close = [
        (word, other)
        for word, other in combinations(prompt_words(), 2)
        if min(_distance(a, b) for a in spoken[word] for b in spoken[other]) < 0.5
    ]
    assert too_close == []
