"""From the bytes of a serial line to frames, and to whatever else was on it.

A serial line carries more than frames: a boot loader's greeting, a log, noise. The decoder never fails and never holds
more than one frame: what is between two delimiters and is no frame goes out as `Noise`, counted by what is wrong with
it, and the next delimiter is a new start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias
from zlib import crc32

from oriole.wire.serial import cobs, frames


class Damage(Enum):
    """Why bytes between two delimiters are no frame."""

    TEXT = "text"  # all printable: somebody's log, nothing lost
    CUT = "cut"
    BAD_CRC = "bad_crc"
    OVER_LONG = "over_long"


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that are no frame, as they came, without delimiters."""

    data: bytes
    damage: Damage


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that arrived whole (its CRC is right) and says what no frame may say: the peer is wrong, not the line."""

    error: frames.FrameError


Item: TypeAlias = frames.Frame | Noise | Malformed

_PRINTABLE: Final = bytes(range(0x20, 0x7F)) + b"\t\n\r\x1b"  # with the escape of coloured logs


class Decoder:
    """One direction of one line: `receive` bytes as they come, get what they hold."""

    __slots__ = ("_rest", "_skipping", "counters", "max_frame_bytes")

    def __init__(self, max_frame_bytes: int = frames.DEFAULT_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.counters = {"frames": 0, "malformed": 0} | {damage.value: 0 for damage in Damage}
        self._rest = b""  # behind the last delimiter, at most one encoded frame
        self._skipping = False  # inside something over-long, up to the next delimiter

    def receive(self, data: bytes) -> list[Item]:
        """Everything that `data` completes, in the order of the line."""
        *chunks, rest = (self._rest + data).split(b"\0")
        items: list[Item] = []
        for chunk in chunks:
            if self._skipping:
                self._skipping = False
                if chunk:
                    items.append(Noise(chunk, Damage.OVER_LONG))
            elif chunk:
                items.append(self._item(chunk))
        if self._skipping or len(rest) > self.max_frame_bytes:
            if not self._skipping:
                items.append(self._noise(rest, Damage.OVER_LONG))
                self._skipping = True
            elif rest:
                items.append(Noise(rest, Damage.OVER_LONG))
            rest = b""
        self._rest = rest
        return items

    def reset(self) -> None:
        """The line is a new one: forget the half frame of the old one."""
        self._rest = b""
        self._skipping = False

    def _item(self, chunk: bytes) -> Item:
        if len(chunk) > self.max_frame_bytes:
            return self._noise(chunk, Damage.OVER_LONG)
        try:
            content = cobs.decode(chunk)
        except cobs.CobsError:
            return self._noise(chunk, Damage.CUT)
        body, crc = content[: -frames.CRC_BYTES], content[-frames.CRC_BYTES :]
        if not body:
            return self._noise(chunk, Damage.CUT)
        if crc32(body) != int.from_bytes(crc, "big"):
            return self._noise(chunk, Damage.BAD_CRC)
        try:
            frame = frames.decode(body)
        except frames.FrameError as error:
            self.counters["malformed"] += 1
            return Malformed(error)
        self.counters["frames"] += 1
        return frame

    def _noise(self, chunk: bytes, damage: Damage) -> Noise:
        if not chunk.strip(_PRINTABLE):
            damage = Damage.TEXT
        self.counters[damage.value] += 1
        return Noise(chunk, damage)
