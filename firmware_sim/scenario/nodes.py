"""The nodes of a scenario: brokers, edges, and what was there before."""

from typing import Any, Literal

import msgspec

from oriole.config import BrokerConfig, EdgeConfig
from oriole.typed_yaml import convert
from oriole.urls import Endpoint, SerialPort, UrlError

Address = Endpoint | SerialPort


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program under test."""

    kind: Literal["broker", "edge", "foreign"] = "broker"
    """`oriole broker`, `oriole edge`, or something foreign that already runs and that `addresses` leads to."""
    uplink: str = ""
    """The node above (edge)."""
    link: str = ""
    """The link to the node above (edge); empty for none."""
    addresses: list[str] = []
    """What a foreign node listens on: `mqtt://HOST:PORT`, `coap://HOST:PORT`, `serial:///dev/...` for each line."""
    data: bool = False
    """Whether it has a data folder."""
    config: dict[str, Any] = {}
    """Further keys of its configuration file, such as `limits`."""

    def __post_init__(self) -> None:
        if self.kind == "foreign":
            if not self.addresses:
                raise ValueError("a foreign node needs `addresses`")
            for url in self.addresses:
                try:
                    parse_address(url)
                except UrlError as error:
                    raise ValueError(str(error)) from None
        elif self.addresses:
            raise ValueError(f"where {'a broker' if self.kind == 'broker' else 'an edge'} listens is chosen for it")
        if self.kind != "edge" and self.uplink:
            raise ValueError("only an edge has an uplink")
        if self.link and not self.uplink:
            raise ValueError("`link` is the link to `uplink`, which is missing")
        for key in ("listen", "uplink", "name", "serial", "data", "settlements"):
            if key in self.config:
                raise ValueError(f"`config.{key}` is decided by the scenario itself")
        try:
            convert(self.config, EdgeConfig if self.kind == "edge" else BrokerConfig)
        except msgspec.ValidationError as error:
            what, at, path = str(error).partition(" - at `$")
            raise ValueError(f"{what} - at `$.config{path if at else '`'}") from None


def parse_address(url: str) -> Address:
    """An address that some device can use. Raises `oriole.urls.UrlError`."""
    return SerialPort.parse(url) if url.lower().startswith("serial:") else Endpoint.parse(url)


def scheme(address: Address) -> str:
    """What is spoken at the address."""
    return "serial" if isinstance(address, SerialPort) else address.scheme
