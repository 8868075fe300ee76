"""What devices and the places that they are in may be called: each is one or more levels of a topic."""

from typing import Final

from oriole.wire.topics import TopicError, check_topic_name

MAX_NAME_BYTES: Final = 64
"""What a serial device can call itself (docs/serial.md); every other protocol takes more."""


def check_name(name: str) -> None:
    """Raise `TopicError` unless `name` can be a part of topics and of every protocol's greeting."""
    check_topic_name(name)
    if name.startswith("$"):
        raise TopicError(f"topics that begin with `$` are the broker's own: {name!r}")  # [MQTT-4.7.2-1]
    if not all(name.split("/")):
        raise TopicError(f"an empty topic level: {name!r}")
    if not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise TopicError(f"a name has at most {MAX_NAME_BYTES} printable bytes: {name!r}")
