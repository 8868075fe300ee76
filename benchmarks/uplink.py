"""An edge behind a link that was away: how soon the first message goes up, how fast the spool drains, what alarms wait.

    python benchmarks/uplink.py [MESSAGES]

Needs root. A broker and an edge, each with a journal in a temporary folder, in two network namespaces; between them 20
Mbit/s, a round trip of 80 ms and a bottleneck buffer of 256 KiB. 100,000 messages of 100 bytes wait at the edge when
the link comes back; an alarm is published there every 100 ms meanwhile. Three times each: the link's device comes up,
and the system says so; packets get through again, and nobody says so.
"""

import asyncio
import contextlib
import itertools
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from firmware_sim.links.model import LinkModel
from firmware_sim.links.packets.network import PacketNetwork
from oriole.wire.mqtt import V5, Connect, Publish, Subscribe, Subscription, encode

MESSAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
PAYLOAD_BYTES = 100
RATE_KBIT = 20_000
ROUND_TRIP_MS = 80.0
LINK = LinkModel(rate_kbit=RATE_KBIT, delay_ms=ROUND_TRIP_MS / 2, buffer_kib=256)
ALARM_S = 0.1
WINDOW = 200
PUBACK_BYTES = 4
PATIENCE_S = 120
SYN = 0x02


class Client:
    """A connection made inside a place, and a thread that reads it."""

    def __init__(self, network: PacketNetwork, place: str, port: int, name: str) -> None:
        with network.inside(place):
            self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(encode(Connect(name, V5, True), V5))
        self.socket.recv(4096)


class Publisher(Client):
    """Publishes with QoS 1, so many unacknowledged at once."""

    def fill(self, count: int) -> None:
        """Publish `count` messages, numbered, and wait until all are acknowledged."""
        answered, sent = 0, 0
        while answered < count * PUBACK_BYTES:
            packets = b""
            while sent < count and sent - answered // PUBACK_BYTES < WINDOW:
                packets += self._packet("data/site/line/7", sent)
                sent += 1
            self.socket.sendall(packets)
            answered += len(self.socket.recv(1 << 16))

    def _packet(self, topic: str, number: int) -> bytes:
        payload = struct.pack("!Id", number, time.monotonic()).ljust(PAYLOAD_BYTES, b".")
        return encode(Publish(topic.encode(), payload, 1, packet_identifier=number % 60_000 + 1), V5)

    def alarm(self, until: threading.Event) -> None:
        """Publish an alarm every `ALARM_S`."""
        for number in itertools.count():
            if until.wait(ALARM_S):
                return
            self.socket.sendall(self._packet("alarm", number))


class Subscriber(Client):
    """Notes when what arrived."""

    def __init__(self, network: PacketNetwork, place: str, port: int) -> None:
        super().__init__(network, place, port, "subscriber")
        self.socket.sendall(encode(Subscribe(1, [Subscription("#", 0)]), V5))
        self.data_at: list[float] = []
        self.alarm_ms: list[tuple[float, float]] = []
        self.numbers: set[int] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while data := self.socket.recv(1 << 18):
                now = time.monotonic()
                buffer += data
                position = 0
                while len(buffer) - position > 4:
                    length, size = buffer[position + 1], 2
                    if length > 127:
                        length, size = (length & 127) + (buffer[position + 2] << 7), 3
                    if len(buffer) < position + size + length:
                        break
                    body = buffer[position + size : position + size + length]
                    if buffer[position] >> 4 == 3:
                        self._note(body, now)
                    position += size + length
                buffer = buffer[position:]

    def _note(self, body: bytes, now: float) -> None:
        end = 2 + int.from_bytes(body[:2])
        number, sent_at = struct.unpack("!Id", body[end + 1 : end + 13])
        if body[2:end] == b"alarm":
            self.alarm_ms.append((now, 1000 * (now - sent_at)))
        elif number not in self.numbers:
            self.numbers.add(number)
            self.data_at.append(now)


