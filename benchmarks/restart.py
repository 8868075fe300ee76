"""What a restart costs with much that waits: a broker is given messages for clients that are away, killed, started.

A million messages of 100 bytes for a thousand clients, unless told otherwise. It measures how long it takes until a
CONNECT is accepted, until a client that returns has its first message, and the memory of the process at each moment,
and checks that the client gets all of its messages, in order. The kill is a SIGKILL, so nothing was tidied up.

    python benchmarks/restart.py FOLDER [SESSIONS [MESSAGES [WINDOW]]]

WINDOW is how many messages are unacknowledged at most: few make many small commits.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from oriole.wire.mqtt import (
    V5,
    Connect,
    Disconnect,
    Properties,
    PubAck,
    Publish,
    Splitter,
    Subscribe,
    Subscription,
    decode,
    encode,
)

PAYLOAD_BYTES = 100
TIMEOUT_S = 120


class Broker:
    """A broker on `folder`, in a process of its own."""

    def __init__(self, folder: Path, limits: Path) -> None:
        self.began = time.perf_counter()
        command = [sys.executable, "-m", "oriole", "broker", "--config", str(limits), "--data", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--listen", "mqtt://127.0.0.1:0", "--log-level", "error"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.search(r":(\d+)", line)
        assert match is not None, line
        self.port = int(match[1])

    @property
    def memory_mb(self) -> int:
        """Resident now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        match = re.search(r"VmRSS:\s+(\d+)", status)
        assert match is not None
        return int(match[1]) // 1000

    def kill(self) -> None:
        """Without a warning."""
        self.process.kill()
        self.process.wait()


class Client:
    """A socket that speaks MQTT 5 and has said CONNECT."""

    def __init__(self, port: int, name: str, expiry_s: int = 600) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.splitter = Splitter()
        properties = Properties(session_expiry_interval=expiry_s)
        self.socket.sendall(encode(Connect(name, version=V5, clean_start=False, properties=properties), V5))

    def packets(self) -> list[object]:
        """What comes next."""
        data = self.socket.recv(1 << 16)
        assert data, "the broker has closed the connection"
        return [decode(first, body, V5) for first, body in self.splitter.split(data)]

    def leave(self) -> None:
        """Say DISCONNECT, and see that it was taken."""
        self.socket.sendall(encode(Disconnect(), V5))
        while self.socket.recv(1 << 16):
            pass
        self.socket.close()


def fill(port: int, sessions: int, messages: int, window: int) -> float:
    """Let messages wait; how many were taken in a second."""
    for number in range(sessions):
        client = Client(port, f"client-{number}")
        client.socket.sendall(encode(Subscribe(1, [Subscription(f"topic/{number}", 1)]), V5))
        client.leave()
    publisher = Client(port, "publisher", 0)
    publisher.packets()
    began = time.perf_counter()
    unanswered = 0
    for start in range(0, messages, window):
        numbers = range(start, min(start + window, messages))
        publisher.socket.sendall(
            b"".join([encode(publication(number, number % sessions, number - start + 1), V5) for number in numbers])
        )
        unanswered = len(numbers)
        while unanswered:
            for packet in publisher.packets():
                assert isinstance(packet, PubAck)
                assert packet.reason_code < 0x80, packet
                unanswered -= 1
    publisher.leave()
    return messages / (time.perf_counter() - began)


def publication(number: int, session: int, identifier: int) -> Publish:
    """Message `number`, for a session."""
    payload = b"%0*d" % (PAYLOAD_BYTES, number)
    return Publish(f"topic/{session}".encode(), payload, 1, packet_identifier=identifier)


def returning(port: int, session: int, expected: list[int]) -> tuple[float, float]:
    """Milliseconds until a client that returns has its first message, and all of them."""
    began = time.perf_counter()
    client = Client(port, f"client-{session}")
    first_ms = 0.0
    got: list[int] = []
    while len(got) < len(expected):
        for packet in client.packets():
            if isinstance(packet, Publish):
                first_ms = first_ms or 1000 * (time.perf_counter() - began)
                got.append(int(packet.payload))
                client.socket.sendall(encode(PubAck(packet.packet_identifier), V5))
    assert got == expected
    client.leave()
    return first_ms, 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure, print."""
    folder = Path(sys.argv[1])
    sessions, messages, window = [*map(int, sys.argv[2:]), *(1000, 1_000_000, 256)[len(sys.argv) - 2 :]]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limits = folder / "restart.yaml"
    limits.write_text(
        f"limits:\n  max_queue_messages: {messages}\n  max_queue_bytes: {1 << 40}\n  max_sessions: {sessions + 9}\n",
        encoding="utf-8",
    )
    os.environ.setdefault("PYTHONHASHSEED", "0")
    broker = Broker(folder / "data", limits)
    try:
        rate = fill(broker.port, sessions, messages, window)
        print(f"{messages} messages for {sessions} clients that are away, {rate:.0f} taken in a second")
        print(f"memory while they wait: {broker.memory_mb} MB")
        broker.kill()
        broker = Broker(folder / "data", limits)
        newcomer = Client(broker.port, "newcomer", 0)
        newcomer.packets()
        print(f"a CONNECT accepted after {time.perf_counter() - broker.began:.2f} s; memory {broker.memory_mb} MB")
        session = sessions // 2
        first_ms, all_ms = returning(broker.port, session, [*range(session, messages, sessions)])
        print(f"a client that returns: first message after {first_ms:.0f} ms, all after {all_ms:.0f} ms")
        print(f"memory then: {broker.memory_mb} MB")
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
