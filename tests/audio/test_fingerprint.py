import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.resubmission import share_in
from membrane.audio.fingerprint import (
    HIGHEST_HZ,
    LOWEST_HZ,
    MOST_PEAKS,
    SAME,
    VERSION,
    Fingerprint,
    fingerprint_of,
)
from membrane.audio.utterance import SAMPLE_RATE, no_samples
from membrane.evaluation.codecs import CODECS, coded

PEOPLE = ("ada", "boris", "clara", "edgar", "farid")


@pytest.fixture(scope="module")
def voice(utterance_of):
    return utterance_of("ada", "login").samples


@pytest.fixture(scope="module")
def remembered(voice):
    return fingerprint_of(voice)


def noise(length, scale=0.1):
    return np.random.default_rng(3).normal(scale=scale, size=length).astype(np.float32)


CHANGES = {
    "20 dB quieter": lambda samples: samples / np.float32(10),
    "far beyond full scale": lambda samples: samples * np.float32(1e25),
    "clipped": lambda samples: np.clip(2 * samples / np.abs(samples).max(), -1, 1),
    "upside down": lambda samples: -samples,
    "after silence": lambda samples: np.concatenate([np.zeros(5_921, np.float32), samples]),
    "begun a fraction of a frame later": lambda samples: samples[85:],
    "ended half a second earlier": lambda samples: samples[: -SAMPLE_RATE // 2],
    "in noise": lambda samples: samples + noise(len(samples), 0.1 * samples.std()),
    "in 8 bits": lambda samples: np.round(samples * 127) / np.float32(127),
    "resampled": lambda samples: soxr.resample(
        soxr.resample(samples, SAMPLE_RATE, 8_000), 8_000, SAMPLE_RATE
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_the_same_recording(voice, remembered, change):
    copy = fingerprint_of(CHANGES[change](voice))
    assert copy.same_recording(remembered)
    assert remembered.same_recording(copy)


@pytest.mark.parametrize("codec", CODECS)
def test_a_coded_copy_is_the_same_recording(voice, remembered, codec):
    assert fingerprint_of(coded(voice, codec)).same_recording(remembered)


@pytest.mark.parametrize("speed", [0.95, 0.98, 0.99, 1.01, 1.02, 1.05])
def test_a_copy_at_another_speed_is_the_same_recording(voice, remembered, speed):
    copy = soxr.resample(voice, SAMPLE_RATE * speed, SAMPLE_RATE)
    assert fingerprint_of(copy).same_recording(remembered)


@pytest.mark.parametrize("person", PEOPLE)
def test_other_words_of_one_person_are_another_recording(utterance_of, person):
    one, other = (fingerprint_of(utterance_of(person, "login", n).samples) for n in (0, 1))
    assert one.likeness(other) < SAME / 2


def test_the_same_words_of_one_person_are_another_recording(shared_speech):
    from benchmarks.phrases import joined_digits

    for speaker in ("jackson", "nicolas", "yweweler"):
        one, other = (
            joined_digits(speaker, "271690", np.random.default_rng(first), takes=takes)
            for first, takes in enumerate((range(5), range(5, 10)))
        )
        assert fingerprint_of(one).likeness(fingerprint_of(other)) < SAME / 2


def test_different_people_are_different_recordings(utterance_of):
    known = [fingerprint_of(utterance_of(person, "login").samples) for person in PEOPLE]
    for place, one in enumerate(known):
        assert not any(one.same_recording(other) for other in known[:place])


def test_a_recording_within_a_longer_one_is_the_same(voice, remembered, utterance_of):
    others = utterance_of("boris", "login").samples
    longer = np.concatenate([others, voice, others[::-1]])
    assert fingerprint_of(longer).same_recording(remembered)
    assert remembered.same_recording(fingerprint_of(longer))


def test_a_copy_is_heard_among_others(remembered, utterance_of):
    others = [fingerprint_of(utterance_of(person, "login").samples) for person in PEOPLE[1:]]
    assert remembered.heard_in([*others, remembered])
    assert not remembered.heard_in(others)


def test_half_of_another_recording_is_found_wherever_it_stands(voice, remembered, utterance_of):
    others = utterance_of("boris", "login").samples
    half = len(voice) // 2
    mixed = fingerprint_of(np.concatenate([voice[half:], others, voice[:half]]))
    assert share_in(remembered, [mixed]) > 0.8


def test_a_patchwork_is_found_in_all_its_sources_together(utterance_of):
    sources = [utterance_of(person, "login").samples for person in PEOPLE]
    second = slice(SAMPLE_RATE, 2 * SAMPLE_RATE)
    patchwork = fingerprint_of(np.concatenate([samples[second] for samples in sources]))
    known = [fingerprint_of(samples) for samples in sources]
    assert share_in(patchwork, known) > 0.8
    assert max(patchwork.likeness(one) for one in known) < share_in(patchwork, known)
    assert share_in(patchwork, []) == 0
    assert patchwork.heard_in(known)
    assert not any(patchwork.same_recording(one) for one in known)
    assert not patchwork.heard_in(known[:1])
    assert not patchwork.heard_in([])


def test_how_alike_they_are_does_not_depend_on_which_comes_first(remembered, utterance_of):
    other = fingerprint_of(utterance_of("ada", "login").samples[8_000:40_000])
    assert remembered.likeness(other) == other.likeness(remembered)


NOTHING = {
    "no sound": no_samples(),
    "silence": np.zeros(SAMPLE_RATE, np.float32),
    "a constant": np.full(SAMPLE_RATE, 0.1, np.float32),
    "a click too short": noise(500),
    "not a number": np.full(SAMPLE_RATE, np.nan, np.float32),
    "one that is infinite": np.concatenate([noise(SAMPLE_RATE), np.float32([np.inf])]),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_like_nothing(remembered, name):
    empty = fingerprint_of(NOTHING[name])
    assert len(empty.times_s) == 0
    for other in (empty, remembered):
        assert empty.likeness(other) == other.likeness(empty) == 0
        assert share_in(empty, [other]) == share_in(other, [empty]) == 0
        assert not empty.same_recording(other)
    assert Fingerprint.from_bytes(empty.to_bytes()).to_bytes() == bytes([VERSION])


def test_a_hum_is_no_part_of_a_recording(utterance_of):
    def with_hum(person):
        samples = utterance_of(person, "login").samples
        hum = np.sin(2 * np.pi * 400 * np.arange(len(samples)) / SAMPLE_RATE)
        return fingerprint_of(samples + (0.1 * hum).astype(np.float32))

    assert with_hum("ada").likeness(with_hum("edgar")) == 0


def test_a_stored_fingerprint_is_as_good_as_a_new_one(voice, remembered):
    stored = Fingerprint.from_bytes(remembered.to_bytes())
    assert stored.to_bytes() == remembered.to_bytes()
    assert stored.likeness(remembered) == 1
    assert stored.likeness(fingerprint_of(coded(voice, "gsm"))) > SAME


def test_what_is_stored_is_the_same_on_every_machine():
    stored = bytes([1, 0x2C, 0x01, 0, 0, 0xE8, 0x03, 0x01, 0, 1, 0, 0x54, 0x0B])
    one = Fingerprint.from_bytes(stored)
    assert one.times_s.tolist() == [0.3, 65.537]
    assert one.frequencies_hz.tolist() == [1_000, 2_900]
    assert one.to_bytes() == stored


def test_a_long_recording_is_stored_in_a_few_kilobytes():
    stored = fingerprint_of(noise(60 * SAMPLE_RATE)).to_bytes()
    assert len(stored) == 1 + 6 * MOST_PEAKS < 4_000
    assert Fingerprint.from_bytes(stored).likeness(Fingerprint.from_bytes(stored)) == 1


def test_only_places_of_peaks_are_kept(remembered):
    """A codec keeps thirty times as many numbers."""
    seconds = remembered.times_s[-1] - remembered.times_s[0]
    assert 5 < len(remembered.times_s) / seconds < 40
    assert remembered.frequencies_hz.min() > LOWEST_HZ - 50
    assert remembered.frequencies_hz.max() < HIGHEST_HZ + 50
    assert len(remembered.to_bytes()) == 1 + 6 * len(remembered.times_s)


def damaged(peaks, version=VERSION):
    layout = np.dtype([("time", "<u4"), ("frequency", "<u2")])
    return bytes([version]) + np.array(peaks, layout).tobytes()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        damaged([(1, 500)], version=VERSION + 1),
        damaged([(1, 500)])[:-1],
        damaged([(2, 500), (1, 500)]),
        damaged([(1 << 31, 500)]),
        damaged([(1, 0)]),
        damaged([(1, 65_535)]),
        damaged([(1, 500)] * (MOST_PEAKS + 1)),
    ],
)
def test_what_is_no_fingerprint_is_refused(stored):
    with pytest.raises(ValueError, match="fingerprint"):
        Fingerprint.from_bytes(stored)


@pytest.mark.parametrize(("common", "found"), [(1, False), (3, False), (6, True)])
def test_a_few_peaks_in_common_are_a_coincidence(common, found):
    shared = [(50 * n, 400 + 300 * (n * 7 % 10)) for n in range(common)]
    longer = shared + [(5_000 + 50 * n, 350 + 300 * (n * 3 % 10)) for n in range(20)]
    one, other = (Fingerprint.from_bytes(damaged(peaks)) for peaks in (shared, longer))
    assert (one.likeness(other) > 0) == found


PEAKS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(300, 3_400)), max_size=40)


@given(st.binary(max_size=200) | st.binary(max_size=198).map(lambda tail: bytes([VERSION]) + tail))
@example(bytes([VERSION]) + bytes(6))
def test_hostile_bytes_are_read_or_refused(stored):
    try:
        one = Fingerprint.from_bytes(stored)
    except ValueError:
        return
    assert one.to_bytes() == stored


@given(PEAKS, PEAKS)
@settings(max_examples=50, deadline=None)
def test_likeness_is_a_share_whatever_is_stored(one, other):
    ours, theirs = (Fingerprint.from_bytes(damaged(sorted(peaks))) for peaks in (one, other))
    for likeness in (ours.likeness(theirs), theirs.likeness(ours), share_in(ours, [theirs, ours])):
        assert 0 <= likeness <= 1
