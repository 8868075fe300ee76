"""Is a link of packets what was asked for? Asked and measured, side by side, at 20 Mbit/s between two sockets.

    python benchmarks/link_model.py

Needs root. A delay is the time from the call that sends to the kernel's time stamp at the receiver, so that only the
link is measured. It takes 45 s; exit status 1 when more than one packet in a hundred is off by more than 1 ms, a rate
by more than 3 %, or a share by more than 3 sigma.
"""

import asyncio
import socket
import struct
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from math import sqrt
from statistics import median, quantiles
from typing import Final, NamedTuple

from firmware_sim.links.model import LinkModel
from firmware_sim.links.packets.network import PacketNetwork

RATE_KBIT: Final = 20_000
BUFFER_KIB: Final = 8192
MAX_DELAY_ERROR_MS: Final = 1.0
MAX_RATE_ERROR: Final = 0.03
MAX_SIGMAS: Final = 3.0

IP_UDP_BYTES: Final = 28
IP_TCP_BYTES: Final = 52  # with the time stamp option
PACKET_BYTES: Final = 1500
SMALL_BYTES: Final = 200
TCP_BYTES: Final = 8_000_000
TCP_STARTS_S: Final = 0.5  # until its window is open
QUIET_S: Final = 0.5
SO_TIMESTAMPNS: Final = 35  # <asm/socket.h>
SO_RCVBUFFORCE: Final = 33
RECEIVE_BUFFER_BYTES: Final = 128 * 1024 * 1024

_STAMP: Final = struct.Struct("!Iq")
_TIMESPEC: Final = struct.Struct("@qq")


class Arrival(NamedTuple):
    """A datagram: its number, when it was sent, and when it arrived."""

    number: int
    sent_ns: int
    at_ns: int


