"""Checking what somebody else may have written."""

from __future__ import annotations


def require(condition: object, problem: str) -> None:
    """Raise a `ValueError` that tells the problem unless a condition holds."""
    if not condition:
        raise ValueError(problem)
