"""How many bytes does the broker write to the disk for each byte of payload, by the rate of messages?

    python benchmarks/flash.py FOLDER [RATE ...]

FOLDER is on the disk to measure and must be a real one, not tmpfs. Messages of 100 bytes come evenly, with QoS 1, over
20 connections, for one persistent subscriber, who is there and acknowledges, or is away. `new` is a broker whose files
are used for the first time, `over` one that writes over older ones, as a node does that has run for a while.

The first figure is that of the block device, with what the file system itself writes; others must not use it meanwhile,
and what they do in two seconds without the broker is taken off. The second is what the kernel says that the process
has written (`write_bytes` in /proc/PID/io). docs/benchmarks/flash.md draws on it.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from oriole.wire.mqtt import V311, Connect, PubAck, Publish, Splitter, Subscribe, Subscription, decode, encode

RATES: Final = (1, 10, 100, 1000, 5000, 20_000)
PAYLOAD: Final = bytes(100)
PUBLISHERS: Final = 20
LASTS_S: Final = 5.0
SLOW_LASTS_S: Final = 10.0
"""Below ten messages a second."""
IDLE_S: Final = 2.0
TICK_S: Final = 0.0002
SPARE_BYTES: Final = 64 << 20
SPARES: Final = 2


class Broker:
    """A broker in a folder of its own."""

    def __init__(self, folder: Path, durability: str, is_new: bool) -> None:
        journal = folder / "data" / "journal"
        journal.mkdir(parents=True)
        for number in range(0 if is_new else SPARES):
            _write(journal / f"{number + 1:08}.spare", SPARE_BYTES)
        command = [sys.executable, "-m", "oriole", "broker", "--listen", "mqtt://127.0.0.1:0", "--log-level", "error"]
        command += ["--data", str(folder / "data"), "--durability", durability]
        config = folder / "roomy.yaml"
        config.write_text("limits: {max_queue_messages: 10000000, max_queue_bytes: 1000000000}\n")
        command += ["--config", str(config)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = re.search(r":(\d+)$", self._process.stdout.readline().strip())
        assert found is not None
        self.port = int(found[1])

    @property
    def written_bytes(self) -> int:
        """What the kernel says that it has written: whole pages."""
        text = Path(f"/proc/{self._process.pid}/io").read_text()
        return int(text.split("\nwrite_bytes: ")[1].split()[0])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
        os.posix_fadvise(
            file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED
        )  # or the kernel counts the pieces that it wrote it in


class Crowd:
    """Publishers, and their subscriber while it is there. It reads while it waits for its next message to be due."""

    def __init__(self, port: int, is_online: bool) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self.acknowledged = 0
        reader = self._connect("reader", clean_start=False)
        reader.sendall(encode(Subscribe(1, [Subscription("flash/#", 1)]), V311))
        reader.recv(4096)
        if is_online:
            self._listen(reader)
        else:
            reader.close()
        self._publishers = [self._connect(f"publisher-{number}", clean_start=True) for number in range(PUBLISHERS)]
        for publisher in self._publishers:
            self._listen(publisher)

    def _connect(self, name: str, clean_start: bool) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(encode(Connect(name, V311, clean_start, 0), V311))
        connection.recv(4096)
        return connection

    def _listen(self, connection: socket.socket) -> None:
        self._selector.register(connection, selectors.EVENT_READ, Splitter())

    def publish(self, rate: float, lasts_s: float) -> int:
        """Evenly; the number of messages, all of which are acknowledged then."""
        began = time.perf_counter()
        sent = 0
        while (passed_s := time.perf_counter() - began) < lasts_s:
            while sent < rate * passed_s:
                packet = Publish(
                    b"flash/%d" % (sent % 10), PAYLOAD, 1, packet_identifier=sent // PUBLISHERS % 65_535 + 1
                )
                self._publishers[sent % PUBLISHERS].sendall(encode(packet, V311))
                sent += 1
            self._read(max(0, min(sent / rate - passed_s, TICK_S if rate > 100 else 1)))
        while self.acknowledged < sent:
            self._read(1)
        return sent

    def _read(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            for first, body in key.data.split(connection.recv(1 << 16)):
                packet = decode(first, body, V311)
                if isinstance(packet, PubAck):
                    self.acknowledged += 1
                elif isinstance(packet, Publish):
                    connection.sendall(encode(PubAck(packet.packet_identifier), V311))


class Device:
    """The disk below a folder: None where the kernel does not count for it."""

    def __init__(self, folder: Path) -> None:
        number = folder.stat().st_dev
        self._counters = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
        self.is_counted = self._counters.exists()

    @property
    def written_bytes(self) -> int:
        """By anybody, since the machine was switched on."""
        os.sync()
        return int(self._counters.read_text().split()[6]) * 512 if self.is_counted else 0


def measure(device: Device, folder: Path, durability: str, is_new: bool, is_online: bool, rate: float) -> str:
    """One run: bytes by payload byte, on the device and of the process."""
    broker = Broker(folder, durability, is_new)
    try:
        crowd = Crowd(broker.port, is_online)
        time.sleep(1)  # the room of the first file, where it is new
        before = device.written_bytes
        time.sleep(IDLE_S)
        others_per_s = (device.written_bytes - before) / IDLE_S
        on_device, of_process, began = device.written_bytes, broker.written_bytes, time.perf_counter()
        payload_bytes = crowd.publish(rate, SLOW_LASTS_S if rate < 10 else LASTS_S) * len(PAYLOAD)
        took_s = time.perf_counter() - began
        process = (broker.written_bytes - of_process) / payload_bytes
        if not device.is_counted:
            return f"     - {process:6.2f}"
        on_device = device.written_bytes - on_device - round(others_per_s * took_s)
        return f"{on_device / payload_bytes:6.2f} {process:6.2f}"
    finally:
        broker.stop()


def main() -> None:
    root = Path(sys.argv[1])
    rates = tuple(map(float, sys.argv[2:])) or RATES
    device = Device(root)
    print("written to the device, and by the process, for each byte of payload\n")
    columns = [(files, there) for files in ("new", "over") for there in ("online", "offline")]
    print(" " * 17 + "".join(f"{files + ', ' + there:>16}" for files, there in columns))
    for durability in ("strict", "relaxed"):
        for rate in rates:
            print(f"{durability:8} {rate:6g}/s", end="", flush=True)
            for files, there in columns:
                folder = Path(tempfile.mkdtemp(dir=root))
                try:
                    row = measure(device, folder, durability, files == "new", there == "online", rate)
                finally:
                    shutil.rmtree(folder)
                print(f"{row:>16}", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
