"""What the programs of Oriole share: the wire, the exchanges on it, and small modules around them."""

__version__ = "0.1.0"
