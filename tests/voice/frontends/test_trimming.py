import numpy as np
import pytest

from membrane.voice.frontends.trimming import FRAME, kept_frames, raise_volume, trim_silences


def level_dbfs(samples):
    return 20 * np.log10(np.sqrt(np.mean(samples**2)))


def noise(dbfs, length=16000):
    return (10 ** (dbfs / 20) * np.random.default_rng(0).standard_normal(length)).astype(np.float32)


def flags(pattern):
    return np.array([character == "x" for character in pattern])


def shown(mask):
    return "".join("x" if kept else "." for kept in mask)


def test_a_quiet_recording_is_raised_to_30_db_below_full_scale():
    raised = raise_volume(noise(-50))
    assert level_dbfs(raised) == pytest.approx(-30, abs=1e-3)
    assert raised.dtype == np.float32


def test_a_loud_recording_keeps_its_volume():
    loud = noise(-12)
    np.testing.assert_array_equal(raise_volume(loud), loud)


@pytest.mark.parametrize("length", [0, 1, 5000])
def test_silence_stays_silence(length):
    raised = raise_volume(np.zeros(length, np.float32))
    assert len(raised) == length
    assert not raised.any()


# The patterns on the right were made by the package's moving average and SciPy's dilation.
@pytest.mark.parametrize(
    ("voiced", "kept"),
    [
        ("", ""),
        ("....", "...."),
        ("xxxx................", "...................."),
        ("xxxxx...............", "xxxxxxx............."),
        ("......xxxx..........", "...................."),
        ("......xxxxx.........", "...xxxxxxxxxx......."),
        ("xxxxxxxx", "xxxxxxxx"),
        ("...............xxxxx", "............xxxxxxxx"),
    ],
)
def test_more_than_half_of_the_frames_around_must_be_voiced(voiced, kept):
    assert shown(kept_frames(flags(voiced))) == kept


def test_silence_is_cut_from_around_a_sound_but_not_close_to_it():
    samples = np.concatenate([np.zeros(FRAME * 40), noise(-15, FRAME * 40), np.zeros(FRAME * 40)])
    trimmed = trim_silences(samples.astype(np.float32))
    assert FRAME * 40 < len(trimmed) < FRAME * 60
    assert len(trimmed) % FRAME == 0


@pytest.mark.parametrize("length", [0, 1, FRAME - 1, FRAME, 16000])
def test_nothing_is_left_of_silence(length):
    assert len(trim_silences(np.zeros(length, np.float32))) == 0


def test_sound_beyond_full_scale_is_cut_as_if_it_were_clipped():
    loud = 4 * noise(-10, FRAME * 50)
    clipped = np.clip(loud, -1, 1)
    assert len(trim_silences(loud)) == len(trim_silences(clipped))
