"""The encoders, a module for each."""
