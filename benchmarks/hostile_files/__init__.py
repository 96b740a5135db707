"""A hundred thousand damaged recordings and databases, each through what a command does with it."""
