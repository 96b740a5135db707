import numpy as np
import pytest

from membrane.phrase.recognizers.acoustic_model import packaged_model
from membrane.phrase.recognizers.competition import SCORE_UNIT, Vocabulary, compete

WORDS = {
    "go": ["G OW"],
    "stop": ["S T AA P"],
    "left": ["L EH F T"],
    "either": ["IY DH ER", "AY DH ER"],
}
WORDS_SAID = ["left", "go", "stop"]
FRAMES_A_STATE = 4


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(WORDS, packaged_model())


def _perfect_sound(pronunciations, pause=10):
    """Return senone scores of words said exactly as the model would, with pauses between."""
    model = packaged_model()
    silence = np.full(pause, model.silence()[0])
    best = [silence]
    for phones in pronunciations:
        best += [np.repeat(model.spoken(phones.split()).senones, FRAMES_A_STATE), silence]
    best = np.concatenate(best)
    costs = np.full((len(best), model.senone_count), 100, dtype=np.int16)
    costs[:, model.silence()] = 200
    costs[np.arange(len(best)), best] = 0
    return costs


def test_the_phrase_that_was_said_wins_every_slot(vocabulary):
    found = compete(_perfect_sound(["G OW", "L EH F T"]), ["go", "left"], vocabulary)
    assert (found.advantages > 50).all()


def test_only_the_wrong_word_loses_its_slot(vocabulary):
    said = _perfect_sound(["L EH F T", "S T AA P", "IY DH ER"])
    found = compete(said, ["left", "go", "either"], vocabulary)
    first, second, third = found.advantages
    assert second < -50
    assert first > 25
    assert third > 25
    assert vocabulary.words[found.scores[1].argmax()] == "stop"


def test_the_phrase_that_was_said_is_the_best_of_all(vocabulary):
    said = _perfect_sound(["L EH F T", "S T AA P"])
    assert compete(said, ["left", "stop"], vocabulary).whole == pytest.approx(0, abs=1e-2)


def test_another_order_is_far_from_the_best_phrase(vocabulary):
    said = _perfect_sound(["L EH F T", "S T AA P"])
    assert compete(said, ["stop", "left"], vocabulary).whole < -100


def test_every_word_that_was_said_is_needed_and_no_more(vocabulary):
    found = compete(_perfect_sound(["L EH F T", "G OW", "S T AA P"]), WORDS_SAID, vocabulary)
    assert (found.needed > 50).all()
    assert found.complete > 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_word_that_was_not_said_is_not_needed(vocabulary, place):
    phones = ["L EH F T", "G OW", "S T AA P"]
    found = compete(_perfect_sound(phones[:place] + phones[place + 1 :]), WORDS_SAID, vocabulary)
    assert found.needed.min() < -20
    assert found.needed.argmin() == place


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_phrase_with_another_word_in_it_is_not_complete(vocabulary, place):
    phones = ["L EH F T", "G OW", "S T AA P"]
    sound = _perfect_sound([*phones[:place], "IY DH ER", *phones[place:]])
    assert compete(sound, WORDS_SAID, vocabulary).complete < -50


def test_each_changed_length_has_the_score_of_that_phrase(vocabulary):
    costs = _perfect_sound(["G OW", "S T AA P"])
    costs += np.random.default_rng(2).integers(0, 60, costs.shape).astype(np.int16)
    found = compete(costs, ["go", "stop"], vocabulary)
    shorter = [compete(costs, [word], vocabulary).phrase for word in ("stop", "go")]
    longer = [
        compete(costs, phrase, vocabulary).phrase
        for word in WORDS
        for phrase in ([word, "go", "stop"], ["go", word, "stop"], ["go", "stop", word])
    ]
    assert found.phrase - found.needed == pytest.approx(shorter, rel=1e-5)
    assert found.phrase - found.complete == pytest.approx(max(longer), rel=1e-5)


def test_each_pronunciation_counts_for_its_word(vocabulary):
    for spoken in WORDS["either"]:
        found = compete(_perfect_sound(["G OW", spoken]), ["go", "either"], vocabulary)
        assert (found.advantages > 50).all()


def test_a_perfect_word_has_the_likeness_of_its_transitions_alone(vocabulary):
    found = compete(_perfect_sound(["S T AA P"]), ["stop"], vocabulary)
    spoken = packaged_model().spoken(["S", "T", "AA", "P"])
    transitions = (FRAMES_A_STATE - 1) * spoken.stay.sum() + spoken.leave.sum()
    frames = FRAMES_A_STATE * len(spoken.senones)
    assert found.likeness[0] == pytest.approx(transitions / frames, rel=1e-4)


def test_a_pause_may_be_missing(vocabulary):
    found = compete(_perfect_sound(["G OW", "S T AA P"], pause=0), ["go", "stop"], vocabulary)
    assert (found.advantages > 50).all()


def test_the_scores_are_those_of_whole_phrases(vocabulary):
    costs = _perfect_sound(["G OW", "S T AA P"])
    costs += np.random.default_rng(2).integers(0, 60, costs.shape).astype(np.int16)
    exchanged = compete(costs, ["go", "stop"], vocabulary).scores[0, vocabulary.words.index("left")]
    itself = compete(costs, ["left", "stop"], vocabulary)
    left, stop = (vocabulary.words.index(word) for word in ("left", "stop"))
    assert exchanged == pytest.approx(itself.phrase, rel=1e-5)
    assert exchanged == pytest.approx(itself.scores[0, left], rel=1e-5)
    assert exchanged == pytest.approx(itself.scores[1, stop], rel=1e-5)


def test_all_slots_agree_about_the_score_of_the_phrase(vocabulary):
    costs = np.random.default_rng(4).integers(0, 200, (90, 5126)).astype(np.int16)
    found = compete(costs, ["go", "stop", "left"], vocabulary)
    expected = [vocabulary.words.index(word) for word in ("go", "stop", "left")]
    assert found.scores[np.arange(3), expected] == pytest.approx(found.phrase, rel=1e-5)


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_sound_too_short_for_the_phrase_has_no_outcome(vocabulary, frames):
    costs = np.zeros((frames, 5126), dtype=np.int16)
    assert compete(costs, ["stop", "left"], vocabulary) is None


def test_a_unit_of_score_is_a_tenth_of_a_natural_logarithm():
    assert pytest.approx(0.1024, abs=1e-4) == SCORE_UNIT
