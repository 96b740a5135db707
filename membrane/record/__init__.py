"""What was decided and done: a log from which no line can be taken unnoticed."""
