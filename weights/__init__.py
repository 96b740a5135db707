"""The model files that Membrane ships; in a wheel this folder is the package membrane._weights."""
