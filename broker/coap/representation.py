"""A topic's value as CoAP carries it: ETag, Content-Format, Max-Age, and blocks where it is large."""

from __future__ import annotations

from hashlib import blake2b

from broker.core.message import Message
from broker.core.pushes import payload_of
from oriole.wire.coap import Block, CoapError, Code, Option, Options, Remedy, encode_tail, encode_uint
from oriole.wire.coap.blocks import MAX_BLOCK_BYTES, MAX_EXPONENT
from oriole.wire.coap.content_formats import content_format_of

ETAG_BYTES = 8
NOTHING_YET: Options = [(Option.MAX_AGE, b"")]
"""Options of the empty 2.05 that an observer of a topic without a value gets: nothing that a cache may keep."""


class Representation:
    """One message as the state of its topic.

    Attributes:
        message: the value.
        payload: its bytes; a push comes in its envelope, without the lifetime: that is what Max-Age says.
        content_format: its Content-Format, where its media type has a number; that of the envelope for a push.
    """

    __slots__ = ("_etag", "content_format", "message", "payload")

    def __init__(self, message: Message) -> None:
        header = message.header
        self.message = message
        self.payload = payload_of(message, None)
        media_type = header.content_type if header is not None else None
        if self.payload is not message.payload:
            media_type = "application/cbor"
        self.content_format = content_format_of(media_type) if media_type is not None else None
        self._etag = b""

    @property
    def etag(self) -> bytes:
        """A name for this value: made from its bytes, so that it is right after a restart and on another node too."""
        if not self._etag:
            digest = blake2b(self.payload, digest_size=ETAG_BYTES)
            digest.update(b"" if self.content_format is None else b"%d" % self.content_format)
            self._etag = digest.digest()
        return self._etag

    def options(self, now: int) -> Options:
        """Content-Format, and Max-Age where the value expires."""
        options: Options = []
        if self.content_format is not None:
            options.append((Option.CONTENT_FORMAT, encode_uint(self.content_format)))
        if self.message.expires_at:
            options.append((Option.MAX_AGE, encode_uint(max(0, self.message.expires_at - now) // 1000)))
        return options

    def content(self, block: Block | None, extra: Options, now: int) -> bytes:
        """Options and payload of a 2.05: the whole value, or the block asked for (RFC 7959 §2.4).

        Raises:
            CoapError: to be answered with 4.00, for a block behind the end.
        """
        options = [(int(Option.ETAG), self.etag), *self.options(now), *extra]
        return self._cut(options, block)

    def notification(self, number: int, now: int) -> bytes:
        """Options and payload of a notification. Of a large value the first block; the client gets the others."""
        options = [(int(Option.OBSERVE), encode_uint(number)), *self.options(now)]
        if len(self.payload) <= MAX_BLOCK_BYTES:
            return encode_tail(options, self.payload)
        return self._cut([(Option.ETAG, self.etag), *options], None)

    def _cut(self, options: Options, block: Block | None) -> bytes:
        payload = self.payload
        size = len(payload)
        if block is None:
            if size <= MAX_BLOCK_BYTES:
                return encode_tail(options, payload)
            block = Block(0, True, MAX_EXPONENT)
        start, end = block.offset, block.offset + block.size
        if start >= size:
            raise CoapError(Remedy.ANSWER, f"block {block.number} is behind the end", Code.BAD_REQUEST)
        part = Block(block.number, end < size, block.exponent)
        options = [*options, (Option.BLOCK2, part.encode())]
        if not block.number:
            options.append((Option.SIZE2, encode_uint(size)))
        return encode_tail(options, payload[start:end])
