"""`oriole bench`: brokers side by side on the same rows, in one run, each in its own process."""

from firmware_sim.bench.cli import main

__all__ = ["main"]
