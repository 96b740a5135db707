"""Recordings of known speakers: files, folders, labels and what is said in them."""
