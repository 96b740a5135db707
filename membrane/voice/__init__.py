"""The voice: an utterance as a d-vector, and how alike two of them are."""
