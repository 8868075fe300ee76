"""The gateway's end of a serial line: hears who is there, lets its owner decide, then takes and delivers.

A session belongs to a device, not to a line: the owner keeps it by the device's id and gives it to `welcome`, on
whichever line the device shows up.
"""

from __future__ import annotations

from oriole.link.serial.endpoint import Config, Endpoint, State
from oriole.link.serial.events import Event, Greeted
from oriole.link.serial.inbox import Inbox
from oriole.link.serial.outbox import Outbox
from oriole.link.serial.session import Session
from oriole.wire.serial import Bye, Deliver, Error, Hello, Publish, Reason, Skip, Subscribe, Unsubscribe, Welcome
from oriole.wire.serial.frames import VERSION


class GatewayEndpoint(Endpoint):
    """One port of a gateway called `name`."""

    __slots__ = ("_hello", "name")

    _TAKES = (Publish, Subscribe, Unsubscribe, Skip)

    def __init__(self, name: str, config: Config | None = None) -> None:
        super().__init__(config or Config(), None)
        self.name = name
        self._hello: Hello | None = None  # waits for the owner's decision

    def new_session(self, boot_id: bytes) -> Session:
        """A session for a device that is not known; `boot_id` is 1 to 16 bytes that no other session has had."""
        return Session(Outbox(boot_id, self.config.max_queue_bytes), Inbox(self.config.window))

    def welcome(self, session: Session, now: int) -> list[Event]:
        """Lets in the device of the last `Greeted`; nothing happens when it has gone meanwhile."""
        self._now = now
        if not self._hello:
            return []
        events = self._up(session, self._hello)
        self._hello = None
        inbox, outbox = session.inbox, session.outbox
        self._say(
            Welcome(
                version=VERSION,
                boot_id=outbox.boot_id,
                peer_boot_id=inbox.peer_boot_id,
                acknowledged=inbox.acknowledged,
                oldest=outbox.oldest,
                credits=inbox.credits,
                max_frame_bytes=self.config.max_frame_bytes,
                name=self.name,
            )
        )
        return events

    def reject(self, reason: Reason, text: str, now: int) -> None:
        """Turns the device away, or ends its session (which is then no longer on this line)."""
        self._now = now
        self._down(reason, text)
        self._leave()
        self._say(Bye(reason, text))

    def deliver(self, topic: str, payload: bytes, now: int, qos: int = 1, retain: bool = False) -> int | None:
        """Queues a message for the device; returns its number, which `Acknowledged` will name, or 0 for qos 0.

        Raises QueueFull and TooLargeError as DeviceEndpoint.publish (None: dropped), RuntimeError without a session.
        """
        self._now = now
        session = self._welcomed()
        if not qos:
            return 0 if self._send_once(Deliver(0, topic, payload, retain)) else None
        return self._send(session, Deliver(session.outbox.next_sequence, topic, payload, retain))

    def refuse(self, sequence: int, reason: Reason, text: str, now: int) -> None:
        """Tells the device that its frame (0: one without a number) was not obeyed; acknowledging it is another call.

        Raises QueueFull: then the frame stays unacknowledged, and the owner tries again after the next `Acknowledged`.
        """
        self._now = now
        session = self._welcomed()
        self._send(session, Error(session.outbox.next_sequence, sequence, reason, text))

    def closed(self, now: int) -> list[Event]:
        """As Endpoint.closed; the session is the owner's."""
        events = super().closed(now)
        self._leave()
        return events

    def _welcomed(self) -> Session:
        if self.session is None:
            raise RuntimeError("no device has been welcomed on this line")
        return self.session

    def _leave(self) -> None:
        self.session = None
        self._hello = None

    def _begin(self) -> None:
        """Asks whoever is there to greet: a device that was up before this gateway was would not know.

        The session stays until another is welcome: its owner may still be handling what came before its end.
        """
        self.state = State.GREETING
        self._hello = None
        self._say(Bye(Reason.NO_SESSION, "greet"))

    def _stranger(self) -> None:
        if not self._hello:
            self._say(Bye(Reason.NO_SESSION, "greet"))

    def _greeting(self, greeting: Hello | Welcome) -> list[Event]:
        if not isinstance(greeting, Hello):
            return []
        if greeting.version != VERSION:
            self._say(Bye(Reason.UNSUPPORTED_VERSION, f"this gateway speaks version {VERSION}"))
            return []
        events = self._down(Reason.NORMAL, "the device greets again")
        self._control.clear()
        repeated = self._hello == greeting
        self._hello = greeting
        return events if repeated else [*events, Greeted(greeting)]
