"""A port on a serial line in virtual time: `oriole.link.serial`'s device on a virtual cable."""

from collections import deque

from firmware_sim.devices.port import Access, Delivery, Owner
from oriole.link.serial import (
    Acknowledged,
    Connected,
    DeviceEndpoint,
    Disconnected,
    Event,
    QueueFull,
    Received,
    TooLargeError,
)
from oriole.wire.serial import Deliver, Error

from .loop import Timeline
from .network import CableEnd

BOOT_ID_BYTES = 8


class SerialPort:
    """The device's end of a line. See `firmware_sim.devices.port.Port`."""

    latest_only = False

    def __init__(self, cable: CableEnd, timeline: Timeline, access: Access) -> None:
        self._cable = cable
        self._timeline = timeline
        self._access = access
        self._meter = access.meter
        self._boots = 0
        self._is_wanted = False
        self._is_stalled = False
        self._unread = b""
        self._alarm_ns = 0
        cable.listen(self)
        self._forget()

    def _forget(self) -> None:
        """Be as new: another boot id, nothing queued."""
        self._boots += 1
        boot_id = f"{self._access.run}/{self._boots}".encode()[-BOOT_ID_BYTES:]
        self._endpoint = DeviceEndpoint(self._access.name, boot_id, self._access.kind)
        self._tickets: deque[tuple[int, int]] = deque()  # number on the line, ticket
        self._filters: deque[tuple[int, str]] = deque()  # number on the line, topic filter

    # ---- What the device asks for

    def open(self, owner: Owner) -> None:
        """See `Port`."""
        self._owner = owner
        if not self._is_wanted:
            self._is_wanted = True
            if self._cable.is_plugged:
                self.plugged()

    def sleep(self) -> None:
        """See `Port`: it falls silent."""
        self.fail(keeps_state=True, silently=True)

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """See `Port`."""
        if self._is_wanted:
            self._is_wanted = False
            self._endpoint.closed(self._timeline.now_ms())
        if not keeps_state:
            self._forget()

    def stall(self, stalled: bool) -> None:
        """See `Port`."""
        self._is_stalled = stalled
        unread, self._unread = self._unread, b""
        if unread:
            self.receive(unread)

    def roam(self) -> None:
        """See `Port`."""
        raise NotImplementedError("a device on a serial line stays where it is")

    async def close(self) -> None:
        """See `Port`."""
        self.fail(keeps_state=True, silently=True)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """See `Port`."""
        number = self._endpoint.subscribe(topic_filter, self._timeline.now_ms(), qos)
        self._filters.append((number, topic_filter))
        self._advance([])

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        """See `Port`."""
        try:
            number = self._endpoint.publish(topic, payload, self._timeline.now_ms(), min(qos, 1), retain)
        except (QueueFull, TooLargeError) as error:
            self._owner.refused(ticket, str(error))
            return
        if number:
            self._tickets.append((number, ticket))
        self._advance([])

    def forget(self, topic: str) -> None:
        """See `Port`. A run in virtual time ends with its brokers: there is nothing to leave behind."""

    def read(self, topic: str) -> None:
        """See `Port`."""
        raise NotImplementedError("a serial device has no question: it subscribes")

    # ---- The line

    def plugged(self) -> None:
        """The cable is there."""
        if self._is_wanted:
            self._endpoint.opened(self._timeline.now_ms())
            self._advance([])

    def unplugged(self) -> None:
        """The cable is gone."""
        if self._is_wanted:
            self._endpoint.closed(self._timeline.now_ms())
            self._owner.disconnected("the cable is gone")

    def receive(self, data: bytes) -> None:
        """The cable brought bytes. A UART's buffer that nobody reads overflows: what does not fit is lost."""
        if self._is_stalled:
            self._unread = (self._unread + data)[:4096]
        elif self._is_wanted:
            if self._meter is not None:
                self._meter.received(len(data), self._timeline.now)
            self._advance(self._endpoint.receive(data, self._timeline.now_ms()))

    def _advance(self, events: list[Event]) -> None:
        for event in events:
            self._tell(event)
        if not self._is_wanted or not self._cable.is_plugged:
            return
        if data := self._endpoint.outgoing():
            if self._meter is not None:
                self._meter.sent(len(data), self._timeline.now)
            self._cable.write(data)
        deadline = self._endpoint.deadline()
        if deadline is not None and (not self._alarm_ns or deadline * 1_000_000 < self._alarm_ns):
            self._alarm_ns = max(deadline * 1_000_000, self._timeline.now)
            self._timeline.at(self._alarm_ns, self._alarm, self._alarm_ns)

    def _alarm(self, set_for_ns: int) -> None:
        if set_for_ns == self._alarm_ns:
            self._alarm_ns = 0
            if self._is_wanted:
                self._advance(self._endpoint.tick(self._timeline.now_ms()))

    def _tell(self, event: Event) -> None:
        match event:
            case Connected(resumed=resumed):
                if self._meter is not None:
                    self._meter.connected(self._timeline.now)
                self._owner.connected(resumed)
            case Disconnected(text=text):
                self._owner.disconnected(text)
            case Received(frame=Deliver(sequence, topic, payload, retain)):
                self._owner.delivered(Delivery(topic, payload, min(sequence, 1), repeat=False, stored=retain))
            case Received(frame=Error() as error):
                self._owner.unanswered(None, str(error))
            case Acknowledged(sequence):
                while self._tickets and self._tickets[0][0] <= sequence:
                    self._owner.accepted(self._tickets.popleft()[1])
                while self._filters and self._filters[0][0] <= sequence:
                    self._owner.subscribed(self._filters.popleft()[1])
