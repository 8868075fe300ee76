"""What a bad line does to bytes: some arrive as others, and some arrive that nobody sent."""

from random import Random

from .chance import Chance


class Noise:
    """Of the bytes of a line a share is `damaged`; beside a share another one is `inserted`."""

    __slots__ = ("_damage", "_insert", "_random")

    def __init__(self, random: Random, damaged: float = 0.0, inserted: float = 0.0) -> None:
        self._random = random
        self._damage = Chance(damaged, random)
        self._insert = Chance(inserted, random)

    def disturb(self, data: bytes) -> bytes:
        """`data` as it comes out at the other end."""
        arrived = bytearray()
        for byte in data:
            if self._insert.hit():
                arrived.append(self._random.getrandbits(8))
            arrived.append(byte ^ self._random.randint(1, 255) if self._damage.hit() else byte)
        return bytes(arrived)
