from collections import Counter

import numpy as np
import pytest

from membrane.audio.files import save_recording
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import UsageError
from membrane.evaluation.digit_strings import digit_strings
from membrane.evaluation.recordings import Recording
from membrane.phrase.matching import DIGIT_WORDS

TAKE_S = 0.3


@pytest.fixture
def takes(tmp_path):
    """Every digit three times, of two people; each digit is a level of its own."""
    found = []
    for person in ("ada", "boris"):
        (tmp_path / person).mkdir()
        for digit in range(10):
            level = np.full(int(TAKE_S * SAMPLE_RATE), 0.05 * (digit + 1), np.float32)
            for number in range(3):
                path = tmp_path / person / f"{digit}_{person}_{number}.wav"
                save_recording(path, level)
                found.append(Recording((path,), person, labels=(("gender", person[0]),)))
    return found


def test_every_take_is_used_once_until_too_few_are_left(takes):
    said = digit_strings(takes, 4)
    files = Counter(file for one in said for file in one.recording.files)
    assert len(said) == 2 * (30 // 4)
    assert set(files.values()) == {1}


def test_the_words_are_the_digits_of_the_files(takes):
    for one in digit_strings(takes, 6):
        digits = [int(file.name[0]) for file in one.recording.files]
        assert one.words.split() == [DIGIT_WORDS[digit] for digit in digits]


def test_a_string_is_of_one_speaker_with_their_labels(takes):
    for one in digit_strings(takes, 6):
        speaker = one.recording.speaker
        assert {file.parent.name for file in one.recording.files} == {speaker}
        assert one.recording.labels == (("gender", speaker[0]),)


def test_the_takes_are_heard_in_their_order_with_pauses_between(takes):
    one = digit_strings(takes, 5)[0]
    samples = one.recording.read().samples
    loud = np.abs(samples) > 0.02
    starts = np.flatnonzero(loud & ~np.roll(loud, 1))
    ends = np.flatnonzero(loud & ~np.roll(loud, -1)) + 1
    stretches = [samples[a:b] for a, b in zip(starts, ends, strict=True)]
    levels = [round(float(stretch.mean()) / 0.05) - 1 for stretch in stretches]
    assert [DIGIT_WORDS[level] for level in levels] == one.words.split()
    pauses = (starts[1:] - ends[:-1]) / SAMPLE_RATE
    assert pauses.min() >= 0.039
    assert pauses.max() <= 0.301


def test_no_pause_is_digitally_silent(takes):
    assert np.all(digit_strings(takes, 5)[0].recording.read().samples[:3000] != 0)


def test_a_string_is_read_the_same_each_time(takes):
    one = digit_strings(takes, 5)[0].recording
    assert np.array_equal(one.read().samples, one.read().samples)


def test_the_same_seed_makes_the_same_strings_and_another_does_not(takes):
    assert digit_strings(takes, 6, seed=3) == digit_strings(takes, 6, seed=3)
    assert digit_strings(takes, 6, seed=3) != digit_strings(takes, 6, seed=4)


def test_files_of_other_names_are_left_out(takes, tmp_path):
    others = [
        Recording((tmp_path / name,), "ada")
        for name in ("hello.wav", "12_ada_0.wav", "7_ada.wav", "7.wav")
    ]
    assert digit_strings([*takes, *others], 6) == digit_strings(takes, 6)


@pytest.mark.parametrize("length", [0, -1, 31])
def test_strings_that_nobody_has_the_digits_for_are_refused(takes, length):
    with pytest.raises(UsageError, match="no strings of"):
        digit_strings(takes, length)


def test_recordings_that_are_no_digits_are_refused_with_an_example(tmp_path):
    with pytest.raises(UsageError, match=r"7_ada_0\.wav"):
        digit_strings([Recording((tmp_path / "hello.wav",), "ada")], 6)
