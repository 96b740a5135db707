from dataclasses import replace

import numpy as np
import pytest

from membrane.audio import endpoint, quality
from membrane.audio.activity import probabilities, speech_mask, spread
from membrane.audio.preparation import prepare
from membrane.audio.quality import Quality, find_problem, measure, require
from membrane.audio.utterance import SAMPLE_RATE, Utterance, no_samples
from membrane.errors import PoorQuality

GOOD = Quality(speech_s=2.5, snr_db=25.0, level_dbfs=-24.0, clipped=0.0)


@pytest.fixture(scope="module")
def voice(utterance_of):
    return utterance_of("boris", "enrol", 1).samples


@pytest.fixture(scope="module")
def mask(voice):
    return speech_mask(probabilities(voice))


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [0, 5, 10, 20, 30])
def test_measured_snr_is_near_the_truth(voice, mask, noise_of, colour, snr_db):
    voiced = spread(mask, len(voice))
    clean = np.where(voiced, voice, 0)
    noise = noise_of(colour, len(voice), decibels(voice[voiced]) - snr_db)
    ambient = noise_of(colour, 2 * SAMPLE_RATE, decibels(noise))
    measured = measure(clean + noise, mask, ambient).snr_db
    truth = decibels(clean[voiced]) - decibels(noise[voiced])
    assert measured == pytest.approx(truth, abs=0.75)


@pytest.mark.parametrize("snr_db", [5, 10, 20])
@pytest.mark.parametrize("person", ["ada", "boris", "clara", "edgar", "farid"])
def test_snr_of_a_file_is_found_without_being_told_where_the_speech_is(
    utterance_of, noise_of, person, snr_db
):
    voice = utterance_of(person, "login").samples
    voiced = spread(speech_mask(probabilities(voice)), len(voice))
    noise = noise_of("pink", len(voice), decibels(voice[voiced]) - snr_db)
    measured = prepare(Utterance(voice + noise), denoising="never").quality.snr_db
    assert measured == pytest.approx(snr_db, abs=2)


def test_a_word_that_the_detector_misses_is_not_taken_for_the_room(recordings, utterance_of):
    # All of them were mixed with the same quiet room, 31 dB below the words.
    for path in recordings.glob("*/*.flac"):
        number = sorted(path.parent.glob(f"{path.stem.split('-')[0]}*")).index(path)
        utterance = utterance_of(path.parent.name, path.stem.split("-")[0], number)
        assert 29 < prepare(utterance).quality.snr_db < 33, path


def test_without_a_room_the_quietest_chunks_stand_in(voice, mask, noise_of):
    voiced = spread(mask, len(voice))
    noise = noise_of("white", len(voice), decibels(voice[voiced]) - 15)
    measured = measure(voice + noise, mask, no_samples()).snr_db
    assert measured == pytest.approx(15, abs=2)


def test_level_is_that_of_the_speech_not_of_the_pauses(voice, mask):
    level = measure(voice, mask, no_samples()).level_dbfs
    assert level == pytest.approx(decibels(voice[spread(mask, len(voice))]), abs=0.1)
    padded = np.concatenate([voice[: len(mask) * 512], np.zeros(512 * 100, dtype=np.float32)])
    longer = np.concatenate([mask[: len(padded) // 512 - 100], np.zeros(100, dtype=bool)])
    longer = np.pad(longer, (0, len(padded) // 512 + 1 - len(longer)))
    assert measure(padded, longer, no_samples()).level_dbfs == pytest.approx(level, abs=0.1)


def test_half_the_amplitude_is_six_decibels_less(voice, mask):
    levels = [measure(voice * factor, mask, no_samples()).level_dbfs for factor in (1, 0.5)]
    assert levels[0] - levels[1] == pytest.approx(6.02, abs=0.11)


def test_clipped_share_is_that_of_the_speech_on_the_rail(voice, mask):
    voiced = spread(mask, len(voice))
    loud = voice / np.abs(voice).max()
    limit = np.quantile(np.abs(loud[voiced]), 0.9)
    clipped = np.clip(loud / limit, -1, 1).astype(np.float32)
    assert measure(clipped, mask, no_samples()).clipped == pytest.approx(0.1, abs=0.005)
    assert measure(loud * 0.9, mask, no_samples()).clipped == 0


def test_clipping_is_seen_in_a_file_of_another_rate(voice, tmp_path):
    import soundfile
    import soxr

    from membrane.audio.files import read_utterance

    loud = np.clip(soxr.resample(voice, SAMPLE_RATE, 44100) * 30, -1, 1)
    soundfile.write(tmp_path / "loud.wav", loud, 44100)
    measured = prepare(read_utterance(tmp_path / "loud.wav")).quality
    assert measured.clipped > quality.MOST_CLIPPED
    assert "clipped" in find_problem(measured)


@pytest.mark.parametrize("samples", [no_samples(), np.zeros(SAMPLE_RATE, dtype=np.float32)])
def test_nothing_heard_has_finite_numbers(samples):
    measured = measure(samples, speech_mask(probabilities(samples)), no_samples())
    assert measured.speech_s == 0
    assert np.isfinite([measured.snr_db, measured.level_dbfs, measured.clipped]).all()


def test_digital_silence_around_speech_has_finite_numbers(voice, mask):
    gated = np.where(spread(mask, len(voice)), voice, np.float32(0))
    measured = measure(gated, mask, np.zeros(SAMPLE_RATE, dtype=np.float32))
    assert measured.snr_db == quality.SNR_RANGE_DB[1]


def test_good_speech_has_no_problem():
    assert find_problem(GOOD) == ""
    require(GOOD)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"speech_s": 0.0}, "I heard no speech: speak after the prompt"),
        ({"speech_s": 0.4}, "I heard 0.4 s of speech; 1.5 s are needed: say the whole phrase"),
        ({"level_dbfs": -66.0}, "too quiet (-66.0 dBFS; -60 are needed): speak closer"),
        ({"clipped": 0.12}, "clipped (12% of it is cut off): move back"),
        (
            {"snr_db": 1.0},
            "too noisy (speech 1.0 dB above the noise; 3 are needed): find a quieter",
        ),
    ],
)
def test_each_problem_is_told_in_its_own_words(change, words):
    poor = replace(GOOD, **change)
    assert words in find_problem(poor)
    with pytest.raises(PoorQuality) as refused:
        require(poor)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("speech_s", quality.LEAST_SPEECH_S),
        ("level_dbfs", quality.LEAST_LEVEL_DBFS),
        ("clipped", quality.MOST_CLIPPED),
        ("snr_db", quality.LEAST_SNR_DB),
    ],
)
def test_a_recording_exactly_at_the_limit_is_judged(name, limit):
    assert find_problem(replace(GOOD, **{name: limit})) == ""


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"speech_s": 1.472}, "1.4 s of speech; 1.5 s"),
        ({"level_dbfs": -60.4}, "-60.4 dBFS; -60"),
        ({"snr_db": 2.9}, "2.9 dB above the noise; 3"),
    ],
)
def test_what_just_falls_short_is_not_shown_as_enough(change, shown):
    assert shown in find_problem(replace(GOOD, **change))


def test_a_file_is_named_and_a_microphone_is_not():
    poor = replace(GOOD, speech_s=0.0)
    with pytest.raises(PoorQuality, match=r"^a\.wav: I heard no speech"):
        require(poor, source="a.wav")
    with pytest.raises(PoorQuality, match=r"^I heard no speech"):
        require(poor)


def test_the_microphone_waits_for_as_much_speech_as_the_gate_asks_for():
    assert endpoint.LEAST_SPEECH_S is quality.LEAST_SPEECH_S
