from pathlib import Path

import pytest

from membrane.errors import UsageError
from membrane.login.voices import words_of
from membrane.phrase.words import Words
from membrane.settings import Settings


@pytest.fixture(scope="module")
def words():
    return Words("pocketsphinx")


def test_a_passphrase_is_stored_in_plain_words(words):
    assert words.check_passphrase("Open the Door!") == "open the door"


@pytest.mark.parametrize("phrase", ["", "open", "open door", " - ! ", "open " * 21])
def test_a_passphrase_of_too_few_or_too_many_words_is_refused(words, phrase):
    with pytest.raises(UsageError, match="3 to 20 words"):
        words.check_passphrase(phrase)


def test_a_word_that_cannot_be_heard_is_refused_by_name(words):
    with pytest.raises(UsageError, match="does not know xyzzy, plugh: choose other words"):
        words.check_passphrase("open xyzzy the plugh door")


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({}, {}),
        ({"model": Path("own.onnx")}, {"model": Path("own.onnx")}),
        (
            {"model": Path("own.onnx"), "scorer": Path("own.scorer")},
            {"model": Path("own.onnx"), "scorer": Path("own.scorer")},
        ),
    ],
    ids=["shipped", "model", "model and scorer"],
)
def test_the_recognizer_is_loaded_once_as_the_settings_want_it(monkeypatch, settings, files):
    loaded = []

    def load(name, **options):
        loaded.append((name, options))
        return object()

    monkeypatch.setattr("membrane.phrase.words.load_recognizer", load)
    words = words_of(Settings(recognizer="deepspeech", **settings), processes=2)
    assert loaded == []
    assert words.recognizer is words.recognizer
    assert loaded == [("deepspeech", {"processes": 2, **files})]
