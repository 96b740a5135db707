"""The decision log: a file from which no line can be taken unnoticed."""
