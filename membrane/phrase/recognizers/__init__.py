"""The recognizers, a module for each engine, and what PocketSphinx needs."""