class Measurements:
    """What was measured in one network, and whether all of it was as asked."""

    def __init__(self, network: PacketNetwork) -> None:
        self._network = network
        self._near, self._far = (self._socket(place) for place in ("near", "far"))
        self._near.connect((network.address("far", "link"), self._far.getsockname()[1]))
        self.is_good = True

    async def delays(self, asked_ms: float, load: float) -> None:
        """Packets take `asked_ms` and their time at the bottleneck, of which the share `load` is used. Where the sender
        was late and then sends two at once, the second is due later.
        """
        packet_ms = PACKET_BYTES * 8 / RATE_KBIT
        gap_s = packet_ms / load / 1000
        arrivals = await self._send(int(2 / gap_s), PACKET_BYTES, gap_s, delay_ms=asked_ms)
        late_ms: list[float] = []
        free_ms = 0.0
        for arrival in arrivals:
            free_ms = max(free_ms, arrival.sent_ns / 1e6) + packet_ms
            late_ms.append(arrival.at_ns / 1e6 - free_ms - asked_ms)
        late_ms.sort()
        p99_ms = quantiles(late_ms, n=100)[-1]
        self._print(
            f"delay, {load:.0%} loaded",
            f"{asked_ms + packet_ms:.2f} ms",
            f"{asked_ms + packet_ms + median(late_ms):.2f} ms",
            f"p99 {p99_ms:+.2f} ms, worst {late_ms[-1]:+.2f} ms",
            max(abs(p99_ms), abs(late_ms[0])) <= MAX_DELAY_ERROR_MS,
        )

    async def jitter(self, asked_ms: float) -> None:
        """Packets take between nothing and `asked_ms` more; far apart, so that none waits for another."""
        arrivals = await self._send(400, SMALL_BYTES, 0.003 + asked_ms / 1000, jitter_ms=asked_ms)
        due_ms = SMALL_BYTES * 8 / RATE_KBIT
        more_ms = sorted((arrival.at_ns - arrival.sent_ns) / 1e6 - due_ms for arrival in arrivals)
        self._print(
            "jitter",
            f"0 to {asked_ms:.0f} ms",
            f"{more_ms[0]:.2f} to {more_ms[-1]:.2f} ms",
            f"median {median(more_ms):.2f} ms",
            more_ms[0] >= -MAX_DELAY_ERROR_MS and more_ms[-1] <= asked_ms + MAX_DELAY_ERROR_MS,
        )

    async def udp_rate(self) -> None:
        """More is sent than the bottleneck lets through."""
        arrivals = await self._send(5000, PACKET_BYTES, 0)
        took_ns = arrivals[-1].at_ns - arrivals[0].at_ns
        self._rate("UDP", (len(arrivals) - 1) * PACKET_BYTES * 8e6 / took_ns)

    async def tcp_rate(self) -> None:
        """A long TCP connection fills the bottleneck."""
        await self._network.change("link", LinkModel(rate_kbit=RATE_KBIT, delay_ms=10, buffer_kib=128))
        with self._network.inside("far"), socket.create_server(("0.0.0.0", 0)) as server:
            with self._network.inside("near"):
                near = socket.create_connection((self._network.address("far", "link"), server.getsockname()[1]))
            far, _ = server.accept()

        def send() -> None:
            with near:
                near.sendall(bytes(TCP_BYTES))

        sending = threading.Thread(target=send)
        sending.start()
        arrivals: list[tuple[float, int]] = []
        with far:
            while data := far.recv(65536):
                arrivals.append((time.monotonic(), len(data)))
        sending.join()
        (start, _), *steady = [arrival for arrival in arrivals if arrival[0] > arrivals[0][0] + TCP_STARTS_S]
        content_kbit = sum(size_bytes for _, size_bytes in steady) * 8e-3
        whole = PACKET_BYTES / (PACKET_BYTES - IP_TCP_BYTES)
        self._rate("TCP", content_kbit * whole / (steady[-1][0] - start))

    async def losses(self, share: float, burst: float = 1.0) -> None:
        """Of many packets such a share is lost, and such runs of them."""
        sent = 20_000
        arrivals = await self._send(sent, SMALL_BYTES, 0, loss=share, burst=burst)
        gaps = [after - before - 1 for before, after in pairwise(arrival.number for arrival in arrivals)]
        runs = [gap for gap in gaps if gap]
        # In bursts, packets share their fate with their neighbours: fewer of them are independent.
        likeness = 1 - 1 / burst - share / (1 - share) / burst if burst > 1 else 0
        sigma = sqrt(share * (1 - share) / sent * (1 + likeness) / (1 - likeness))
        name = "loss" if burst == 1 else f"loss, {burst:g} in a row"
        self._share(name, share, 1 - len(arrivals) / sent, sigma, f"{sum(runs) / len(runs):.2f} in a row")

    async def duplicates(self, share: float) -> None:
        """Such a share arrives twice."""
        sent = 20_000
        arrivals = await self._send(sent, SMALL_BYTES, 0, duplicate=share)
        copies = Counter(arrival.number for arrival in arrivals)
        doubled = sum(count == 2 for count in copies.values()) / sent
        self._share("duplicates", share, doubled, sqrt(share * (1 - share) / sent))

    async def reordering(self, share: float) -> None:
        """Such a share is overtaken."""
        sent = 20_000
        arrivals = await self._send(sent, SMALL_BYTES, 0, reorder=share, reorder_ms=20)
        highest = overtaken = 0
        for arrival in arrivals:
            overtaken += arrival.number < highest
            highest = max(highest, arrival.number)
        self._share("overtaken", share, overtaken / sent, sqrt(share * (1 - share) / sent))

    async def _send(self, count: int, size_bytes: int, gap_s: float, **asked: float) -> list[Arrival]:
        """So many packets of that size, headers included, over a link as asked: what arrives."""
        model = {"rate_kbit": RATE_KBIT, "buffer_kib": BUFFER_KIB, **asked}
        await self._network.change("link", LinkModel(**model))  # type: ignore[arg-type]
        arrivals: list[Arrival] = []
        receiving = threading.Thread(target=lambda: arrivals.extend(self._received()))
        receiving.start()
        await asyncio.to_thread(self._pour, count, size_bytes, gap_s)
        receiving.join()
        return arrivals

    def _pour(self, count: int, size_bytes: int, gap_s: float) -> None:
        start = time.monotonic()
        for number in range(count):
            time.sleep(max(0, start + number * gap_s - time.monotonic()))
            stamp = _STAMP.pack(number, time.time_ns())
            self._near.send(stamp.ljust(size_bytes - IP_UDP_BYTES, b"."))

    def _received(self) -> list[Arrival]:
        """All that arrives until it is quiet."""
        arrivals: list[Arrival] = []
        while True:
            try:
                data, ancillary, *_ = self._far.recvmsg(2048, 128)
            except TimeoutError:
                return arrivals
            number, sent_ns = _STAMP.unpack_from(data)
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            arrivals.append(Arrival(number, sent_ns, seconds * 1_000_000_000 + nanoseconds))

    def _socket(self, place: str) -> socket.socket:
        with self._network.inside(place):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.bind(("0.0.0.0", 0))
        made.settimeout(QUIET_S)
        return made

    def _rate(self, protocol: str, rate_kbit: float) -> None:
        error = rate_kbit / RATE_KBIT - 1
        asked, measured = f"{RATE_KBIT / 1000:.2f} Mbit/s", f"{rate_kbit / 1000:.2f} Mbit/s"
        self._print(f"rate, {protocol}", asked, measured, f"{error:+.2%}", abs(error) <= MAX_RATE_ERROR)

    def _share(self, name: str, asked: float, measured: float, sigma: float, remark: str = "") -> None:
        sigmas = (measured - asked) / sigma
        remark = f"{sigmas:+.1f} sigma {remark}".rstrip()
        self._print(name, f"{asked:.2%}", f"{measured:.2%}", remark, abs(sigmas) <= MAX_SIGMAS)

    def _print(self, name: str, asked: str, measured: str, remark: str, is_good: bool) -> None:
        self.is_good &= is_good
        print(f"{name:20}{asked:>14}{measured:>18}   {'ok ' if is_good else 'OFF'}  {remark}", flush=True)


async def main() -> int:
    """Measure everything; returns the exit status."""
    async with PacketNetwork() as network:
        await network.place("near")
        await network.place("far")
        await network.add("link", LinkModel())
        await network.join("link", "near", "far")
        measured = Measurements(network)
        print(f"{'':20}{'asked':>14}{'measured':>18}")
        for asked_ms in (0, 5, 20, 100):
            await measured.delays(asked_ms, load=0.1)
        await measured.delays(20, load=0.9)
        await measured.jitter(10)
        await measured.udp_rate()
        await measured.tcp_rate()
        await measured.losses(0.01)
        await measured.losses(0.1)
        await measured.losses(0.05, burst=4)
        await measured.duplicates(0.02)
        await measured.reordering(0.01)
        counters = (await network.count())["link"]
        print(f"forwarder: worst lag {counters.lag_ns / 1e6:.2f} ms, {counters.refused} packets not taken in time")
    return 0 if measured.is_good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
