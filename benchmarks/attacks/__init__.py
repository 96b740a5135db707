"""Attacks that are tried, and how often each of them gets in."""
