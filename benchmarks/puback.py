"""What durability adds to the wait for a PUBACK: one publisher, once in memory and once with all of it on the disk.

It sends QoS 1 messages of 64 bytes at a steady rate, one a packet, to a persistent subscriber that reads them. Beside
it stands what a commit of one record costs on this disk, by itself. Run it alone on the machine:

    python benchmarks/puback.py FOLDER [RATE]
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from oriole.wire.mqtt import V5, Connect, Properties, PubAck, Publish, Splitter, Subscribe, Subscription, decode, encode

SECONDS = 5
ROUNDS = 5


class Client:
    """A socket that speaks MQTT 5; `acknowledges` QoS 1."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        properties = Properties(session_expiry_interval=600)
        self.socket.sendall(encode(Connect(name, version=V5, clean_start=False, properties=properties), V5))
        self.splitter = Splitter()
        self.socket.recv(4096)

    def read(self) -> None:
        """Take whatever comes until the end."""
        while data := self.socket.recv(1 << 16):
            packets = [decode(first, body, V5) for first, body in self.splitter.split(data)]
            for packet in packets:
                if isinstance(packet, Publish) and packet.qos:
                    self.socket.sendall(encode(PubAck(packet.packet_identifier), V5))
                elif isinstance(packet, PubAck):
                    self.acknowledged(packet.packet_identifier)

    def acknowledged(self, identifier: int) -> None:
        """A PUBACK came."""


class Publisher(Client):
    """Sends and takes the time."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "publisher")
        self.sent: dict[int, float] = {}
        self.took_ms: list[float] = []

    def acknowledged(self, identifier: int) -> None:
        self.took_ms.append(1000 * (time.perf_counter() - self.sent.pop(identifier)))

    def publish(self, rate: float) -> None:
        """For `SECONDS`, each message at its own moment."""
        begin = time.perf_counter()
        for number in range(int(rate * SECONDS)):
            pause = begin + number / rate - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            identifier = number % 60_000 + 1
            self.sent[identifier] = time.perf_counter()
            self.socket.sendall(encode(Publish(b"t", bytes(64), 1, packet_identifier=identifier), V5))
        time.sleep(0.5)


def measure(options: list[str], rate: float) -> list[float]:
    """PUBACK times of one run, in ms."""
    command = [
        sys.executable,
        "-m",
        "oriole",
        "broker",
        "--listen",
        "mqtt://127.0.0.1:0",
        "--log-level",
        "error",
        *options,
    ]
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert broker.stdout is not None
    found = re.search(r":(\d+)$", broker.stdout.readline().strip())
    assert found is not None
    reader, publisher = Client(int(found[1]), "reader"), Publisher(int(found[1]))
    reader.socket.sendall(encode(Subscribe(1, [Subscription("t", 1)]), V5))
    for client in (reader, publisher):
        threading.Thread(target=client.read, daemon=True).start()
    publisher.publish(rate)
    for client in (reader, publisher):
        client.socket.shutdown(socket.SHUT_RDWR)
    broker.terminate()
    broker.wait()
    return publisher.took_ms


def commits(folder: Path) -> list[float]:
    """Times of commits of one record, in ms: into room that is there already, one after the other."""
    file = os.open(folder / "commits", os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(1 << 20))
    os.fsync(file)
    took: list[float] = []
    for number in range(1000):
        begin = time.perf_counter()
        os.pwrite(file, bytes(130), 130 * number)
        os.fdatasync(file)
        took.append(1000 * (time.perf_counter() - begin))
        time.sleep(0.001)
    os.close(file)
    return took


def quantile(values: list[float], part: float) -> float:
    """Of some times, in ms."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else float("nan")


def main() -> None:
    folder, rate = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1000.0
    print(f"{rate:g} messages/s, {ROUNDS} rounds of {SECONDS} s, ms: p50 and p99")
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            memory, strict = measure([], rate), measure(["--data", f"{place}/data"], rate)
            alone = commits(Path(place))
        shown = (
            (name, quantile(times, 0.5), quantile(times, 0.99))
            for name, times in (("memory", memory), ("strict", strict), ("a commit", alone))
        )
        added = quantile(strict, 0.99) - quantile(memory, 0.99)
        bar = 2 * quantile(alone, 0.99) + 1
        print("; ".join(f"{name} {p50:.2f} {p99:.2f}" for name, p50, p99 in shown), f"; added {added:.2f} of {bar:.2f}")


if __name__ == "__main__":
    main()
