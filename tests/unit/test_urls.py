"""Addresses: one table of what is read, one of what is refused and with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.urls import Endpoint, Listener, SerialPort, Uplink, UrlError, redacted

READ = [
    ("mqtt://127.0.0.1", Endpoint("mqtt", "127.0.0.1", 1883)),
    ("coap://example.org", Endpoint("coap", "example.org", 5683)),
    ("MQTT://host:0", Endpoint("mqtt", "host", 0)),
    ("mqtt://host:65535/", Endpoint("mqtt", "host", 65535)),
    ("mqtt://[::1]", Endpoint("mqtt", "::1", 1883)),
    ("mqtt://[::1]:1884", Endpoint("mqtt", "::1", 1884)),
    ("mqtt://[fe80::1%25eth0]:1884", Endpoint("mqtt", "fe80::1%eth0", 1884)),
    ("mqtt://user@host", Endpoint("mqtt", "host", 1883, "user")),
    ("mqtt://us%40er:p%2Fa:s@host", Endpoint("mqtt", "host", 1883, "us@er", "p/a:s")),
    ("mqtt://user:@host", Endpoint("mqtt", "host", 1883, "user", "")),
    ("mqtt://host/house/+/lamp?#", Endpoint("mqtt", "host", 1883, path="house/+/lamp?#")),
    ("coap://host/%E7%81%AF//x", Endpoint("coap", "host", 5683, path="灯//x")),
]

REFUSED = [
    (Endpoint, "localhost:1883", "no URL"),
    (Endpoint, "", "no URL"),
    (Endpoint, "mqtts://host", "mqtts:// is not yet spoken; use mqtt:// or coap://"),
    (Endpoint, "ftp://host", "unknown scheme ftp://; use mqtt:// or coap://"),
    (Endpoint, "mqtt://", "no host"),
    (Endpoint, "mqtt://:1883", "no host"),
    (Endpoint, "mqtt://[]:1883", "empty"),
    (Endpoint, "mqtt://::1:1883", "brackets"),
    (Endpoint, "mqtt://[::1", "[::1]:1883"),
    (Endpoint, "mqtt://[::1]1883", "[::1]:1883"),
    (Endpoint, "mqtt://[1.2.3.4]", "1.2.3.4"),
    (Endpoint, "mqtt://host:65536", "port `65536`"),
    (Endpoint, "mqtt://host:-1", "port `-1`"),
    (Endpoint, "mqtt://host:", "port ``"),
    (Endpoint, "mqtt://host:१", "port `१`"),
    (Endpoint, "mqtt://host:" + "9" * 5000, "port"),
    (Endpoint, "mqtt://host name", "host `host name`"),
    (Endpoint, "mqtt://host\n", "host"),
    (Endpoint, "mqtt://host/%FF", "UTF-8"),
    (Listener, "mqtt://user@host", "neither a user nor a path"),
    (Listener, "mqtt://host/path", "neither a user nor a path"),
    (Uplink, "coap://host", "mqtt://"),
    (Uplink, "mqtt://host:0", "port 0"),
    (Uplink, "mqtt://host/path", "no path"),
    (SerialPort, "serial://dev/ttyUSB0", "three slashes"),
    (SerialPort, "serial:///", "three slashes"),
    (SerialPort, "/dev/ttyUSB0", "no URL"),
    (SerialPort, "mqtt://host", "unknown scheme mqtt://; use serial://"),
    (SerialPort, "serial:///dev/ttyUSB0?baud=0", "baud"),
    (SerialPort, "serial:///dev/ttyUSB0?baud=9600.5", "baud"),
    (SerialPort, "serial:///dev/ttyUSB0?baud=", "baud"),
    (SerialPort, "serial:///dev/ttyUSB0%00", "zero byte"),
    (SerialPort, "serial:///dev/ttyUSB0?speed=9600", "`speed`"),
]


@pytest.mark.parametrize(("url", "endpoint"), READ, ids=[url for url, _ in READ])
def test_reads(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize(
    ("role", "url", "words"), REFUSED, ids=[f"{role.__name__} {url[:40]}" for role, url, _ in REFUSED]
)
def test_refuses_naming_the_url_and_the_fault(role: type[Endpoint] | type[SerialPort], url: str, words: str) -> None:
    with pytest.raises(UrlError) as error:
        role.parse(url)
    assert words in str(error.value)
    assert str(error.value).startswith(f"`{redacted(url)}`")


def test_what_the_command_line_could_not_decode_is_refused() -> None:
    with pytest.raises(UrlError, match="not UTF-8"):
        Endpoint.parse("mqtt://host/\udcff")


def test_a_zone_is_shown_as_it_is_written() -> None:
    assert str(Listener.parse("mqtt://[fe80::1%25eth0]")) == "mqtt://[fe80::1%25eth0]:1883"


def test_a_password_is_in_no_text() -> None:
    url = "mqtt://user:secret@host"
    texts = [str(Uplink.parse(url)), repr(Uplink.parse(url)), redacted(url)]
    for bad in (
        url + ":bad",
        url + "/path",
        url.replace("mqtt", "mqtts"),
        "user:secret@host",
        "mqtt://user:sec/secret@host",
    ):
        with pytest.raises(UrlError) as error:
            Uplink.parse(bad)
        texts.append(str(error.value))
    assert not [text for text in texts if "secret" in text]


def test_each_role_is_its_own_type() -> None:
    assert Listener.parse("mqtt://host") != Uplink.parse("mqtt://host")
    assert {Listener.parse("mqtt://host"), Listener.parse("mqtt://host:1883")} == {Listener("mqtt", "host", 1883)}


def test_a_port_that_the_system_chose() -> None:
    listener = Listener.parse("mqtt://[::1]:0").with_port(40001)
    assert str(listener) == "mqtt://[::1]:40001"
    assert type(listener) is Listener


@pytest.mark.parametrize(
    ("host", "local"), [("127.9.9.9", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_loopback(host: str, local: bool) -> None:
    assert Listener.parse(f"mqtt://{host}").is_loopback is local


def test_serial_ports() -> None:
    assert SerialPort.parse("serial:///dev/ttyUSB0") == SerialPort("/dev/ttyUSB0", 115_200)
    assert SerialPort.parse("serial:///dev/ttyUSB0?baud=9600") == SerialPort("/dev/ttyUSB0", 9600)
    odd = SerialPort.parse("serial:///dev/a%3Fb")
    assert odd == SerialPort("/dev/a?b")
    assert SerialPort.parse(str(odd)) == odd
    assert str(SerialPort("/dev/pts/3")) == "serial:///dev/pts/3?baud=115200"


@given(st.text())
def test_any_text_is_an_address_or_a_url_error(text: str) -> None:
    for role in (Endpoint, Listener, Uplink, SerialPort):
        for url in (text, f"mqtt://{text}", f"serial:///{text}"):
            try:
                address = role.parse(url)
            except UrlError:
                continue
            assert role.parse(str(address)) is not None


@given(st.ip_addresses(), st.integers(0, 65535))
def test_what_is_shown_is_read_again(address: object, port: int) -> None:
    listener = Listener("mqtt", str(address), port)
    assert Listener.parse(str(listener)) == listener
