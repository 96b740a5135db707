"""The encoders, one module each."""
