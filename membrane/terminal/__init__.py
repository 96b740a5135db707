"""What a person sees and answers in a terminal."""
