"""Values that arrive block by block (RFC 7959 §2.5): put together in order, in bounded memory.

A client that starts again at block 0 replaces what it sent before. What nobody finishes is pushed out by newer uploads
or ends with its time.
"""

from __future__ import annotations

from collections.abc import Hashable

from oriole.wire.coap import Block, CoapError, Code, Remedy

LIFETIME_MS = 247_000
"""EXCHANGE_LIFETIME: after this, no block that belongs here can still be on its way."""
OVERHEAD_BYTES = 500
"""What CPython spends on an upload beside its bytes."""

Key = tuple[Hashable, bytes]
"""Who uploads, and the topic."""


class _Upload:
    __slots__ = ("content_format", "data", "expires")

    def __init__(self, content_format: bytes | None) -> None:
        self.content_format = content_format
        self.data = bytearray()
        self.expires = 0


class Uploads:
    """Unfinished bodies by client and topic.

    Args:
        max_bytes: of all of them together, bookkeeping included.
        max_body_bytes: of one.
    """

    __slots__ = ("_max_body_bytes", "_max_bytes", "_uploads", "bytes")

    def __init__(self, max_bytes: int, max_body_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_body_bytes = max_body_bytes
        self._uploads: dict[Key, _Upload] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._uploads)

    def add(self, key: Key, block: Block, content_format: bytes | None, payload: bytes, now: int) -> bytes | None:
        """Take a block. The whole body if it was the last one, None if more are to come.

        Raises:
            CoapError: to be answered with 4.08 for a block that does not follow what is here, with 4.13 for a body
                that grows too large, with 4.00 for a block that is shorter than it says and not the last.
        """
        upload = self._uploads.pop(key, None)
        if upload is not None:
            self.bytes -= len(upload.data) + OVERHEAD_BYTES
        if block.more and len(payload) != block.size:
            raise CoapError(Remedy.ANSWER, f"a block of {len(payload)} bytes says {block.size}", Code.BAD_REQUEST)
        if block.number == 0:
            upload = _Upload(content_format)
        if upload is None or (upload.expires and upload.expires <= now):
            raise _incomplete("no upload to continue: begin with block 0")
        if len(upload.data) != block.offset or upload.content_format != content_format:
            raise _incomplete(f"block at {block.offset} does not follow {len(upload.data)} bytes")
        if len(upload.data) + len(payload) > self._max_body_bytes:
            raise CoapError(Remedy.ANSWER, "too large", Code.REQUEST_ENTITY_TOO_LARGE)
        upload.data += payload
        if not block.more:
            return bytes(upload.data)
        upload.expires = now + LIFETIME_MS
        self._uploads[key] = upload
        self.bytes += len(upload.data) + OVERHEAD_BYTES
        self._shrink(now)
        return None

    def _shrink(self, now: int) -> None:
        """The upload that was continued longest ago comes first."""
        while len(self._uploads) > 1:
            key = next(iter(self._uploads))
            oldest = self._uploads[key]
            if oldest.expires > now and self.bytes <= self._max_bytes:
                return
            del self._uploads[key]
            self.bytes -= len(oldest.data) + OVERHEAD_BYTES


def _incomplete(diagnostic: str) -> CoapError:
    return CoapError(Remedy.ANSWER, diagnostic, Code.REQUEST_ENTITY_INCOMPLETE)
