"""The real client for an address. Each protocol's library is imported when the first device needs it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from firmware_sim.devices.port import Access, Port
from oriole.urls import Endpoint
from oriole.urls import SerialPort as Line

Address = Endpoint | Line

Inside = Callable[[], AbstractContextManager[None]]
"""Goes into the network that sockets are to be made in, and back: a namespace's `inside`."""


def new_port(access: Access, addresses: Sequence[Address], inside: Inside = nullcontext) -> Port:
    """A client for the device of `access`, not yet connected.

    It uses the first of `addresses` until it is told to roam, then the next, round and round; all speak one protocol.
    Whatever socket it makes, it makes `inside`, and waits for nothing there.
    """
    lines = [address for address in addresses if isinstance(address, Line)]
    endpoints = [address for address in addresses if isinstance(address, Endpoint)]
    if lines:
        from .serial import SerialPort

        return SerialPort(access, lines[0])
    if endpoints[0].scheme == "coap":
        from .coap import CoapPort

        return CoapPort(access, endpoints, inside)
    from .mqtt import MqttPort

    return MqttPort(access, endpoints, inside)
