"""Exchanges that need a clock: time goes in as an argument, bytes and events come out; nothing here waits."""
