"""Addresses as URLs: where to listen, where to connect, which serial port to open.

`mqtt://[user[:password]@]host[:port][/path]`, `coap://` alike, `serial:///dev/ttyUSB0?baud=115200`. A URL is read once,
where it enters the program, into the type of its role; nobody behind that sees text.
"""

import ipaddress
import re
from typing import Self
from urllib.parse import parse_qsl, quote, unquote

DEFAULT_PORTS = {"mqtt": 1883, "coap": 5683}
LATER = ("mqtts", "ws", "wss", "coaps", "coap+tcp", "coaps+tcp", "http", "https", "unix")
DEFAULT_BAUD = 115_200
MAX_BAUD = 4_000_000  # what Linux's termios names at most

_DIGITS = re.compile(r"[0-9]{1,9}")
_HOST = re.compile(r"[\w.-]+")


class UrlError(ValueError):
    """A URL that cannot be used; the message names it, without its password, and says what is wrong."""


class _Address:
    """A value that equals another by its fields. No dataclass: msgspec would read one from a mapping, not from text."""

    __slots__ = ()

    def _fields(self) -> tuple[object, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Address) and type(other) is type(self) and other._fields() == self._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"{type(self).__name__}.parse('{self}')"


class Endpoint(_Address):
    """A network address. `host` has no brackets, `path` no leading slash; percent-encoding is undone everywhere."""

    __slots__ = ("host", "password", "path", "port", "scheme", "username")

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        username: str | None = None,
        password: str | None = None,
        path: str = "",
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.username = username
        self.password = password
        self.path = path

    def _fields(self) -> tuple[object, ...]:
        return self.scheme, self.host, self.port, self.username, self.password, self.path

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `url`; a port left out is the scheme's default. Raises `UrlError`.

        A `?` or `#` is part of the path, because the path is a topic where it is anything.
        """
        scheme, rest = _split_scheme(url)
        if scheme not in DEFAULT_PORTS:
            raise UrlError(f"`{redacted(url)}`: {_about_scheme(scheme, tuple(DEFAULT_PORTS))}")
        authority, _, path = rest.partition("/")
        user, at, address = authority.rpartition("@")
        username, colon, password = user.partition(":")
        try:
            host, port = _split_port(address)
            return cls(
                scheme,
                host,
                DEFAULT_PORTS[scheme] if port is None else port,
                _decoded(username) if at else None,
                _decoded(password) if colon else None,
                _decoded(path),
            )
        except ValueError as error:
            raise UrlError(f"`{redacted(url)}`: {error}") from None

    def __str__(self) -> str:
        """The address alone, as a URL: neither credentials nor path."""
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def with_port(self, port: int) -> Self:
        """The same with another port: what port 0 became."""
        return type(self)(self.scheme, self.host, port, self.username, self.password, self.path)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Listener(Endpoint):
    """A way in. Port 0 lets the system choose."""

    __slots__ = ()

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `url`, which has neither user nor path. Raises `UrlError`."""
        listener = super().parse(url)
        if listener.username is not None or listener.path:
            raise UrlError(f"`{redacted(url)}`: a listener takes neither a user nor a path")
        return listener


class Uplink(Endpoint):
    """The broker above an edge, with the name and password to use there."""

    __slots__ = ()

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `url`: `mqtt://`, a port that is not 0, no path. Raises `UrlError`."""
        uplink = super().parse(url)
        if uplink.scheme != "mqtt":
            raise UrlError(f"`{redacted(url)}`: an uplink speaks mqtt://")
        if uplink.path:
            raise UrlError(f"`{redacted(url)}`: an uplink takes no path")
        if uplink.port == 0:
            raise UrlError(f"`{redacted(url)}`: port 0 cannot be connected to")
        return uplink


class SerialPort(_Address):
    """A serial port: the `device` file and its speed in `baud`."""

    __slots__ = ("baud", "device")

    def __init__(self, device: str, baud: int = DEFAULT_BAUD) -> None:
        self.device = device
        self.baud = baud

    def _fields(self) -> tuple[object, ...]:
        return self.device, self.baud

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `url`: `serial:///dev/ttyUSB0` with `?baud=` or without. Raises `UrlError`."""
        scheme, rest = _split_scheme(url, "serial:///dev/ttyUSB0")
        if scheme != "serial":
            raise UrlError(f"`{url}`: {_about_scheme(scheme, ('serial',))}")
        device, _, query = rest.partition("?")
        if not device.startswith("/") or device == "/":
            raise UrlError(f"`{url}`: no device file: write it like serial:///dev/ttyUSB0, with three slashes")
        baud = str(DEFAULT_BAUD)
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name != "baud":
                raise UrlError(f"`{url}`: unknown option `{name}`: a serial port takes `baud`")
            baud = value
        if not _DIGITS.fullmatch(baud) or not 0 < int(baud) <= MAX_BAUD:
            raise UrlError(f"`{url}`: baud must be a whole number from 1 to {MAX_BAUD}")
        try:
            return cls(_decoded(device), int(baud))
        except ValueError as error:
            raise UrlError(f"`{url}`: {error}") from None

    def __str__(self) -> str:
        return f"serial://{quote(self.device)}?baud={self.baud}"


def redacted(url: str) -> str:
    """`url` as it may be shown: what may be a user and password, up to the last `@`, is `***`."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    _, at, shown = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if at else ''}{shown}"


def _decoded(text: str) -> str:
    """`text` without its percent-encoding. Raises ValueError."""
    try:
        text = unquote(text, errors="strict")
        text.encode()
    except UnicodeError:
        raise ValueError("not UTF-8 behind its %-encoding") from None
    if "\0" in text:
        raise ValueError("a zero byte is allowed nowhere")
    return text


def _split_scheme(url: str, example: str = "mqtt://127.0.0.1:1883") -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UrlError(f"`{redacted(url)}`: no URL: write it like {example}")
    return scheme.lower(), rest


def _about_scheme(scheme: str, spoken: tuple[str, ...]) -> str:
    problem = f"{scheme}:// is not yet spoken" if scheme in LATER else f"unknown scheme {scheme}://"
    return f"{problem}; use {' or '.join(f'{name}://' for name in spoken)}"


def _split_port(address: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`. Raises ValueError with what is wrong."""
    if address.startswith("["):
        bracketed, bracket, tail = address[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError("an IPv6 address is written like [::1]:1883")
        host = str(ipaddress.IPv6Address(_decoded(bracketed)))
    else:
        host, _, tail = address.partition(":")
        if ":" in tail:
            raise ValueError("put an IPv6 address in brackets, like [::1]:1883")
        tail = address[len(host) :]
        if not host:
            raise ValueError("no host: write 0.0.0.0 or [::] for every interface")
        if not _HOST.fullmatch(host):
            raise ValueError(f"host `{host}` is neither a name nor an address")
    if not tail:
        return host, None
    if not _DIGITS.fullmatch(tail[1:]) or int(tail[1:]) > 0xFFFF:
        raise ValueError(f"port `{tail[1:]}` is no number from 0 to 65535")
    return host, int(tail[1:])
