"""`oriole broker` as CoAP clients meet it: libcoap's and aiocoap, with MQTT clients on the other side."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from random import Random

import aiocoap
import paho.mqtt.client as mqtt
import pytest

from oriole.wire.coap import Code, Message, Option, Type, decode

libcoap = pytest.mark.interop("coap-client-notls")
mosquitto = pytest.mark.interop("mosquitto_pub", "mosquitto_sub")

VALUE = "é and 灯"


class Broker:
    """`oriole broker` on loopback, on ports that the system chose."""

    def __init__(self) -> None:
        listen = ("mqtt://127.0.0.1:0", "coap://127.0.0.1:0", "coap://[::1]:0")
        command = [sys.executable, "-m", "oriole", "broker", *(f"--listen={url}" for url in listen)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready.startswith("oriole broker ready: "), ready
        mqtt_url, self.coap, self.coap6 = ready.split()[3:]
        self.mqtt_port = mqtt_url.rpartition(":")[2]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()

    def client(self, method: str, path: str, *options: str, base: str = "") -> str:
        """One request of libcoap's client; what it printed."""
        command = ["coap-client-notls", "-B", "5", "-m", method, *options, f"{base or self.coap}/{path}"]
        run = subprocess.run(command, capture_output=True, timeout=20, check=False)
        return (run.stdout + run.stderr).decode().strip()

    @contextmanager
    def observer(self, path: str) -> Iterator[subprocess.Popen[str]]:
        """libcoap's client, already observing; it prints every message."""
        command = ["coap-client-notls", "-v", "7", "-s", "10", f"{self.coap}/{path}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                told(process, "c:2.05")
                yield process
            finally:
                process.kill()

    def publish(self, topic: str, payload: str, *options: str) -> None:
        """Publish by MQTT."""
        command = ["mosquitto_pub", "-p", self.mqtt_port, "-t", topic, "-m", payload, *options]
        subprocess.run(command, timeout=20, check=True)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    started = Broker()
    yield started
    started.stop()


def told(process: subprocess.Popen[str], wanted: str) -> str:
    """Read what a client prints up to the first line with `wanted`; that line."""
    assert process.stdout is not None
    for line in process.stdout:
        if wanted in line:
            return line
    raise AssertionError(f"the client was never told {wanted!r}")


# -- libcoap -----------------------------------------------------------------------------------------------------------


@libcoap
@pytest.mark.parametrize("family", ["coap", "coap6"])
def test_libcoap_puts_gets_and_deletes(broker: Broker, family: str) -> None:
    base = getattr(broker, family)
    path = f"ps/data/{family}/value"
    assert broker.client("get", path, base=base).startswith("4.04")
    assert broker.client("put", path, "-e", VALUE, base=base) == ""
    assert broker.client("get", path, base=base) == VALUE
    assert broker.client("delete", path, base=base) == ""
    assert broker.client("get", path, base=base).startswith("4.04")


@libcoap
def test_libcoap_is_told_what_was_wrong(broker: Broker) -> None:
    assert broker.client("get", "elsewhere").startswith("4.04 topics are below /ps/data/")
    assert broker.client("put", "ps/data/a/+", "-e", "x").startswith("4.00 not a topic")
    assert broker.client("post", "ps/data/a", "-e", "x").startswith("4.05")
    assert broker.client("put", "ps/data/%24SYS/x", "-e", "x").startswith("4.03")
    assert broker.client("get", "ps/data/a", "-O", "2049,0x01").startswith("4.02 option 2049")


@libcoap
def test_libcoap_finds_the_broker(broker: Broker) -> None:
    assert broker.client("get", ".well-known/core") == '</ps>;rt="core.ps",</ps/data>;rt="core.ps.data";obs'


@libcoap
@mosquitto
@pytest.mark.parametrize("options", [(), ("-q", "1"), ("-r",), ("-q", "2", "-V", "5")])
def test_mqtt_reaches_an_observer_from_before_the_first_value(broker: Broker, options: tuple[str, ...]) -> None:
    topic = f"new{''.join(options)}"
    with broker.observer(f"ps/data/{topic}") as observer:
        for value in ("first", "second"):
            broker.publish(topic, value, *options)
            assert "c:2.05" in told(observer, f":: '{value}'")


@libcoap
@mosquitto
def test_coap_reaches_mqtt_with_its_content_format(broker: Broker) -> None:
    heard: SimpleQueue[mqtt.MQTTMessage] = SimpleQueue()
    subscribed = threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: heard.put(message)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", int(broker.mqtt_port))
    client.loop_start()
    client.subscribe("up/#", 1)
    assert subscribed.wait(10)
    broker.client("put", "ps/data/up/reading", "-t", "50", "-e", '{"v":1}')
    message = heard.get(timeout=10)
    client.disconnect()
    client.loop_stop()
    assert message.properties is not None
    assert (message.topic, message.qos, message.payload) == ("up/reading", 1, b'{"v":1}')
    assert message.properties.ContentType == "application/json"

    late = ["mosquitto_sub", "-p", broker.mqtt_port, "-t", "up/reading", "-C", "1", "-W", "5"]
    assert subprocess.run(late, capture_output=True, timeout=20, check=True).stdout == b'{"v":1}\n'


# -- aiocoap -----------------------------------------------------------------------------------------------------------


async def _aiocoap(broker: Broker) -> None:
    context = await aiocoap.Context.create_client_context()
    uri = f"{broker.coap}/ps/data/aio/state"
    try:
        observation = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
        first = await observation.response
        assert (first.code, first.payload, first.opt.observe is None) == (aiocoap.CONTENT, b"", False)
        heard = aiter(observation.observation)

        large = bytes(Random(7).randbytes(5_000))
        for payload, code in ((b"one", aiocoap.CREATED), (large, aiocoap.CHANGED)):
            answer = await context.request(aiocoap.Message(code=aiocoap.PUT, uri=uri, payload=payload)).response
            assert answer.code == code
            notification = await anext(heard)
            assert notification.payload == payload

        got = await context.request(aiocoap.Message(code=aiocoap.GET, uri=uri)).response
        assert got.payload == large
        valid = aiocoap.Message(code=aiocoap.GET, uri=uri)
        valid.opt.etags = [got.opt.etag]
        assert (await context.request(valid).response).code == aiocoap.VALID

        deleted = await context.request(aiocoap.Message(code=aiocoap.DELETE, uri=uri)).response
        assert deleted.code == aiocoap.DELETED
    finally:
        await context.shutdown()


def test_aiocoap_observes_publishes_and_reads_large_values(broker: Broker) -> None:
    asyncio.run(asyncio.wait_for(_aiocoap(broker), 30))


# -- datagrams by hand -------------------------------------------------------------------------------------------------


@pytest.fixture
def line(broker: Broker) -> Iterator[socket.socket]:
    """A socket that talks to the broker."""
    host, _, port = broker.coap.removeprefix("coap://").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talking:
        talking.settimeout(5)
        talking.connect((host, int(port)))
        yield talking


def test_what_is_no_coap_disturbs_nobody(line: socket.socket) -> None:
    random = Random(1)
    for _ in range(2_000):
        line.send(random.randbytes(random.randrange(64)))
    line.send(os.urandom(60_000))
    ping = Message(Type.CONFIRMABLE, Code.EMPTY, 0xABCD)
    line.send(ping.encode())
    reset = Message(Type.RESET, Code.EMPTY, 0xABCD)
    while decode(line.recv(2048)) != reset:
        pass


def test_a_burst_of_requests_is_answered_whole(line: socket.socket) -> None:
    path = [(Option.URI_PATH, segment) for segment in (b"ps", b"data", b"burst")]
    line.send(Message(Type.CONFIRMABLE, Code.PUT, 0, b"", path, b"on").encode())
    assert decode(line.recv(2048)).code == Code.CREATED
    for message_id in range(1, 101):
        line.send(Message(Type.CONFIRMABLE, Code.GET, message_id, b"t", path).encode())
    answers = [decode(line.recv(2048)) for _ in range(100)]
    assert {answer.message_id for answer in answers} == set(range(1, 101))
    assert {(answer.code, answer.payload) for answer in answers} == {(Code.CONTENT, b"on")}
