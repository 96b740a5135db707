"""The voiceprints of the people who are enrolled, and the file that keeps them."""
