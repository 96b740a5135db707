"""Error rates of Membrane beside those of other verifiers, all on the same sounds."""
