"""Model files: registry, fetching, and running them."""
