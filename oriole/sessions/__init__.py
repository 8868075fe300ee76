"""`oriole sessions`: who is there, and who is behind."""

from oriole.sessions.main import main

__all__ = ["main"]
