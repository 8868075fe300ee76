"""`oriole broker` and `oriole edge` as a user runs them, with stock clients, cut links and killed processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from firmware_sim.links.network import Network
from firmware_sim.links.orders import LinkModel

PATIENCE_S = 10.0
CUT_S = 4.8
"""Long enough for an edge to doubt a link."""
names = (f"peer-{number}" for number in itertools.count())


def wait_until(done: Callable[[], object], seconds: float = PATIENCE_S) -> float:
    """Seconds until something is true."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() < begun + seconds, "it did not come true in time"
        time.sleep(0.005)
    return time.monotonic() - begun


class Program:
    """`oriole broker` or `oriole edge`, ready."""

    def __init__(self, name: str, *arguments: str, listen: tuple[str, ...] = ("mqtt://127.0.0.1:0",)) -> None:
        command = [sys.executable, "-m", "oriole", name, *arguments, *(f"--listen={url}" for url in listen)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert "ready: " in ready, ready
        self.urls = ready.partition("ready: ")[2].split()
        self.port = int(self.urls[0].rpartition(":")[2])

    def stop(self) -> str:
        """End it as a service manager does; what it said."""
        self.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        _, said = self.process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - begun < 2
        assert self.process.returncode == 0
        assert "Traceback" not in said, said
        return said

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.communicate()


class Peer:
    """An MQTT client that notes what it hears."""

    def __init__(self, port: int, *filters: str, version: int = 5, name: str = "") -> None:
        protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, name or next(names), protocol=protocol, reconnect_on_failure=False
        )
        self.heard: list[tuple[str, bytes]] = []
        self.heard_at: list[float] = []
        self._subscribed = threading.Event()
        self.client.on_socket_open = lambda _, __, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.on_message = self._note
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_until(self.client.is_connected)
        if filters:
            self.client.subscribe([(filter, 2) for filter in filters])
            assert self._subscribed.wait(PATIENCE_S)

    def _note(self, client: object, data: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload))
        self.heard_at.append(time.monotonic())

    def say(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait for the acknowledgement."""
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def payloads(self, topic: str) -> list[bytes]:
        return [payload for heard, payload in self.heard if heard == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Link:
    """A link to a port, in its own process, that can be cut."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._network = Network()
        self._run(self._network.__aenter__())
        self._run(self._network.add("link", LinkModel()))
        self.port: int = self._run(self._network.forward("link", "tcp", "127.0.0.1", port))

    def cut(self) -> None:
        self._run(self._network.cut("link"))

    def heal(self) -> float:
        """Let bytes through again; when that was."""
        self._run(self._network.heal("link"))
        return time.monotonic()

    def close(self) -> None:
        self._run(self._network.__aexit__())
        self._loop.close()

    def _run(self, order: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(order)


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def joined(closing: contextlib.ExitStack, port: int, *arguments: str, **options: Any) -> Program:
    """An edge below the broker on `port`, once what is said there is heard there."""
    edge = Program("edge", "--name=house", f"--uplink=mqtt://127.0.0.1:{port}", *arguments, **options)
    closing.callback(edge.kill)
    await_link(edge.port, port)
    return edge


def await_link(edge_port: int, centre_port: int) -> None:
    """Wait until messages flow from the edge to the centre."""
    above, below = Peer(centre_port, "probe/#"), Peer(edge_port)
    numbers = itertools.count()
    wait_until(lambda: below.say("probe/up", b"%d" % next(numbers), 0) or time.sleep(0.02) or above.heard)
    above.close()
    below.close()


@pytest.mark.interop("mosquitto_pub", "mosquitto_sub", "coap-client-notls", "socat")
def test_mqtt_coap_and_serial_devices_and_the_centre_reach_each_other(
    closing: contextlib.ExitStack, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "gateway", tmp_path / "device"
    Running(closing, "socat", f"pty,raw,echo=0,link={ours}", f"pty,raw,echo=0,link={theirs}")
    wait_until(lambda: ours.exists() and theirs.exists())
    broker = Program("broker")
    closing.callback(broker.kill)
    edge = joined(
        closing, broker.port, f"--serial=serial://{ours}", listen=("mqtt://127.0.0.1:0", "coap://127.0.0.1:0")
    )
    coap = edge.urls[1]
    device = (sys.executable, "-m", "oriole", "fleet", "device", "relay", f"serial://{theirs}", "--every=0.5")
    relay = Running(closing, *device)
    observer = Running(closing, "coap-client-notls", "-s", "20", f"{coap}/ps/data/push")
    above = Running(closing, "mosquitto_sub", "-p", str(broker.port), "-V", "311", "-t", "#", "-v")
    below = Running(closing, "mosquitto_sub", "-p", str(edge.port), "-V", "mqttv5", "-t", "#", "-v")
    for listener, text in ((observer, "from above"), (below, "push from above"), (above, "push from above")):
        repeat(lambda: publish(broker.port, "push", "from above", "5"), partial(listener.has, text))
    put = ["coap-client-notls", "-m", "put", "-e", "21.5", f"{coap}/ps/data/warm"]
    subprocess.run(put, check=True, timeout=PATIENCE_S, capture_output=True)
    wait_until(lambda: above.has("warm 21.5"))
    publish(edge.port, "hello", "from below", "311")
    wait_until(lambda: above.has("hello from below"))
    wait_until(lambda: above.has("home/relay/"))
    publish(broker.port, "home/relay/set", '{"closed": true}', "311")
    wait_until(lambda: relay.has("< home/relay/set"))
    edge.stop()
    broker.stop()


class Running:
    """A program of somebody else's; what it prints is read as it comes: libcoap's client ends no lines."""

    def __init__(self, closing: contextlib.ExitStack, *command: str) -> None:
        self._text = ""
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        closing.callback(self._stop)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while data := os.read(stream.fileno(), 4096):
                self._text += data.decode(errors="replace")

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def has(self, text: str) -> bool:
        return text in self._text


def publish(port: int, topic: str, payload: str, version: str) -> None:
    command = ["mosquitto_pub", "-p", str(port), "-V", version, "-q", "1", "-t", topic, "-m", payload]
    subprocess.run(command, check=True, timeout=PATIENCE_S)


def repeat(action: Callable[[], object], done: Callable[[], object]) -> None:
    """Do it until it shows: who subscribes in a process of its own does not say when it has."""
    for _ in range(20):
        action()
        with contextlib.suppress(AssertionError):
            wait_until(done, 0.5)
            return
    raise AssertionError("it never showed")


class Pair:
    """A peer at the centre and one in the house, of one version, that talk to each other."""

    def __init__(self, closing: contextlib.ExitStack, version: int, centre_port: int, house_port: int) -> None:
        self.up, self.down, self.state = (f"v{version}/{what}" for what in ("up", "down", "state"))
        self.above = Peer(centre_port, f"{self.up}/#", self.state, version=version)
        self.below = Peer(house_port, f"{self.down}/#", self.state, f"{self.up}/#", version=version)
        for peer in (self.above, self.below):
            closing.callback(peer.close)

    def hear(self, peer: Peer, way: str) -> None:
        """Wait until a peer heard everything that was said that way, and once and in order."""
        wait_until(lambda: sum(topic.startswith(way) for topic, _ in peer.heard) == 40)
        for topic in range(3):
            assert [int(payload) for payload in peer.payloads(f"{way}/{topic}")] == list(range(topic, 40, 3))

    def first_after(self, healed_at: float) -> float:
        """When the first message came over the link."""
        return min(
            at for peer, way in ((self.above, self.up), (self.below, self.down))
            for (topic, _), at in zip(peer.heard, peer.heard_at, strict=True)
            if topic.startswith(way) and at > healed_at
        )  # fmt: skip


def test_a_cut_link_leaves_a_house_that_works_and_heals_without_loss(closing: contextlib.ExitStack) -> None:
    broker = Program("broker")
    closing.callback(broker.kill)
    link = Link(broker.port)
    closing.callback(link.close)
    edge = joined(closing, link.port)
    pairs = [Pair(closing, version, broker.port, edge.port) for version in (4, 5)]
    for pair in pairs:
        pair.above.say(pair.state, b"before", retain=True)
        wait_until(lambda pair=pair: pair.below.payloads(pair.state))
    link.cut()
    cut_at = time.monotonic()
    for number in range(40):
        qos = 1 + number % 3 % 2
        said = [pair.below.client.publish(f"{pair.up}/{number % 3}", b"%d" % number, qos) for pair in pairs]
        said += [pair.above.client.publish(f"{pair.down}/{number % 3}", b"%d" % number, qos) for pair in pairs]
        for each in said:
            each.wait_for_publish(PATIENCE_S)
    for pair in pairs:
        pair.hear(pair.below, pair.up)
        pair.below.say(pair.state, b"house", retain=True)
        pair.above.say(pair.state, b"centre", 0, retain=True)
    time.sleep(max(0.0, cut_at + CUT_S - time.monotonic()))
    healed_at = link.heal()
    for pair in pairs:
        pair.hear(pair.above, pair.up)
        pair.hear(pair.below, pair.down)
        assert pair.first_after(healed_at) - healed_at < 2
    time.sleep(max(0.0, healed_at + 1 - time.monotonic()))
    for pair in pairs:
        values = []
        for port in (broker.port, edge.port):
            late = Peer(port, pair.state)
            wait_until(lambda late=late: late.heard)
            values.append(late.heard[-1])
            late.close()
        assert values[0] == values[1]
    edge.stop()


def test_a_killed_edge_and_a_killed_broker_come_back(closing: contextlib.ExitStack, tmp_path: Path) -> None:
    folders = [f"--data={tmp_path / name}" for name in ("broker", "edge")]
    broker = Program("broker", folders[0])
    edge = joined(closing, broker.port, folders[1])
    Peer(edge.port).say("state", b"on", retain=True)
    edge.kill()
    edge = joined(closing, broker.port, folders[1])
    wait_until(lambda: value(edge.port, "state") == b"on")
    broker.kill()
    below = Peer(edge.port, "#")
    closing.callback(below.close)
    below.say("still", b"here", retain=True)
    wait_until(lambda: below.payloads("still"))
    broker = Program("broker", folders[0], listen=(f"mqtt://127.0.0.1:{broker.port}",))
    closing.callback(broker.kill)
    assert value(broker.port, "state") == b"on", "it was acknowledged, so it is there before anybody says it again"
    wait_until(lambda: value(broker.port, "still") == b"here", 4)
    Peer(broker.port).say("news", b"!")
    wait_until(lambda: below.payloads("news") == [b"!"])
    edge.stop()


def value(port: int, topic: str) -> bytes | None:
    """The retained value of a topic, if one comes soon."""
    peer = Peer(port, topic)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: peer.heard, 0.3)
    peer.close()
    return peer.heard[0][1] if peer.heard else None


@pytest.mark.interop("mosquitto")
def test_a_broker_of_another_make_at_the_centre(closing: contextlib.ExitStack, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    mosquitto = subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL)
    closing.callback(mosquitto.wait)
    closing.callback(mosquitto.terminate)
    edge = joined(closing, port)
    above, below = Peer(port, "#"), Peer(edge.port, "#")
    for peer in (above, below):
        closing.callback(peer.close)
    above.heard.clear()
    for qos in (0, 1, 2):
        below.say("up", b"%d" % qos, qos)
        above.say("down", b"%d" % qos, qos)
    wait_until(lambda: len(above.heard) == len(below.heard) == 6)
    for peer in (above, below):
        assert peer.payloads("up") == peer.payloads("down") == [b"0", b"1", b"2"]
    above.say("state", b"on", retain=True)
    wait_until(lambda: value(edge.port, "state") == b"on")
    edge.stop()


def test_an_edge_without_an_uplink_is_a_house_that_works() -> None:
    edge = Program("edge", "--name=alone")
    one, two = Peer(edge.port, "a/#", version=4), Peer(edge.port)
    two.say("a/b", b"x", 2)
    wait_until(lambda: one.payloads("a/b") == [b"x"])
    one.close()
    two.close()
    assert edge.stop()


def test_each_address_of_an_uplink_has_its_own_name_and_password(closing: contextlib.ExitStack, tmp_path: Path) -> None:
    """And where the first does not want us, the second is tried without delay."""
    centres = []
    for password in ("one", "two"):
        file = tmp_path / f"{password}.yaml"
        file.write_text(f"users: {{attic: {password}}}")
        centres.append(Program("broker", "--config", str(file)))
        closing.callback(centres[-1].kill)
    first, second = (f"127.0.0.1:{centre.port}" for centre in centres)
    edge = Program(
        "edge", "--name=attic", f"--uplink=mqtt://attic:wrong@{first}", f"--uplink=mqtt://attic:two@{second}"
    )
    closing.callback(edge.kill)
    listener, talker = Peer(edge.port, "t/#"), Peer(centres[1].port)
    closing.callback(listener.close)
    closing.callback(talker.close)
    begun = time.monotonic()
    while not listener.heard:
        talker.say("t/1", b"x")
        assert time.monotonic() - begun < 5, "the second centre was not tried"
    assert "the centre refuses this edge: bad user name or password" in edge.stop()
