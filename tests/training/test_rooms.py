import numpy as np
import pytest

from membrane.training.rooms import in_room, measured_response, simulated_response


def response(seed):
    return simulated_response(np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_simulated_room_sends_the_voice_first_and_then_an_echo_that_fades(seed):
    room = response(seed)
    assert room.dtype == np.float32
    assert room[0] == 1
    assert 0.1 * 16_000 - 1 <= len(room) <= 0.8 * 16_000
    early, late = np.split(room[1:], [len(room) // 2])
    assert np.sum(late**2) < np.sum(early**2)


def test_rooms_differ_and_depend_on_chance_alone():
    np.testing.assert_array_equal(response(1), response(1))
    assert len({len(response(seed)) for seed in range(10)}) > 5


def test_a_voice_in_a_room_is_as_loud_as_before_and_not_delayed():
    samples = np.zeros(16_000, np.float32)
    samples[4_000] = 0.5
    heard = in_room(samples, response(2))
    assert heard.shape == samples.shape
    assert heard.dtype == np.float32
    assert np.argmax(np.abs(heard)) == 4_000
    assert np.linalg.norm(heard) == pytest.approx(np.linalg.norm(samples), rel=1e-4)


def test_silence_stays_silent_in_any_room():
    assert not in_room(np.zeros(1_000, np.float32), response(3)).any()


def test_a_measured_room_begins_with_its_direct_sound():
    recorded = np.array([0.0, 0.1, -0.5, 0.25] + [0.0] * 20_000, np.float32)
    measured = measured_response(recorded)
    np.testing.assert_allclose(measured[:2], [1.0, -0.5])
    assert len(measured) == 16_000
