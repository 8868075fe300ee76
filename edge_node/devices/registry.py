"""The serial devices that a node knows: by name, whichever line they are on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.records import Marked, Record
from broker.core.router import Router
from edge_node.devices.device import MARK_PREFIX, SerialDevice
from edge_node.devices.line import Line
from oriole.link.serial import Config, Inbox, Outbox, Session
from oriole.link.uplink import Mark
from oriole.wire.serial import Hello, Noise, Reason


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What serial devices may use of the node."""

    max_devices: int = 256
    """Devices known at once, plugged in or away."""

    max_subscriptions: int = 256
    """Subscriptions per device."""

    max_queue_messages: int = 1000
    """QoS 1 messages that wait for one device; then their publishers are refused or slowed."""

    max_queue_bytes: int = 1 << 20
    """The same in bytes of messages."""

    absence_ms: int = 3_600_000
    """How long a device that is away keeps its subscriptions and what waits for it."""


class Devices:
    """Every serial device of a node.

    Args:
        name: the node's, told to devices in WELCOME.
        router: where devices publish and subscribe.
        make_boot_id: 1 to 16 bytes that it has never returned before, in this or an earlier life.
        log_noise: takes what is on a line beside frames: (port, noise).
        limits, config: bounds of devices, and of their lines.
    """

    __slots__ = ("_make_boot_id", "config", "known", "limits", "log_noise", "name", "router")

    def __init__(
        self,
        name: str,
        router: Router,
        make_boot_id: Callable[[], bytes],
        log_noise: Callable[[object, Noise], None],
        limits: DeviceLimits | None = None,
        config: Config | None = None,
    ) -> None:
        self.name = name
        self.router = router
        self.log_noise = log_noise
        self.limits = limits or DeviceLimits()
        self.config = config or Config()
        self.known: dict[str, SerialDevice] = {}
        self._make_boot_id = make_boot_id

    def open(self, channel: Channel) -> Line:
        """A line for a port's channel, whatever will be plugged in there."""
        return Line(self, channel)

    def admit(self, line: Line, hello: Hello, now: int) -> SerialDevice | None:
        """The device that greets on this line, known or new; None when there is no room for another."""
        device = self.known.get(hello.name)
        if device is None:
            if len(self.known) >= self.limits.max_devices:
                return None
            device = self._make(hello.name)
        elif device.line is not None and device.line is not line:
            device.line.dismiss(Reason.TAKEN_OVER, "the device greeted on another line", now)
        return device

    def _make(self, name: str) -> SerialDevice:
        session = Session(Outbox(self._make_boot_id(), self.config.max_queue_bytes), Inbox(self.config.window))
        device = self.known[name] = SerialDevice(name, session, self)
        return device

    def records(self) -> Iterator[Record]:
        """What must be known after a restart: how far the devices' frames were taken."""
        for device in self.known.values():
            if device.session.inbox.received:
                yield Marked(device.mark(device.session.inbox.acknowledged))

    def recall(self, marks: dict[tuple[str, str], Mark], now: int) -> None:
        """Know again the devices whose frames were taken in an earlier life; their marks are no longer in `marks`."""
        for key, mark in list(marks.items()):
            if mark.traffic_class.startswith(MARK_PREFIX):
                del marks[key]
                device = self._make(mark.traffic_class.removeprefix(MARK_PREFIX))  # the newest of its boot ids is last
                device.session.inbox.remember(bytes.fromhex(mark.epoch), mark.sequence)
                device.left(now)

    def owed(self) -> Iterator[tuple[Message, SerialDevice, bool]]:
        """What devices have not acknowledged: messages, to whom, and whether they have their place on a line."""
        for device in self.known.values():
            for message, is_sent in device.owed():
                yield message, device, is_sent

    def forget(self, device: SerialDevice, now: int) -> None:
        """A device has been away for too long: it begins anew when it comes back."""
        del self.known[device.name]
        device.discard(now)
