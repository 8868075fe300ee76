"""Every kind of device, and the port for every kind of address. A new kind is a file and a line here."""

import hashlib

from oriole.urls import Endpoint, redacted
from oriole.urls import SerialPort as SerialLine

from .device import Device
from .herald import Herald
from .lamp import Lamp
from .port import Port
from .relay import Relay
from .remote import Remote
from .thermostat import Thermostat
from .watch import Watch

KINDS: dict[str, type[Device]] = {kind.kind: kind for kind in (Lamp, Watch, Thermostat, Relay, Remote, Herald)}

Address = Endpoint | SerialLine

EXAMPLES = {"mqtt": "mqtt://127.0.0.1:1883", "coap": "coap://127.0.0.1:5683", "serial": "serial:///dev/ttyUSB0"}


class WrongAddressError(ValueError):
    """A device cannot use such an address; the message says what it speaks."""


def parse_address(url: str) -> Address:
    """An address that some device can use. Raises `oriole.urls.UrlError`."""
    return SerialLine.parse(url) if url.lower().startswith("serial:") else Endpoint.parse(url)


def address_for(kind: type[Device], url: str) -> Address:
    """The address that a person gave for a device of `kind`. Raises `WrongAddressError` and `oriole.urls.UrlError`."""
    given, separator, _ = url.partition("://")
    if not separator:
        raise WrongAddressError(f"`{redacted(url)}` is no URL: write it like {EXAMPLES[kind.speaks[0]]}")
    _check_scheme(kind, given.lower())
    return parse_address(url)


def scheme(address: Address) -> str:
    """What is spoken at the address."""
    return "serial" if isinstance(address, SerialLine) else address.scheme


def check_address(kind: type[Device], address: Address) -> None:
    """Raise `WrongAddressError` unless devices of `kind` speak what is spoken at `address`."""
    _check_scheme(kind, scheme(address))


def _check_scheme(kind: type[Device], given: str) -> None:
    if given not in kind.speaks:
        spoken = " or ".join(f"{name}://" for name in kind.speaks)
        raise WrongAddressError(f"a {kind.kind} speaks {spoken}, not {given}://")


def new_port(kind: type[Device], name: str, address: Address, run: str, mqtt_version: int = 5) -> Port:
    """The real client for `address`; each protocol's library is imported when the first device needs it."""
    if isinstance(address, SerialLine):
        from .serial import SerialPort

        boot_id = hashlib.blake2b(f"{run}/{name}".encode(), digest_size=8).digest()
        return SerialPort(address, name, boot_id, kind.kind)
    if address.scheme == "coap":
        from .coap import CoapPort

        return CoapPort(address)
    from .mqtt import MqttPort

    return MqttPort(address, f"{name}-{run}", f"{run}/{name}", mqtt_version)
