"""A message on standard output: its bytes as they came, or a line of JSON."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from oriole.pubsub.failure import Failure


@dataclass(slots=True)
class Received:
    """A message, whatever it came over. `properties` have the names of MQTT 5."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any] = field(default_factory=dict)


class PrintError(Failure):
    """Standard output cannot be written, for another reason than that nobody reads it."""


class Printer:
    """Writes messages to a binary file, which may be a pipe that nobody reads any more."""

    __slots__ = ("_as_json", "_output", "_with_topic")

    def __init__(self, output: BinaryIO, *, with_topic: bool, as_json: bool) -> None:
        self._output = output
        self._with_topic = with_topic
        self._as_json = as_json

    def write(self, message: Received) -> None:
        """One line, unless the payload has line ends of its own. Raises BrokenPipeError, PrintError."""
        if self._as_json:
            line = as_json(message).encode()
        elif self._with_topic:
            line = message.topic.encode() + b" " + message.payload
        else:
            line = message.payload
        with _in_words():
            self._output.write(line + b"\n")

    def flush(self) -> None:
        """After each batch: who reads a pipe wants to see it now. Raises BrokenPipeError, PrintError."""
        with _in_words():
            self._output.flush()


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise PrintError(f"cannot write to standard output: {error.strerror}") from None


def as_json(message: Received) -> str:
    """One object without line ends: topic, payload, qos, retain, properties; `encoding` is "base64" where the payload
    is not UTF-8, and left out otherwise. Binary properties are in base64.
    """
    text, encoding = _text(message.payload)
    return json.dumps(
        {
            "topic": message.topic,
            "payload": text,
            **({"encoding": encoding} if encoding else {}),
            "qos": message.qos,
            "retain": message.retain,
            "properties": {
                name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
                for name, value in message.properties.items()
            },
        },
        ensure_ascii=False,
    )


def _text(payload: bytes) -> tuple[str, str]:
    try:
        return payload.decode(), ""
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode(), "base64"
