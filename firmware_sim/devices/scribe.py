"""Who writes down what devices see: a ledger, or a journal from which another process reads it into its ledger."""

from typing import Protocol

from firmware_sim.report.ledger import Identity, Message, Received


class Scribe(Protocol):
    """Times are ns of one monotonic clock. `firmware_sim.report.ledger.Ledger` says more."""

    run: str

    def listens(self, name: str, topic_filter: str, qos: int, way: str, latest_only: bool, now_ns: int) -> None:
        """From now on, what matches is due to `name`."""

    def forgotten(self, name: str, now_ns: int) -> None:
        """The other side knows nothing of `name`, which subscribes anew."""

    def failed(self, name: str, keeps_state: bool, now_ns: int) -> None:
        """`name` was killed, or lost its power."""

    def left(self, name: str, now_ns: int) -> None:
        """The connection of `name` ended with its own doing, or with its power."""

    def disconnected(self, name: str, reason: str, now_ns: int) -> None:
        """The connection of `name` ended, as it noticed now."""

    def sent(self, message: Message) -> int:
        """A message is about to leave; returns its ticket."""

    def accepted(self, ticket: int, now_ns: int) -> None:
        """The publisher holds an acknowledgement."""

    def refused(self, ticket: int, reason: str) -> None:
        """The publisher was told no."""

    def unanswered(self, ticket: int, reason: str) -> None:
        """Nobody knows whether the other side has it."""

    def resent(self, tickets: list[int]) -> None:
        """The publisher sent these again."""

    def received(
        self, name: str, way: str, delivery: Received, stamp: Identity | None, now_ns: int, was_away: bool
    ) -> None:
        """`name` got a message."""

    def confirmed(self, commander: str, order_topic: str, number: int, now_ns: int) -> None:
        """An order came back obeyed."""

    def answered(self, way: str, now_ns: int, took_ns: int, found: bool) -> None:
        """A device asked for a value and got an answer."""

    def updated(self, name: str, version: str, now_ns: int) -> None:
        """`name` runs new firmware."""

    def note(self, what: str, detail: str) -> None:
        """An event that is no message."""
