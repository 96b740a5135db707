"""Checking what somebody else may have written."""

from __future__ import annotations


class NewerVersion(ValueError):
    """The file was written by a Membrane that knows a later version of the format."""


def require(condition: object, problem: str) -> None:
    """Raise a `ValueError` that tells the problem unless a condition holds."""
    if not condition:
        raise ValueError(problem)
