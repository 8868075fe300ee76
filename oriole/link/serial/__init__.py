"""The exchange on a serial line without the line: numbers, credits, repeats, and sessions that survive a replug."""

from oriole.link.serial.device import DeviceEndpoint
from oriole.link.serial.endpoint import Config, Endpoint, TooLargeError
from oriole.link.serial.events import Acknowledged, Connected, Disconnected, Event, Greeted, Received, Skipped
from oriole.link.serial.gateway import GatewayEndpoint
from oriole.link.serial.inbox import Inbox
from oriole.link.serial.outbox import Outbox, QueueFull
from oriole.link.serial.session import Session

__all__ = [
    "Acknowledged",
    "Config",
    "Connected",
    "DeviceEndpoint",
    "Disconnected",
    "Endpoint",
    "Event",
    "GatewayEndpoint",
    "Greeted",
    "Inbox",
    "Outbox",
    "QueueFull",
    "Received",
    "Session",
    "Skipped",
    "TooLargeError",
]
