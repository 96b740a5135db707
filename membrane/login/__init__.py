"""From evidence to decision."""
