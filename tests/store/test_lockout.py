import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.store.lockout import (
    LONGEST_DELAY_S,
    MOST_FAILURES,
    delay_s,
    is_locked,
    refusal,
    wait_s,
)

TIMES = st.floats(0, 4e9)


def test_five_failures_cost_no_time():
    assert [delay_s(failures) for failures in range(5)] == [0.0] * 5


def test_the_delay_begins_with_thirty_seconds_and_doubles_up_to_an_hour():
    assert [delay_s(failures) for failures in range(5, 14)] == [
        30, 60, 120, 240, 480, 960, 1920, 3600, 3600,
    ]  # fmt: skip


@given(st.integers(5, 10**9))
def test_no_delay_is_shorter_than_the_standard_asks_for_or_longer_than_an_hour(failures):
    assert 30 <= delay_s(failures) <= delay_s(failures + 1) <= LONGEST_DELAY_S


def test_the_fiftieth_failure_locks_after_more_than_a_day_of_waiting():
    assert [failures for failures in range(60) if is_locked(failures)] == list(range(50, 60))
    assert sum(delay_s(failures) for failures in range(MOST_FAILURES)) / 3600 == pytest.approx(
        39, abs=0.1
    )


def test_the_wait_runs_from_the_last_failure():
    assert wait_s(5, last_failure_at=1000, now=1010) == 20
    assert wait_s(5, last_failure_at=1000, now=1030) == 0
    assert wait_s(4, last_failure_at=1000, now=1000) == 0


@given(st.integers(0, 60), TIMES, TIMES)
def test_nobody_waits_longer_than_the_delay_wherever_the_clock_was_set(failures, last, now):
    assert 0 <= wait_s(failures, last_failure_at=last, now=now) <= delay_s(failures)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(27.2, "28 s"), (0.001, "1 s"), (120, "120 s"), (120.5, "3 min"), (3600, "60 min")],
)
def test_the_wait_is_told_rounded_up(seconds, told):
    assert refusal("ada", failures=9, wait_s=seconds) == (
        f"too many failed logins as ada: try again in {told}"
    )


def test_who_is_locked_is_told_who_can_help_and_not_to_wait():
    assert refusal("ada", failures=50, wait_s=60) == (
        "too many failed logins as ada, now locked: whoever keeps the database can unlock it"
    )


def test_who_claims_no_name_is_told_none():
    assert refusal("", failures=5, wait_s=30) == "too many failed logins: try again in 30 s"


@given(st.text(min_size=1, max_size=200))
def test_a_refusal_is_one_printable_line_whatever_was_claimed(name):
    assert refusal(name, failures=5, wait_s=30).isprintable()
