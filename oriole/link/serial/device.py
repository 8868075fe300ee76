"""The device's end of a serial line: greets until it is welcome, publishes, subscribes, is delivered to."""

from __future__ import annotations

from oriole.link.serial.endpoint import Config, Endpoint, State
from oriole.link.serial.events import Event, Received
from oriole.link.serial.inbox import Inbox
from oriole.link.serial.outbox import Outbox
from oriole.link.serial.session import Session
from oriole.wire.serial import Bye, Deliver, Error, Hello, Publish, Reason, Skip, Subscribe, Unsubscribe, Welcome
from oriole.wire.serial.frames import VERSION

_FIRST_HELLO_MS = 500


class DeviceEndpoint(Endpoint):
    """A device with a stable `device_id` and a `boot_id` that is new whenever its memory is (up to 16 random bytes).

    Frames may be queued before the line is open: they go once the gateway has said welcome, and after a replug whatever
    was not acknowledged goes again. With `automatic_acknowledgement` a DELIVER counts as settled when `receive` returns
    it; without, the owner calls `acknowledge`.
    """

    __slots__ = ("_greeted_at", "_hello_at", "_hello_ms", "_session", "automatic_acknowledgement", "device_id", "kind")

    _TAKES = (Deliver, Error, Skip)

    def __init__(
        self,
        device_id: str,
        boot_id: bytes,
        kind: str = "",
        config: Config | None = None,
        automatic_acknowledgement: bool = True,
    ) -> None:
        config = config or Config()
        self._session = Session(Outbox(boot_id, config.max_queue_bytes), Inbox(config.window))
        super().__init__(config, self._session)
        self.device_id = device_id
        self.kind = kind
        self.automatic_acknowledgement = automatic_acknowledgement
        self._hello_at = 0
        self._hello_ms = _FIRST_HELLO_MS
        self._greeted_at = -_FIRST_HELLO_MS  # when the last HELLO was made

    def publish(self, topic: str, payload: bytes, now: int, qos: int = 1, retain: bool = False) -> int | None:
        """Queues a message; returns its number, which `Acknowledged` will name, or 0 for qos 0.

        Raises TooLargeError when the gateway takes no frames of this length, and QueueFull when what waits has reached
        its limit. With qos 0 a full queue, like a line without a session, drops the message: None.
        """
        self._now = now
        if not qos:
            return 0 if self._send_once(Publish(0, topic, payload, retain)) else None
        return self._send(self._session, Publish(self._session.outbox.next_sequence, topic, payload, retain))

    def subscribe(self, filter: str, now: int, qos: int = 1) -> int:
        """Asks for what matches the filter; raises as `publish`. A refusal comes as an Error frame."""
        self._now = now
        return self._send(self._session, Subscribe(self._session.outbox.next_sequence, filter, qos))

    def unsubscribe(self, filter: str, now: int) -> int:
        """Asks for no more of it; raises as `publish`."""
        self._now = now
        return self._send(self._session, Unsubscribe(self._session.outbox.next_sequence, filter))

    def receive(self, data: bytes, now: int) -> list[Event]:
        """As Endpoint.receive; settles what it returns when acknowledgement is automatic."""
        events = super().receive(data, now)
        if self.automatic_acknowledgement:
            for event in events:
                if isinstance(event, Received):
                    self.acknowledge(event, now)
        return events

    def tick(self, now: int) -> list[Event]:
        """As Endpoint.tick; says HELLO again while no WELCOME comes."""
        events = super().tick(now)
        if self.state is State.GREETING and now >= self._hello_at:
            self._hello()
        return events

    def deadline(self) -> int | None:
        """As Endpoint.deadline."""
        return self._hello_at if self.state is State.GREETING else super().deadline()

    def _begin(self) -> None:
        """Greets at once, but never twice within a moment, whatever the gateway says."""
        self.state = State.GREETING
        self._hello_ms = _FIRST_HELLO_MS
        self._hello_at = max(self._now, self._greeted_at + _FIRST_HELLO_MS)
        if self._hello_at == self._now:
            self._hello()

    def _hello(self) -> None:
        inbox, outbox = self._session.inbox, self._session.outbox
        self._say(
            Hello(
                version=VERSION,
                boot_id=outbox.boot_id,
                peer_boot_id=inbox.peer_boot_id,
                acknowledged=inbox.acknowledged,
                oldest=outbox.oldest,
                credits=inbox.credits if inbox.peer_boot_id else inbox.window,
                max_frame_bytes=self.config.max_frame_bytes,
                name=self.device_id,
                kind=self.kind,
            )
        )
        self._greeted_at = self._now
        self._hello_at = self._now + self._hello_ms
        self._hello_ms = min(2 * self._hello_ms, self.config.max_retransmit_ms)

    def _stranger(self) -> None:
        """HELLO is on its way, or will be: what comes before WELCOME comes again after it."""

    def _greeting(self, greeting: Hello | Welcome) -> list[Event]:
        if not isinstance(greeting, Welcome) or greeting.peer_boot_id != self._session.outbox.boot_id:
            return []  # another device's, or an answer to what this one was before it booted
        if greeting.version != VERSION:
            return self._bye(Bye(Reason.UNSUPPORTED_VERSION, f"the gateway speaks version {greeting.version}"))
        if self.state is State.UP and greeting.boot_id == self._session.inbox.peer_boot_id:
            return []  # the answer to a HELLO that was said twice
        return self._up(self._session, greeting)

    def _bye(self, bye: Bye) -> list[Event]:
        events = super()._bye(bye)
        if bye.reason != Reason.NO_SESSION:  # a refusal will not have changed its mind at once
            self._control.clear()
            self._hello_at = self._now + self.config.max_retransmit_ms
        return events
