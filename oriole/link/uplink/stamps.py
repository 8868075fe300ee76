"""What two nodes tell each other beside messages, as MQTT 5 user properties."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from oriole.wire.uplink import MOST_NODES

NODE: Final = "oriole-node"
"""CONNECT and CONNACK: the node's name."""
EPOCH: Final = "oriole-epoch"
"""CONNECT and CONNACK: which numbering the node's sequences (up) or orders (down) belong to: 128 random bits in hex."""
ORDER: Final = "oriole-order"
"""CONNACK, PUBLISH down: a place in the centre's order, a decimal number."""
LIFE: Final = "oriole-life"
"""CONNECT: which run of the node's program this is; by commas, earlier ones that may have sent the newest message."""
SEQUENCE: Final = "oriole-sequence"
"""CONNACK: `class:number`, for each class up to which number the centre has the messages of this epoch."""
QOS: Final = "oriole-qos"
"""PUBLISH: `2` where the message was published with QoS 2. It travels with QoS 1: the numbers make it exactly-once."""
PATH: Final = "oriole-path"
"""PUBLISH: names of the nodes it has passed, oldest first, separated by commas."""
STAMPS: Final = frozenset((ORDER, QOS, PATH))

SNAPSHOT_END: Final = "$oriole/snapshot-end"
"""Topic of the message that ends the retained messages which answer a SUBSCRIBE. Payload: the life that they are for,
and the filters, one a line."""

MOST_STAMP_BYTES: Final = 2_048
"""Bytes that stamps add to a packet at most: a node grants so much more to another than to a client."""
MOST_NAME: Final = 64
"""Characters of a node's name, an epoch, a class: what a peer says of itself is kept as long as the node runs."""
MOST_DIGITS: Final = 18
MOST_CLASSES: Final = 8
"""In one epoch."""
MOST_LIVES: Final = 16
"""Of so many in a row none was answered; with more, an edge begins a new epoch."""


class StampError(ValueError):
    """A stamp that no Oriole node writes: the peer is at fault."""


@dataclass(slots=True, frozen=True)
class Greeting:
    """How nodes introduce themselves: `name` and `epoch`; an edge with its `life` and earlier ones, `lives`, that may
    have sent the newest message of the epoch; a centre with its `order` so far, and up to which number it `has`
    messages of each class of the edge's epoch.
    """

    name: str
    epoch: str
    order: int = 0
    life: str = ""
    lives: tuple[str, ...] = ()
    has: tuple[tuple[str, int], ...] = ()

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]]) -> Self | None:
        """The greeting among user properties; None from somebody who is no node. Raises StampError."""
        pairs = list(pairs)
        found = dict(pairs)
        if NODE not in found or EPOCH not in found:
            return None
        life, *lives = found.get(LIFE, "").split(",")
        has = [value.partition(":") for name, value in pairs if name == SEQUENCE]
        if len(lives) > MOST_LIVES or any(len(name) > MOST_NAME for name in (life, *lives)) or len(has) > MOST_CLASSES:
            raise StampError(f"a greeting that means nothing: {found!s:.200}")
        return cls(
            _name(found[NODE]),
            _name(found[EPOCH]),
            _number(found.get(ORDER, "0")),
            life,
            tuple(lives),
            tuple((_name(traffic_class), _number(number)) for traffic_class, _, number in has),
        )

    def pairs(self) -> list[tuple[str, str]]:
        """The greeting as user properties."""
        pairs = [(NODE, self.name), (EPOCH, self.epoch)]
        if self.order:
            pairs.append((ORDER, str(self.order)))
        if self.life:
            pairs.append((LIFE, ",".join((self.life, *self.lives[-MOST_LIVES:]))))
        return pairs + [(SEQUENCE, f"{traffic_class}:{number}") for traffic_class, number in self.has]


@dataclass(slots=True, frozen=True)
class Stamp:
    """What a node says about one message. Absent facts are 0 or empty."""

    order: int = 0
    qos: int = 0
    path: tuple[str, ...] = ()

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """The stamp among a message's user properties. Raises StampError."""
        found = {name: value for name, value in pairs if name in STAMPS}
        if not found:
            return cls()
        qos = found.get(QOS, "0")
        path = tuple(map(_name, found[PATH].split(","))) if PATH in found else ()
        if qos not in ("0", "2") or len(path) > MOST_NODES:
            raise StampError(f"a stamp that means nothing: {found!s:.200}")
        return cls(_number(found.get(ORDER, "0")), int(qos), path)

    def pairs(self) -> list[tuple[str, str]]:
        """The stamp as user properties."""
        pairs = []
        if self.order:
            pairs.append((ORDER, str(self.order)))
        if self.qos == 2:
            pairs.append((QOS, "2"))
        if self.path:
            pairs.append((PATH, ",".join(self.path)))
        return pairs


def without_stamps(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """User properties as the publisher wrote them."""
    return [pair for pair in pairs if pair[0] not in STAMPS]


def _name(text: str) -> str:
    if not 0 < len(text) <= MOST_NAME or not text.isascii() or "," in text:
        raise StampError(f"not a name: {text!r:.80}")
    return text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise StampError(f"not a number: {text!r:.40}")
    return int(text)
