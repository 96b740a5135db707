import math

import numpy as np
import pytest

import membrane.training.validation
from membrane.errors import UsageError
from membrane.training.material import Material, Speaker, Spoken
from membrane.training.validation import (
    CLEAN,
    MOST_PIECES,
    Best,
    CorpusProbes,
    Spectrum,
    Validation,
    probes_of,
    teacher_voices,
)
from tests.training.synthetic_material import material


@pytest.fixture(scope="module")
def probes():
    (found,) = probes_of(material(speakers=3), seed=0)
    return found


def corpus(name, speakers):
    """Two clean and two noisy probes of each speaker, whose spectra are just numbered."""
    who = np.repeat(np.arange(speakers), 2)
    numbered = [Spectrum(np.full((1, 1), n), 1, (0,)) for n in range(len(who))]
    noisy = [Spectrum(np.full((1, 1), n + 1000), 1, (0,)) for n in range(len(who))]
    return CorpusProbes(name, who, {CLEAN: numbered, "noise": noisy})


def perfect_but_deaf_in_noise(spectra):
    """Voices of the speaker in quiet, and all the same in noise."""
    numbers = np.array([spectrum.mels[0, 0] for spectrum in spectra], int)
    return np.eye(512, dtype=np.float32)[np.where(numbers < 1000, numbers // 2, 500)]


# ---- Probes


def test_every_piece_of_a_speaker_is_there_in_every_condition(probes):
    assert probes.corpus == "made"
    assert probes.speakers.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert set(probes.conditions) == {
        "clean",
        "noise 10 dB",
        "noise 0 dB",
        "babble 10 dB",
        "babble 0 dB",
        "pink 5 dB",
        "telephone",
        "reverberation",
        "2 s",
    }
    assert {len(spectra) for spectra in probes.conditions.values()} == {9}


def test_the_same_seed_asks_the_same_and_another_does_not(probes):
    (same,) = probes_of(material(speakers=3), seed=0)
    (other,) = probes_of(material(speakers=3), seed=1)
    for condition in probes.conditions:
        for mine, theirs in zip(
            probes.conditions[condition], same.conditions[condition], strict=True
        ):
            assert np.array_equal(mine.mels, theirs.mels)
    ours, others = probes.conditions["pink 5 dB"][0], other.conditions["pink 5 dB"][0]
    assert not np.array_equal(ours.mels, others.mels)


def test_a_speaker_is_asked_the_same_whoever_else_is_there(probes):
    (more,) = probes_of(material(speakers=5), seed=0)
    alone = {spectrum.mels.tobytes() for spectrum in probes.conditions["pink 5 dB"]}
    assert alone <= {spectrum.mels.tobytes() for spectrum in more.conditions["pink 5 dB"]}


def test_ten_decibels_more_noise_are_that_at_the_same_level_of_the_whole(probes):
    def highest_channel(condition):
        return np.mean([np.median(one.mels[:, -1]) for one in probes.conditions[condition]])

    # The hums have nothing there. Noise is ten times as strong, the whole 2 / 1.1 times.
    ratio = highest_channel("noise 0 dB") / highest_channel("noise 10 dB")
    assert ratio == pytest.approx(10 / (2 / 1.1), rel=0.1)


def test_a_probe_of_two_seconds_is_no_longer(probes):
    assert max(spectrum.length for spectrum in probes.conditions["2 s"]) <= 201


def test_without_noises_and_other_voices_there_are_fewer_conditions():
    (found,) = probes_of(material(speakers=2, noises=0), seed=0)
    assert not {"noise 10 dB", "noise 0 dB"} & set(found.conditions)
    assert "babble 0 dB" in found.conditions


def spoken_of(*lengths):
    speech = [0.1 * np.random.default_rng(n).standard_normal(n) for n in lengths]
    return tuple(Spoken(one.astype(np.float16), one.astype(np.float16)) for one in speech)


def pieces_of(*seconds):
    lengths = [round(one * 16_000) for one in seconds]
    voices = [Speaker(f"c/{name}", "c", spoken_of(*lengths)) for name in "ab"]
    found = probes_of(Material(tuple(voices)), seed=0)
    return int((found[0].speakers == 0).sum()) if found else 0


@pytest.mark.parametrize(
    ("seconds", "pieces"),
    [
        ([1.0] * 5, 2),  # joined two by two; the fifth is left over
        ([3.0] * 3, 3),
        ([17.0], 4),  # cut
        ([7.0], 0),  # one piece is compared with nothing
        ([3.0] * 9, MOST_PIECES),
    ],
)
def test_short_recordings_are_joined_and_long_ones_cut(seconds, pieces):
    assert pieces_of(*seconds) == pieces


def test_a_large_corpus_is_asked_in_part(monkeypatch):
    monkeypatch.setattr(membrane.training.validation, "MOST_SPEAKERS", 2)
    (found,) = probes_of(material(speakers=4), seed=0)
    assert len(np.unique(found.speakers)) == 2


# ---- Error rates


def test_error_rates_are_by_corpus_and_condition():
    validation = Validation([corpus("one", 6), corpus("two", 6)])
    errors = validation.errors(perfect_but_deaf_in_noise)
    assert errors == {
        ("one", "clean"): 0.0,
        ("one", "noise"): 50.0,
        ("two", "clean"): 0.0,
        ("two", "noise"): 50.0,
    }
    assert validation.mean(errors) == 25.0


def test_the_ratio_is_the_geometric_mean_over_the_teachers():
    validation = Validation([corpus("one", 6)])
    errors = {("one", "clean"): 0.7, ("one", "noise"): 4.7}
    teachers = {("one", "clean"): 1.7, ("one", "noise"): 9.7}
    assert validation.ratio(errors, teachers) == pytest.approx(math.sqrt((1 / 2) * (5 / 10)))
    assert validation.ratio(teachers, teachers) == 1.0


def test_a_corpus_of_few_speakers_judges_nothing_beside_a_larger_one():
    errors = {("large", "clean"): 10.0, ("small", "clean"): 40.0}
    assert Validation([corpus("large", 6), corpus("small", 2)]).mean(errors) == 10.0
    assert Validation([corpus("large", 3), corpus("small", 2)]).mean(errors) == 25.0


def test_nobody_to_validate_on_is_refused():
    with pytest.raises(UsageError, match="too few speakers are left for validation"):
        Validation([])


def test_the_teachers_voices_are_those_of_its_encoder(utterance_of):
    from membrane.voice.encoders.resemblyzer import DVectorEncoder
    from membrane.voice.frontends.partials import speech_of

    samples = [utterance_of("ada", "login").samples, utterance_of("boris", "enrol").samples]
    voices = teacher_voices([Spectrum.of(speech_of(one)) for one in samples])
    expected = [DVectorEncoder().embed(one).vector for one in samples]
    assert np.allclose(voices, expected, atol=1e-5)


def test_patience_counts_from_the_best_validation():
    best = Best()
    assert [best.improved(step, ratio) for step, ratio in ((5, 0.9), (10, 0.8), (15, 0.8))] == [
        True,
        True,
        False,
    ]
    assert (best.step, best.ratio, best.worse_since, best.asked_at) == (10, 0.8, 1, 15)


def test_a_network_hears_each_utterance_as_if_it_were_alone(utterance_of, monkeypatch):
    pytest.importorskip("torch")
    from membrane.voice.encoders import membrane as robust
    from membrane.voice.frontends.partials import PARTIALS_PER_SECOND

    # Validation gives the network the same partials as its teacher.
    monkeypatch.setattr(robust, "PARTIALS_PER_SECOND", PARTIALS_PER_SECOND)
    from membrane.training.network import encoder_of, from_resemblyzer
    from membrane.training.validation import network_voices
    from membrane.voice.frontends.partials import speech_of

    network = from_resemblyzer().eval()
    people = ("ada", "boris", "clara", "ada")
    samples = [utterance_of(name, "login").samples for name in people]
    spectra = [Spectrum.of(speech_of(one)) for one in samples]
    voices = network_voices(network, spectra)
    assert np.allclose(voices[0], voices[3], atol=1e-6)
    assert np.allclose(
        voices, [encoder_of(network).embed(one).vector for one in samples], atol=1e-5
    )
