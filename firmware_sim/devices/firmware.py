"""New firmware on its way into a device, chunk by chunk: a state machine that knows no messages and no time.

`Flash` is the memory that a power cut leaves alone: which firmware runs, which one was offered, and how much of it is
there. A chunk that is not the one wanted changes nothing, so that repeats and what belongs to an earlier offer are
harmless. When all chunks are there the whole is checked against the hash that was offered; what does not match is
thrown away and fetched again, `MAX_FAILURES` times at most.

What firmware consists of follows from its version and size, so that whoever hands it out keeps none of it.
"""

import hashlib
from enum import Enum, auto
from functools import lru_cache
from typing import Annotated, Final

import msgspec

FACTORY_VERSION: Final = "1.0"
CHUNK_BYTES: Final = 512
"""In base64, with its topic and stamp, a chunk still fits one datagram (RFC 7252 §4.6) and one serial frame."""
MAX_FIRMWARE_BYTES: Final = 16 << 20
MAX_FAILURES: Final = 3

Version = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_FIRMWARE_BYTES)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_FIRMWARE_BYTES)]


class Offer(msgspec.Struct, frozen=True):
    """Firmware that somebody has for a device."""

    version: Version
    """What it is called."""
    size: Size
    """Bytes of the whole."""
    sha256: str
    """Hash of the whole, in hexadecimal."""
    chunk_bytes: Size = CHUNK_BYTES
    """Bytes of each chunk but the last."""

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.size // self.chunk_bytes)

    def chunk_size(self, number: int) -> int:
        """Bytes of chunk `number`, from 0."""
        return min(self.chunk_bytes, self.size - number * self.chunk_bytes)


class Ask(msgspec.Struct, frozen=True):
    """A device wants a chunk."""

    version: Version
    """Of which firmware."""
    size: Size
    """Bytes of the whole."""
    chunk_bytes: Size
    """Bytes of each chunk but the last."""
    chunk: Count
    """Which one, from 0."""


class Chunk(msgspec.Struct, frozen=True):
    """A part of some firmware."""

    version: Version
    """Of which firmware."""
    chunk: Count
    """Which one, from 0."""
    data: bytes
    """The part itself; base64 in JSON."""


class Outcome(Enum):
    """What became of a chunk."""

    IGNORED = auto()
    TAKEN = auto()
    INSTALLED = auto()
    CORRUPT = auto()


class Flash:
    """`version` runs; `offer` is being fetched, of which `taken` chunks are there."""

    __slots__ = ("_failures", "_hash", "offer", "taken", "version")

    def __init__(self, version: str = FACTORY_VERSION) -> None:
        self.version = version
        self.forget()

    def forget(self) -> None:
        """What was fetched so far is gone, and the offer with it; what runs still runs."""
        self.offer: Offer | None = None
        self._failures = 0
        self._begin()

    def _begin(self) -> None:
        self.taken = 0
        self._hash = hashlib.sha256()

    @property
    def wanted(self) -> Ask | None:
        """The chunk that comes next; None: nothing is wanted."""
        offer = self.offer
        if offer is None or self._failures == MAX_FAILURES:
            return None
        return Ask(offer.version, offer.size, offer.chunk_bytes, self.taken)

    def offered(self, offer: Offer) -> bool:
        """Whether it is news: neither what runs nor what is being fetched. An earlier offer is dropped then."""
        if offer == self.offer or offer.version == self.version:
            return False
        self.forget()
        self.offer = offer
        return True

    def take(self, chunk: Chunk) -> Outcome:
        """Put a chunk where it belongs, if it is the one that is wanted; after the last one, check the whole."""
        offer, wanted = self.offer, self.wanted
        if offer is None or wanted is None or (chunk.version, chunk.chunk) != (wanted.version, wanted.chunk):
            return Outcome.IGNORED
        if len(chunk.data) != offer.chunk_size(chunk.chunk):
            return Outcome.IGNORED
        self._hash.update(chunk.data)
        self.taken += 1
        if self.taken < offer.chunks:
            return Outcome.TAKEN
        if self._hash.hexdigest() != offer.sha256:
            self._failures += 1
            self._begin()
            return Outcome.CORRUPT
        self.version = offer.version
        self.forget()
        return Outcome.INSTALLED


@lru_cache(maxsize=4)
def image(version: str, size: int) -> bytes:
    """The whole firmware."""
    return hashlib.shake_256(f"{version}/{size}".encode()).digest(size)


@lru_cache(maxsize=4)
def offer(version: str, size: int) -> Offer:
    """What a device is told of it."""
    return Offer(version, size, hashlib.sha256(image(version, size)).hexdigest())


def chunk(ask: Ask) -> Chunk:
    """What a device asked for; empty beyond the end."""
    start = ask.chunk * ask.chunk_bytes
    return Chunk(ask.version, ask.chunk, image(ask.version, ask.size)[start : start + ask.chunk_bytes])
