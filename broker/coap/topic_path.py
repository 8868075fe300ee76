"""Topics as paths: `a/b` is `/ps/data/a/b`, a level per segment.

Options carry UTF-8 as it is; percent-encoding exists only in URIs as text. Some topics that MQTT allows have no path:
with an empty level, or one over 255 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from oriole.wire.coap import CoapError, Code, Remedy
from oriole.wire.topics import TopicError, check_topic_name

DATA = [b"ps", b"data"]
"""Where topics begin."""
MAX_SEGMENT_BYTES = 255
"""The longest Uri-Path option (RFC 7252 §5.10)."""


def topic_of(segments: Sequence[bytes]) -> bytes:
    """The topic whose levels are `segments`.

    Raises:
        CoapError: to be answered with 4.00, for segments that are no levels of a topic.
    """
    for segment in segments:
        if not segment:
            raise _bad("an empty segment")
        if len(segment) > MAX_SEGMENT_BYTES:
            raise _bad(f"a segment of {len(segment)} bytes; the longest has {MAX_SEGMENT_BYTES}")
        if b"/" in segment:
            raise _bad("a slash inside a segment")
    topic = b"/".join(segments)
    try:
        check_topic_name(topic.decode())
    except UnicodeDecodeError:
        raise _bad("a segment that is not UTF-8") from None
    except TopicError as error:
        raise _bad(str(error)) from None
    return topic


def _bad(what: str) -> CoapError:
    return CoapError(Remedy.ANSWER, f"not a topic: {what}", Code.BAD_REQUEST)
