"""What encoders do to sound before their network hears it."""
