"""An MQTT client without I/O: the edge's uplink, `oriole pub` and `oriole sub` are shells around it."""

from oriole.link.mqtt.client import Client
from oriole.link.mqtt.config import ClientConfig
from oriole.link.mqtt.events import (
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    Expired,
    MessageReceived,
    Published,
    Subscribed,
    Unsubscribed,
)
from oriole.link.mqtt.limits import PublishRefused
from oriole.link.mqtt.outbox import QueueFull
from oriole.link.mqtt.state import NotConnected

__all__ = [
    "Client",
    "ClientConfig",
    "ConnectRefused",
    "Connected",
    "Disconnected",
    "Event",
    "Expired",
    "MessageReceived",
    "NotConnected",
    "PublishRefused",
    "Published",
    "QueueFull",
    "Subscribed",
    "Unsubscribed",
]
