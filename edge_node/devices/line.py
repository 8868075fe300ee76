"""One serial line of the node: the gateway's endpoint on it, and the device that is there.

Bytes come from a port and go to its channel. What arrives is obeyed in order; a frame that cannot be obeyed yet keeps
the ones behind it waiting, without credits, so that the device slows down and the line holds one window at most.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pushes import payload_of
from broker.core.settlement import Reason as Loss
from edge_node.devices.device import SerialDevice
from oriole.link.serial import Acknowledged, Disconnected, Event, GatewayEndpoint, Greeted, Received, Skipped
from oriole.wire.serial import Hello, Noise, Publish, Reason

if TYPE_CHECKING:
    from edge_node.devices.registry import Devices


class Line:
    """What a port's bytes mean.

    Attributes:
        channel: where its bytes go. While it is held, nothing is obeyed, so nothing acknowledged: credits run out.
        device: who is there and welcome; None before that.
        counters: frames refused, and unnumbered messages dropped because the line was held.
    """

    __slots__ = ("_devices", "_endpoint", "_waiting", "channel", "counters", "device", "wake_at")

    def __init__(self, devices: Devices, channel: Channel) -> None:
        self._devices = devices
        self._endpoint = GatewayEndpoint(devices.name, devices.config)
        self._waiting: deque[Received] = deque()  # numbered frames that nobody has obeyed yet
        self.channel = channel
        self.device: SerialDevice | None = None
        self.counters = {"refused": 0, "dropped": 0}
        self.wake_at = 0

    def counts(self) -> dict[str, int]:
        """Everything that was counted on this line, by name."""
        return self._endpoint.line_counters | self._endpoint.counters | self.counters

    # ---- from the port

    def opened(self, now: int) -> None:
        """The port is open."""
        self._endpoint.opened(now)
        self._flush(now)

    def receive(self, data: bytes, now: int) -> None:
        """Bytes came."""
        for event in self._endpoint.receive(data, now):
            self._handle(event, now)
        pressure = self._devices.router.engine.pressure
        if pressure.met:
            pressure.hold(self.channel, now)
        self._flush(now)

    def resume(self, now: int) -> None:
        """The channel is no longer held."""
        self._work(now)
        self._flush(now)

    def written(self, now: int) -> None:
        """The channel has room again."""
        for event in self._endpoint.tick(now):
            self._handle(event, now)
        self._flush(now)

    def closed(self, now: int) -> None:
        """The port is closed; the device may come back on any line."""
        self._endpoint.closed(now)
        self._part(now)

    def due(self, now: int) -> int | None:
        """Something is to be repeated, asked or given up."""
        for event in self._endpoint.tick(now):
            self._handle(event, now)
        self._flush(now)
        return self._endpoint.deadline()

    # ---- from the device's side of the node

    def deliver(self, message: Message, qos: int, retain: bool, now: int) -> int | None:
        """Send a message down; as GatewayEndpoint.deliver."""
        number = self._endpoint.deliver(message.topic.decode(), payload_of(message, now), now, qos, retain)
        self._flush(now)
        return number

    def refuse(self, sequence: int, reason: Reason, text: str, now: int) -> None:
        """Tell the device that its frame was not obeyed. Raises QueueFull when there is no room to say so."""
        self._endpoint.refuse(sequence, reason, text[:200], now)
        self.counters["refused"] += 1

    def dismiss(self, reason: Reason, text: str, now: int) -> None:
        """End the session on this line; what was not acknowledged will come again, on whichever line."""
        self._endpoint.reject(reason, text, now)
        self._part(now)
        self._flush(now)

    # ---- what arrived

    def _handle(self, event: Event, now: int) -> None:
        if isinstance(event, Received):
            if event.sequence:
                self._waiting.append(event)
                self._work(now)
            elif self.device and not self.channel.holds:
                if not self.device.take(self, event, now):
                    self.counters["dropped"] += 1
            else:
                self.counters["dropped"] += 1
                if self.device and isinstance(event.frame, Publish):
                    self.device.turn_away(event.frame, Loss.SLOW_READER, now)
        elif isinstance(event, Skipped):
            if self.device:
                self.device.skipped(event.sequence, now)
        elif isinstance(event, Acknowledged):
            if self.device:
                self.device.acknowledged(event.sequence, now)
                self._work(now)
        elif isinstance(event, Greeted):
            self._greeted(event.hello, now)
        elif isinstance(event, Disconnected):
            self._part(now)
        elif isinstance(event, Noise):
            self._devices.log_noise(self.channel.peer, event)

    def _work(self, now: int) -> None:
        """Obey what waits, in order, as far as it goes; it is acknowledged when this turn is committed."""
        device = self.device
        last: Received | None = None
        while device and self._waiting and not self.channel.holds and device.take(self, self._waiting[0], now):
            last = self._waiting.popleft()
        if device and last:
            self._devices.router.engine.promises.made.append(_Acknowledgement(device, last))

    def _greeted(self, hello: Hello, now: int) -> None:
        device = self._devices.admit(self, hello, now)
        if device is None:
            self._endpoint.reject(Reason.QUOTA_EXCEEDED, "too many devices", now)
            return
        device.arrived(self)
        self.device = device
        for event in self._endpoint.welcome(device.session, now):
            self._handle(event, now)
        device.pump(now)

    def _part(self, now: int) -> None:
        """The device is no longer here: what nobody has obeyed counts as never received."""
        if self.device and self.device.line is self:
            if self._waiting:
                self.device.session.inbox.disown(self._waiting[0].sequence)
            self.device.left(now)
        self.device = None
        self._waiting.clear()

    def settle(self, received: Received, now: int) -> None:
        """Acknowledge a frame of the device on this line, and those before it."""
        self._endpoint.acknowledge(received, now)
        self._flush(now)

    def _flush(self, now: int) -> None:
        """Give the channel what there is to write, unless it still has something: so it never holds much."""
        if not self.channel.size:
            data = self._endpoint.outgoing()
            if data:
                self.channel.send(data)
        deadline = self._endpoint.deadline()
        if deadline is not None:
            self._devices.router.engine.deadlines.schedule(self, deadline)


class _Acknowledgement:
    """Owed to a device for what it sent, once the journal has it."""

    __slots__ = ("_device", "_received")

    def __init__(self, device: SerialDevice, received: Received) -> None:
        self._device = device
        self._received = received

    def kept(self, now: int) -> None:
        """Acknowledge: on the line where the device is now, or in its session for when it is back."""
        inbox = self._device.session.inbox
        if self._device.line:
            self._device.line.settle(self._received, now)
        elif self._received.epoch == inbox.epoch:
            inbox.acknowledge(self._received.sequence)

    def broken(self, now: int) -> None:
        """Nothing was promised: the device keeps it and sends it again."""
        if self._device.line:
            self._device.line.dismiss(Reason.UNAVAILABLE, "the message could not be kept", now)
        self._device.session.inbox.void()
