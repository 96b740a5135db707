"""The words: what a person is asked to say, and whether they said it."""
