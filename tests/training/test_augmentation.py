from dataclasses import asdict, replace

import numpy as np
import pytest

from membrane.errors import UsageError
from membrane.evaluation import codecs
from membrane.training.augmentation import Augmentation, at_speed, stretch
from membrane.training.recipe import AugmentationRecipe, Codecs, NoiseKinds
from tests.training.synthetic_material import hum, material

NOTHING = AugmentationRecipe(
    clean_share=0.0,
    colour_share=0.0,
    room_share=0.0,
    noise_share=0.0,
    band_share=0.0,
    codec_share=0.0,
    clipping_share=0.0,
    level_dbfs=(-20.0, -20.0),
)
SPEECH = hum(150, 1.5).astype(np.float32)


def heard_and_wanted(seed=0, samples=SPEECH, sounds=None, **shares):
    augmentation = Augmentation(replace(NOTHING, **shares), sounds or material())
    return augmentation(samples, np.random.default_rng(seed))


def level(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def only(kind):
    return NoiseKinds(**{name: float(name == kind) for name in asdict(NoiseKinds())})


def test_without_any_share_only_the_level_changes():
    heard, wanted = heard_and_wanted(level_dbfs=(-25.0, -25.0))
    assert heard is wanted
    assert level(heard) == pytest.approx(-25.0, abs=0.01)
    np.testing.assert_allclose(heard / heard.max(), SPEECH / SPEECH.max(), atol=1e-5)


def test_the_level_is_drawn_from_its_range():
    levels = [level(heard_and_wanted(seed, level_dbfs=(-29.0, -14.0))[0]) for seed in range(20)]
    assert -29.01 < min(levels) < -25
    assert -18 < max(levels) < -13.99


@pytest.mark.parametrize("kind", asdict(NoiseKinds()))
def test_noise_of_every_kind_has_the_ratio_asked_for(kind):
    heard, wanted = heard_and_wanted(
        noise_share=1.0, second_noise_share=0.0, snr_db=(7.0, 7.0), noises=only(kind)
    )
    loud = np.abs(wanted) > 0.1 * np.sqrt(np.mean(wanted**2))
    assert level(wanted[loud]) - level(heard - wanted) == pytest.approx(7.0, abs=0.1)


def test_a_second_noise_makes_it_a_little_louder():
    one, two = (
        heard_and_wanted(noise_share=1.0, second_noise_share=share, snr_db=(0.0, 0.0))
        for share in (0.0, 1.0)
    )
    ratios = [level(wanted) - level(heard - wanted) for heard, wanted in (one, two)]
    assert 0.1 < ratios[0] - ratios[1] < 4


def test_nobody_is_heard_behind_themselves():
    augmentation = Augmentation(NOTHING, material(speakers=2))
    babble = augmentation.babble(16_000, np.random.default_rng(5), "made/001")
    spectrum = np.abs(np.fft.rfft(babble))
    assert spectrum[80:84].max() > 5 * spectrum[98:105].max()


def test_where_nobody_else_speaks_there_is_noise_in_place_of_babble():
    augmentation = Augmentation(NOTHING, material(speakers=1))
    babble = augmentation.babble(1_000, np.random.default_rng(0), "made/000")
    assert level(babble) == pytest.approx(0.0, abs=0.01)


def test_without_noise_files_other_noise_is_heard():
    heard, wanted = heard_and_wanted(
        noise_share=1.0, noises=only("files"), sounds=material(noises=0)
    )
    assert heard is not wanted
    assert np.isfinite(heard).all()


def test_a_room_is_in_what_is_wanted_too():
    heard, wanted = heard_and_wanted(room_share=1.0, room_files_share=1.0)
    assert heard is wanted
    expected = np.convolve(SPEECH, material().rooms[0])[: len(SPEECH)]
    np.testing.assert_allclose(heard / heard.std(), expected / expected.std(), atol=1e-3)


@pytest.mark.parametrize("codec", asdict(Codecs()))
def test_every_codec_changes_what_is_heard_and_wanted(codec):
    chosen = Codecs(**{name: float(name == codec) for name in asdict(Codecs())})
    heard, wanted = heard_and_wanted(codec_share=1.0, codecs=chosen)
    assert heard is wanted
    # Between 400 and 2,000 Hz every one of them leaves the harmonics in place.
    powers = [np.abs(np.fft.rfft(part))[600:3_000] ** 2 for part in (heard, SPEECH)]
    assert np.corrcoef(*powers)[0, 1] > 0.9
    assert np.abs(heard - heard_and_wanted()[0]).max() > 1e-4


def test_a_band_leaves_little_outside_of_it():
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    powers = np.zeros(8_000)
    for seed in range(10):
        heard, _ = heard_and_wanted(seed, samples=noise, band_share=1.0)
        powers += np.abs(np.fft.rfft(heard)[:-1].reshape(8_000, 2)).sum(axis=1)
    assert powers[1_000:2_000].mean() > 3 * powers[:40].mean()
    assert powers[1_000:2_000].mean() > 3 * powers[7_500:].mean()


def test_clipping_flattens_what_is_heard_only():
    heard, wanted = heard_and_wanted(clipping_share=1.0)
    assert np.mean(heard == heard.max()) > 3 * np.mean(wanted == wanted.max())


def test_clean_stretches_are_never_in_noise_rooms_or_codecs():
    shares = {"noise_share": 1.0, "room_share": 1.0, "codec_share": 1.0, "clean_share": 1.0}
    heard, wanted = heard_and_wanted(**shares)
    assert heard is wanted
    np.testing.assert_allclose(heard / heard.max(), SPEECH / SPEECH.max(), atol=1e-5)


def test_the_same_chance_makes_the_same_and_another_makes_another():
    recipe = AugmentationRecipe()

    def made(seed):
        return Augmentation(recipe, material())(SPEECH, np.random.default_rng(seed))

    for seed in range(8):
        for first, again in zip(made(seed), made(seed), strict=True):
            np.testing.assert_array_equal(first, again)
    assert not np.array_equal(made(0)[0], made(1)[0])


@pytest.mark.parametrize("samples", [np.zeros(4_000, np.float32), SPEECH[:200]])
def test_silence_and_scraps_of_speech_stay_finite(samples):
    recipe = replace(AugmentationRecipe(), clean_share=0.0)
    augmentation = Augmentation(recipe, material())
    for seed in range(40):
        for part in augmentation(samples, np.random.default_rng(seed)):
            assert part.shape == samples.shape
            assert part.dtype == np.float32
            assert np.isfinite(part).all()


def test_a_codec_that_is_not_here_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr(codecs, "_works", lambda name: name != "opus")
    with pytest.raises(UsageError, match="'opus' does not exist here"):
        Augmentation(AugmentationRecipe(), material())
    Augmentation(AugmentationRecipe(codec_share=0.0), material())


def test_a_stretch_goes_on_at_the_beginning():
    samples = np.arange(5, dtype=np.float16)
    for seed in range(10):
        chance = np.random.default_rng(seed)
        assert set(np.diff(stretch(samples, 12, chance))) == {1.0, -4.0}
        assert set(np.diff(stretch(samples, 3, chance))) == {1.0}


def test_faster_is_higher_and_shorter():
    fast = at_speed(hum(400, 1.0).astype(np.float32), 1.25)
    assert len(fast) == 12_800
    assert np.argmax(np.abs(np.fft.rfft(fast))) * 16_000 / len(fast) == pytest.approx(500)
