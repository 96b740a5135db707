from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.errors import UsageError
from membrane.login.retention import overdue, parse_date, warning

TODAY = date(2026, 11, 21)


def test_a_date_is_stored_as_it_was_written():
    assert parse_date("2027-02-28", today=TODAY) == "2027-02-28"
    assert parse_date(" 2027-02-28\n", today=TODAY) == "2027-02-28"


def test_today_may_be_the_last_day():
    assert parse_date("2026-11-21", today=TODAY) == "2026-11-21"
    assert not overdue("2026-11-21", TODAY)


def test_a_day_in_the_past_is_refused():
    with pytest.raises(UsageError, match="2026-11-20 is in the past: choose a day to come"):
        parse_date("2026-11-20", today=TODAY)
    with pytest.raises(UsageError, match="in the past"):
        parse_date("2020-01-01")


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2027-02-30", "20270228", "2027-W08-1", "28.02.2027", "2027-2-28", "٢٠٢٧-٠٢-٢٨"],
)
def test_what_is_not_a_date_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="is not a date: write it like 2027-12-31"):
        parse_date(text, today=TODAY)


def parsed(text):
    """Return the date, or the message that refuses it."""
    try:
        return date.fromisoformat(parse_date(text, today=TODAY))
    except UsageError as error:
        return str(error)


@given(st.text())
def test_whatever_is_written_is_a_day_to_come_or_refused_in_one_line(text):
    found = parsed(text)
    assert found >= TODAY if isinstance(found, date) else len(found.splitlines()) == 1


@given(st.dates(), st.dates())
def test_a_record_is_overdue_once_its_last_day_is_over(last, today):
    assert overdue(last.isoformat(), today) == (last < today)


def test_a_record_without_a_date_is_never_overdue():
    assert not overdue("", date.max)
    assert warning("ada", "", date.max) == ""


def test_the_warning_says_since_when_and_what_to_do():
    assert warning("ada", "2026-11-21", TODAY) == ""
    told = warning("ada", "2026-11-20", TODAY)
    assert "ada was to be kept until 2026-11-20" in told
    assert "membrane delete" in told
    assert len(told.splitlines()) == 1
