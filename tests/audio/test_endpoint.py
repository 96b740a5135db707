import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.audio import activity
from membrane.audio.endpoint import (
    CHUNK_S,
    END_SILENCE_S,
    HESITATION_S,
    LEAST_SPEECH_S,
    Endpoint,
)

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech"
DIGITS = {"oh", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}


def chunks(seconds):
    return round(seconds / CHUNK_S)


def feed(endpoint, probability, seconds):
    """Feed a constant probability and return after how many seconds speech ended, or None."""
    for count in range(chunks(seconds)):
        if endpoint.feed(probability):
            return (count + 1) * CHUNK_S
    return None


def test_silence_never_begins_nor_ends():
    endpoint = Endpoint()
    assert feed(endpoint, 0.1, 30) is None
    assert endpoint.first is None
    assert not endpoint.speaking


def test_speech_begins_at_the_first_of_three_chunks_in_a_row():
    endpoint = Endpoint()
    for probability in (0.1, 0.9, 0.1, 0.9, 0.9):
        endpoint.feed(probability)
    assert endpoint.first is None
    endpoint.feed(0.9)
    assert (endpoint.first, endpoint.last) == (3, 5)
    assert endpoint.speaking


def test_recording_ends_soon_after_enough_was_said():
    endpoint = Endpoint()
    feed(endpoint, 0.9, LEAST_SPEECH_S + 0.1)
    assert feed(endpoint, 0.1, 5) == pytest.approx(END_SILENCE_S, abs=CHUNK_S)


def test_a_pause_before_enough_was_said_is_waited_out():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.8)
    assert feed(endpoint, 0.1, 1.3) is None
    feed(endpoint, 0.9, 0.9)
    assert feed(endpoint, 0.1, 5) == pytest.approx(END_SILENCE_S, abs=CHUNK_S)


def test_somebody_who_says_too_little_is_waited_for_no_longer_than_the_hesitation():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.6)
    assert feed(endpoint, 0.1, 5) == pytest.approx(HESITATION_S, abs=CHUNK_S)


def test_a_cough_is_forgotten_and_the_speech_after_it_heard():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 0.2)
    assert endpoint.first is not None
    assert feed(endpoint, 0.1, 5) is None
    assert endpoint.first is None
    feed(endpoint, 0.9, 2)
    assert endpoint.first == chunks(0.2) + chunks(5)
    assert feed(endpoint, 0.1, 5) is not None


def test_a_doubtful_chunk_continues_speech_but_does_not_bring_it_back():
    endpoint = Endpoint()
    feed(endpoint, 0.9, 2)
    feed(endpoint, 0.4, 1)
    assert endpoint.speaking
    endpoint.feed(0.1)
    last = endpoint.last
    assert feed(endpoint, 0.4, 5) == pytest.approx(END_SILENCE_S, abs=2 * CHUNK_S)
    assert endpoint.last == last


@given(st.lists(st.floats(0, 1), max_size=400))
def test_speech_ends_only_in_silence_and_never_before_it_began(probabilities):
    endpoint = Endpoint()
    for index, probability in enumerate(probabilities):
        if endpoint.feed(probability):
            silence = probabilities[endpoint.last + 1 : index + 1]
            assert len(silence) * CHUNK_S >= END_SILENCE_S
            assert max(silence) < activity.SPEECH_PROBABILITY
        if endpoint.first is not None:
            assert 0 <= endpoint.first < endpoint.last <= index


@pytest.fixture(scope="module")
def digit_strings():
    table = SPEECH / "speechocean762" / "transcripts.tsv"
    if not table.exists():
        pytest.skip("the recordings of ../shared/speech are not here")
    with table.open(encoding="utf-8") as file:
        rows = [(name, text.lower().split()) for name, text in csv.reader(file, delimiter="\t")]
    names = [name for name, words in rows if len(words) >= 3 and DIGITS.issuperset(words)]
    return [next(table.parent.glob(f"*/{name}.flac")) for name in names]


def is_cut(samples):
    """Whether the recording would have ended although speech follows."""
    silence = np.zeros(3 * activity.CHUNK, dtype=np.float32)
    probabilities = activity.probabilities(np.concatenate([samples, silence]))
    endpoint = Endpoint()
    for index, probability in enumerate(probabilities):
        if endpoint.feed(probability):
            return bool(activity.speech_mask(probabilities[index + 1 :]).any())
    return False


def test_no_digit_string_of_real_speakers_is_cut(digit_strings):
    import soundfile

    cut = [path.name for path in digit_strings if is_cut(soundfile.read(path, dtype="float32")[0])]
    assert len(digit_strings) == 37
    assert cut == []