class Knocks:
    """When connections were tried at the centre: SYNs that arrived there."""

    def __init__(self, network: PacketNetwork, port: int) -> None:
        with network.inside("centre"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._port = port
        self.at: list[float] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            packet = self._socket.recv(2048)
            tcp = packet[(packet[0] & 15) * 4 :]
            if packet[9] == socket.IPPROTO_TCP and int.from_bytes(tcp[2:4]) == self._port and tcp[13] & 0x12 == SYN:
                self.at.append(time.monotonic())


@contextlib.contextmanager
def program(network: PacketNetwork, place: str, *arguments: str) -> Iterator[int]:
    """A program of ours in a place; its port."""
    command = [sys.executable, "-m", "oriole", *arguments, "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=network.settle(place))
    assert process.stdout is not None
    found = re.search(r":(\d+)$", process.stdout.readline().strip())
    assert found is not None
    try:
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def quantile(values: Sequence[float], part: float) -> float:
    """Of some times."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else float("nan")


def set_up(network: PacketNetwork, is_up: bool) -> None:
    """Take the house's device down, or bring it up: the system says so to whoever listens."""
    with network.inside("house"):
        device = next(name for _, name in socket.if_nameindex() if name != "lo")
        subprocess.run(["ip", "link", "set", device, "up" if is_up else "down"], check=True)


def configured(folder: str) -> Path:
    """The edge's configuration, in a file: it has room for all that is going to wait."""
    config = Path(folder, "edge.yaml")
    config.write_text(f"max_uplink_queue_bytes: {1 << 30}\nalarms: [alarm]\n")
    return config


async def until(is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so, for a while."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        if is_so():
            return
        await asyncio.sleep(0.02)


async def measure(is_told: bool) -> None:
    """One outage."""
    with tempfile.TemporaryDirectory() as folder:
        async with PacketNetwork() as network:
            await network.place("house")
            await network.place("centre")
            await network.add("link", LINK)
            await network.join("link", "house", "centre")
            address = network.address("centre", "link")
            broker = ("broker", "--listen=mqtt://0.0.0.0:0", "--allow-anonymous", f"--data={folder}/centre")
            with program(network, "centre", *broker) as centre:
                edge = (
                    "edge",
                    f"--config={configured(folder)}",
                    f"--data={folder}/house",
                    "--listen=mqtt://127.0.0.1:0",
                )
                with program(network, "house", *edge, f"--uplink=mqtt://{address}:{centre}") as port:
                    await outage(network, centre, port, is_told)


async def outage(network: PacketNetwork, centre: int, edge: int, is_told: bool) -> None:
    """Cut the link, fill the spool, and see what happens when it is back."""
    subscriber = Subscriber(network, "centre", centre)
    publisher, alarms = Publisher(network, "house", edge, "filler"), Publisher(network, "house", edge, "alarms")
    publisher.fill(1)
    await until(lambda: len(subscriber.data_at) > 0)
    if is_told:
        set_up(network, False)
    await network.cut("link")
    await asyncio.sleep(8)  # until both sides know
    await asyncio.to_thread(publisher.fill, MESSAGES)
    subscriber.data_at.clear()
    subscriber.numbers.clear()
    knocks = Knocks(network, centre)
    ended = threading.Event()
    threading.Thread(target=alarms.alarm, args=(ended,), daemon=True).start()
    before = (await network.count())["link"]
    await network.heal("link")
    begun = time.monotonic()
    if is_told:
        set_up(network, True)
    await until(lambda: len(subscriber.numbers) == MESSAGES)
    after = (await network.count())["link"]
    ended.set()
    first, last = subscriber.data_at[0], subscriber.data_at[-1]
    after_what = begun if is_told else next(at for at in knocks.at if at >= begun - 0.05)
    use = (after.up_bytes - before.up_bytes) * 8 / 1000 / RATE_KBIT / (last - first)
    live = [took for at, took in subscriber.alarm_ms if first + 0.5 <= at <= last]
    print(
        f"first message {1000 * (first - after_what):3.0f} ms after "
        f"{'the link came up     ' if is_told else 'the first SYN arrived'}; {len(subscriber.numbers)} of {MESSAGES} "
        f"in {last - first:.2f} s, {use:.1%} of the link; {len(live)} alarms, p50 {quantile(live, 0.5):.0f} ms, "
        f"p99 {quantile(live, 0.99):.0f} ms",
        flush=True,
    )


async def main() -> None:
    for is_told in (True, False, True, False, True, False):
        await measure(is_told)


asyncio.run(main())
