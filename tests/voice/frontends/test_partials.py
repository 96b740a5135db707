import pytest

from membrane.voice.frontends.partials import partial_starts


@pytest.mark.parametrize(
    ("sample_count", "starts"),
    [
        (1, [0]),
        (25_600, [0]),
        (25_600 + 77 * 160, [0, 77]),
        (77 * 160 + 19_199, [0]),
        (77 * 160 + 19_200, [0, 77]),
        (80_000, [0, 77, 154, 231, 308]),
    ],
)
def test_the_last_partial_counts_if_three_quarters_of_it_are_sound(sample_count, starts):
    assert list(partial_starts(sample_count)) == starts


def test_partials_start_as_often_as_asked():
    assert list(partial_starts(80_000, 1.0)) == [0, 100, 200, 300]
