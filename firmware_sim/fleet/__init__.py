"""Many devices at once, from one file."""
