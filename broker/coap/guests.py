"""Who may use the broker by CoAP. A client is an address; it is asked about once, before its first request is served.

Whoever has to wait for a verdict leaves something to do again. By then the verdict is known, and it goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from broker.core.engine import Engine
from broker.core.questions import Action, Admission, Permission, Verdict
from oriole.wire.coap import CoapError, Code, Remedy

Again = Callable[[int], None]
"""Try once more, at `now`."""
MOST_PERMISSIONS = 256
"""Verdicts on topics remembered per client; the oldest is asked again."""


class Guest:
    """One client.

    Attributes:
        allowed: may come in; None while nobody has said.
        restricted: asked about for every topic.
        permissions: by action and topic; None while nobody has said.
        waiting: what to do again once `allowed` is known.
    """

    __slots__ = ("allowed", "permissions", "restricted", "waiting")

    def __init__(self) -> None:
        self.allowed: bool | None = None
        self.restricted = False
        self.permissions: dict[tuple[Action, bytes], Permit] = {}
        self.waiting: list[Again] = []


class Permit:
    """The verdict on one action and topic, and what waits for it."""

    __slots__ = ("allowed", "waiting")

    def __init__(self) -> None:
        self.allowed: bool | None = None
        self.waiting: list[Again] = []


class Guests:
    """Clients by address.

    Args:
        engine: takes the questions.
        capacity: most clients remembered.

    Attributes:
        trusted: those who may read every topic: the hot path looks here.
    """

    __slots__ = ("_capacity", "_engine", "_guests", "trusted")

    def __init__(self, engine: Engine, capacity: int) -> None:
        self._engine = engine
        self._capacity = capacity
        self._guests: dict[Hashable, Guest] = {}
        self.trusted: dict[Hashable, Guest] = {}

    def admit(self, address: Hashable, again: Again) -> Guest | None:
        """The client at `address`; None while nobody has said whether it may come in: `again` is called then.

        Raises:
            CoapError: to be answered with 4.01.
        """
        guest = self._guests.get(address)
        if guest is None:
            guest = self._ask(address)
        if guest.allowed is None:
            guest.waiting.append(again)
            return None
        if not guest.allowed:
            raise CoapError(Remedy.ANSWER, "not admitted", Code.UNAUTHORIZED)
        return guest

    def permit(self, guest: Guest, address: Hashable, action: Action, topic: bytes, again: Again) -> bool:
        """Whether to go on. False while nobody has said: `again` is called then.

        Raises:
            CoapError: to be answered with 4.03.
        """
        if action is Action.PUBLISH and topic.startswith(b"$"):
            raise CoapError(Remedy.ANSWER, "topics that begin with $ are the broker's own", Code.FORBIDDEN)
        if not guest.restricted:
            return True
        permit = guest.permissions.get((action, topic))
        if permit is None:
            permit = self._ask_permission(guest, address, action, topic)
        if permit.allowed is None:
            permit.waiting.append(again)
            return False
        if not permit.allowed:
            raise CoapError(Remedy.ANSWER, f"not permitted to {action} here", Code.FORBIDDEN)
        return True

    def forget(self, address: Hashable) -> None:
        """Verdicts about a client have changed: ask again."""
        self._guests.pop(address, None)
        self.trusted.pop(address, None)

    def _ask(self, address: Hashable) -> Guest:
        if len(self._guests) >= self._capacity:
            self.forget(next(iter(self._guests)))
        guest = self._guests[address] = Guest()

        def answer(verdict: Verdict, now: int) -> None:
            guest.allowed = verdict.allowed
            guest.restricted = verdict.restricted
            if guest.allowed and not guest.restricted and self._guests.get(address) is guest:
                self.trusted[address] = guest
            _go_on(guest, now)

        ticket = self._engine.ticket(answer)
        self._engine.questions.append(Admission(ticket, "", None, None, address, "coap"))
        return guest

    def _ask_permission(self, guest: Guest, address: Hashable, action: Action, topic: bytes) -> Permit:
        if len(guest.permissions) >= MOST_PERMISSIONS:
            del guest.permissions[next(iter(guest.permissions))]
        permit = guest.permissions[action, topic] = Permit()

        def answer(verdict: Verdict, now: int) -> None:
            permit.allowed = verdict.allowed
            _go_on(permit, now)

        ticket = self._engine.ticket(answer)
        self._engine.questions.append(Permission(ticket, f"coap {address}", None, action, topic.decode()))
        return permit


def _go_on(asked: Guest | Permit, now: int) -> None:
    waiting, asked.waiting = asked.waiting, []
    for again in waiting:
        again(now)
