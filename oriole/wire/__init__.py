"""Bytes to values and back, without a clock: every protocol that Oriole speaks, and the names of topics."""
