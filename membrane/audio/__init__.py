"""The sound: capturing it, reading it from files, judging whether it can be used."""
