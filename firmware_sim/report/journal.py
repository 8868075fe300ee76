"""What the devices of one process see, written down for another one: each word to a ledger becomes a record in a file.

So devices of several processes have one account. Whoever closes the books reads all journals, in the order in which
things happened, into one ledger, which then knows everybody's subscriptions, messages and receipts. All processes read
one clock, and a message is written down before it leaves: no receipt is met before its message.

A record is its length in 4 bytes, and an array of msgpack: when it was written, the word, and what was said with it.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from .ledger import Identity, Ledger, Message, Received

_LENGTH_BYTES: Final = 4
_RECORDS_AT_ONCE: Final = 500


class Journal:
    """Writes what it is told into `file`, whose readers see what was flushed. See `firmware_sim.devices.scribe.Scribe`.

    Args:
        run: whose messages count.
        file: where to.
        now_ns: the clock.
    """

    __slots__ = ("_encode", "_file", "_now_ns", "received_total", "run", "sent_total")

    def __init__(self, run: str, file: IO[bytes], now_ns: Callable[[], int]) -> None:
        self.run = run
        self.sent_total = 0
        self.received_total = 0
        self._file: IO[bytes] | None = file
        self._now_ns = now_ns
        self._encode = msgspec.msgpack.Encoder().encode

    def flush(self) -> None:
        """Let readers see all of it."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """The run is over: what devices say and hear while everything is switched off is no part of it."""
        self.flush()
        self._file = None

    def listens(self, name: str, topic_filter: str, qos: int, way: str, latest_only: bool, now_ns: int) -> None:
        self._put("listens", name, topic_filter, qos, way, latest_only, now_ns)

    def forgotten(self, name: str, now_ns: int) -> None:
        self._put("forgotten", name, now_ns)

    def failed(self, name: str, keeps_state: bool, now_ns: int) -> None:
        self._put("failed", name, keeps_state, now_ns)

    def left(self, name: str, now_ns: int) -> None:
        self._put("left", name, now_ns)

    def disconnected(self, name: str, reason: str, now_ns: int) -> None:
        self._put("disconnected", name, reason, now_ns)

    def sent(self, message: Message) -> int:
        """A ticket is the number of messages before it."""
        self._put(
            "sent",
            message.publisher,
            message.topic,
            message.number,
            message.at_ns,
            message.qos,
            message.is_state,
            message.of,
            message.payload,
            message.way,
            message.lifetime_s,
        )
        self.sent_total += 1
        return self.sent_total - 1

    def accepted(self, ticket: int, now_ns: int) -> None:
        self._put("accepted", ticket, now_ns)

    def refused(self, ticket: int, reason: str) -> None:
        self._put("refused", ticket, reason)

    def unanswered(self, ticket: int, reason: str) -> None:
        self._put("unanswered", ticket, reason)

    def resent(self, tickets: list[int]) -> None:
        self._put("resent", tickets)

    def received(
        self, name: str, way: str, delivery: Received, stamp: Identity | None, now_ns: int, was_away: bool
    ) -> None:
        self.received_total += 1
        identity = None if stamp is None else (stamp.run, stamp.publisher, stamp.number, stamp.at_ns)
        self._put(
            "received",
            name,
            way,
            (delivery.topic, delivery.payload, delivery.repeat, delivery.stored),
            identity,
            now_ns,
            was_away,
        )

    def confirmed(self, commander: str, order_topic: str, number: int, now_ns: int) -> None:
        self._put("confirmed", commander, order_topic, number, now_ns)

    def answered(self, way: str, now_ns: int, took_ns: int, found: bool) -> None:
        self._put("answered", way, now_ns, took_ns, found)

    def updated(self, name: str, version: str, now_ns: int) -> None:
        self._put("updated", name, version, now_ns)

    def note(self, what: str, detail: str) -> None:
        self._put("note", what, detail)

    def _put(self, *record: object) -> None:
        if self._file is not None:
            body = self._encode((self._now_ns(), *record))
            self._file.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)


class _Arrival(msgspec.Struct, frozen=True):
    """See `Received`."""

    topic: str
    payload: bytes
    repeat: bool
    stored: bool


class _Identity(msgspec.Struct, frozen=True):
    """See `Identity`."""

    run: str
    publisher: str
    number: int
    at_ns: int


class _Reader:
    """A journal that may still be written."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._file = path.open("rb")
        self._ledger = ledger
        self._decode = msgspec.msgpack.Decoder(list[Any]).decode
        self._ahead: list[Any] | None = None
        self._tickets: list[int] = []  # its tickets to the ledger's

    def close(self) -> None:
        self._file.close()

    def records(self, until_ns: int) -> Iterator[tuple[list[Any], "_Reader"]]:
        """Those that were written by then, for `enter`."""
        while True:
            if self._ahead is None:
                self._ahead = self._next()
            if self._ahead is None or self._ahead[0] > until_ns:
                return
            yield self._ahead, self  # and it stays, until it is entered: reading may be given up before

    def _next(self) -> list[Any] | None:
        """None where nothing whole is written yet."""
        start = self._file.tell()
        head = self._file.read(_LENGTH_BYTES)
        size = int.from_bytes(head, "big")
        body = self._file.read(size) if len(head) == _LENGTH_BYTES else b""
        if not body or len(body) < size:
            self._file.seek(start)
            return None
        return self._decode(body)

    def enter(self, record: list[Any]) -> None:
        """Say it to the ledger; the next one can be read."""
        self._ahead = None
        _, word, *said = record
        ledger, tickets = self._ledger, self._tickets
        match word:
            case "sent":
                tickets.append(ledger.sent(Message(*said)))
            case "accepted" | "refused" | "unanswered":
                ticket, word_of_it = said
                getattr(ledger, word)(tickets[ticket], word_of_it)
            case "resent":
                ledger.resent([tickets[ticket] for ticket in said[0]])
            case "received":
                name, way, arrival, identity, now_ns, was_away = said
                stamp = None if identity is None else _Identity(*identity)
                ledger.received(name, way, _Arrival(*arrival), stamp, now_ns, was_away)
            case _:
                getattr(ledger, word)(*said)


def _written_ns(source: tuple[list[Any], _Reader]) -> int:
    written_ns: int = source[0][0]
    return written_ns


class Journals:
    """Several journals and the ledger that they are read into."""

    def __init__(self, ledger: Ledger, files: Sequence[Path]) -> None:
        self._readers = [_Reader(path, ledger) for path in files]

    def read(self, until_ns: int) -> Iterator[None]:
        """Read on, up to what was written at `until_ns`, which has been flushed; with pauses, in which others act."""
        sources = (reader.records(until_ns) for reader in self._readers)
        for number, (record, reader) in enumerate(heapq.merge(*sources, key=_written_ns)):
            reader.enter(record)
            if number % _RECORDS_AT_ONCE == 0:
                yield

    def close(self) -> None:
        """Let go of the files."""
        for reader in self._readers:
            reader.close()
