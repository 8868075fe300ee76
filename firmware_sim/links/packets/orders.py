"""What the forwarder is told and what it answers, beyond the orders about links that any carrier obeys."""

import msgspec

from ..orders import AddLink, Answer, Change, Count, Cut, Heal, Move


class AddPlace(msgspec.Struct, frozen=True, tag=True):
    """Make a place called `name`."""

    name: str


class Join(msgspec.Struct, frozen=True, tag=True):
    """Let the link reach `near`, from where connections are made, and `far`, where they are made to."""

    link: str
    near: str
    far: str


Order = AddPlace | AddLink | Join | Cut | Heal | Change | Move | Count


class PlaceAnswer(Answer, frozen=True, omit_defaults=True):
    """Also what only places have."""

    namespace_fd: int = -1
    """Of the new place, among the forwarder's descriptors."""
    addresses: dict[str, str] = msgspec.field(default_factory=dict)
    """On the link, by place."""
