"""The central broker: one engine that decides, listeners that move bytes, a journal that remembers."""
