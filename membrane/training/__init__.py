"""Training an encoder: from speech and noise to a network that knows voices in any noise."""
