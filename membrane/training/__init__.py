"""Training an encoder: speech and noise in, a network that knows voices in any noise out."""
