"""How long a person's record is to be kept: a date that is chosen when they enrol."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from membrane.errors import UsageError


def parse_date(text: str, *, today: date | None = None) -> str:
    """Return the last day of a record, as it is stored: ``YYYY-MM-DD`` (ISO 8601).

    Parameters
    ----------
    text : str
        Written so already.
    today : date, optional
        By default the day it is here.

    Raises
    ------
    UsageError
        If it is no such date, or one in the past.
    """
    stripped = text.strip()
    found = None
    with suppress(ValueError):
        found = date.fromisoformat(stripped)
    if found is None or found.isoformat() != stripped:
        raise UsageError(f"{stripped!r} is not a date: write it like 2027-12-31")
    if found < (today or date.today()):
        raise UsageError(f"{stripped} is in the past: choose a day to come")
    return stripped


def overdue(keep_until: str, today: date) -> bool:
    """Return whether a record should be gone; never where no date was chosen.

    Parameters
    ----------
    keep_until : str
        As `parse_date` returns it: such dates are in the order of their texts. Empty for none.
    """
    return bool(keep_until) and keep_until < today.isoformat()


def warning(name: str, keep_until: str, today: date) -> str:
    """Return what to tell of a record that should be gone; empty if it may stay.

    Parameters
    ----------
    name : str
        Of the person.
    """
    if not overdue(keep_until, today):
        return ""
    return (
        f"{name} was to be kept until {keep_until}, which is over: `membrane delete` erases them, "
        "`membrane enroll --replace` keeps them for longer"
    )
