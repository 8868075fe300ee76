"""Why a run ends without a verdict."""

from oriole.wire.mqtt import PacketType


class LoadError(RuntimeError):
    """The broker is not there, refused a client, or did what ends the run. The message says which."""


def unexpected(first: int, to: str) -> LoadError:
    """The error for a packet that the broker has no reason to send; `first` is its first byte."""
    number = first >> 4
    name = PacketType(number).name if number else "a packet of type 0"
    return LoadError(f"the broker sent {name} to {to}")
