"""The network's process with real sockets and pseudo-terminals: delay, cut, heal, counting, and a clean end."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from firmware_sim.links.network import Network, NetworkError
from firmware_sim.links.orders import LinkModel

DELAY_S = 0.03


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(data, address)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.received.put_nowait(data)


def run(scene: Callable[[Network], Awaitable[None]], model: LinkModel | None = None) -> None:
    async def whole() -> None:
        async with Network() as network:
            await network.add("dsl", model or LinkModel(delay_ms=DELAY_S * 1000))
            await scene(network)

    asyncio.run(whole())


def test_tcp_takes_the_round_trip_and_counts_bytes() -> None:
    async def scene(network: Network) -> None:
        async with await asyncio.start_server(echo_stream, "127.0.0.1", 0) as server:
            port = await network.forward("dsl", "tcp", "127.0.0.1", server.sockets[0].getsockname()[1])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for attempt in range(3):
                start = time.monotonic()
                writer.write(b"x" * 1000)
                await reader.readexactly(1000)
                took = time.monotonic() - start
                assert took >= (4 if attempt == 0 else 2) * DELAY_S, "the first one waits for the handshake too"
            assert took < 2 * DELAY_S + 0.5
            writer.close()
            assert await reader.read() == b"", "the close crosses the link and comes back"
        counters = (await network.count())["dsl"]
        assert (counters.up_bytes, counters.down_bytes, counters.lost_bytes) == (3000, 3000, 0)

    run(scene)


def test_tcp_through_a_cut_is_silent_then_whole() -> None:
    async def scene(network: Network) -> None:
        async with await asyncio.start_server(echo_stream, "127.0.0.1", 0) as server:
            port = await network.forward("dsl", "tcp", "127.0.0.1", server.sockets[0].getsockname()[1])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = os.urandom(300_000)
            writer.write(data)
            received = await reader.read(1000)
            await network.cut("dsl")
            with contextlib.suppress(TimeoutError):
                while True:
                    received += await asyncio.wait_for(reader.read(65536), 4 * DELAY_S)
            assert len(received) < len(data)
            await network.heal("dsl")
            received += await reader.readexactly(len(data) - len(received))
            assert received == data, "a stream loses nothing in a cut"
            writer.close()

    run(scene, LinkModel(delay_ms=DELAY_S * 1000, rate_kbit=8000, buffer_kib=16))


def test_udp_answers_find_their_client_and_a_cut_loses() -> None:
    async def scene(network: Network) -> None:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=("127.0.0.1", 0))
        port = await network.forward("dsl", "udp", "127.0.0.1", server.get_extra_info("sockname")[1])
        clients = [await loop.create_datagram_endpoint(Datagrams, remote_addr=("127.0.0.1", port)) for _ in range(5)]
        start = time.monotonic()
        for n, (transport, _) in enumerate(clients):
            transport.sendto(b"%d" % n)
        for n, (_, protocol) in enumerate(clients):
            assert await protocol.received.get() == b"%d" % n
        assert time.monotonic() - start >= 2 * DELAY_S
        await network.cut("dsl")
        clients[0][0].sendto(b"lost")
        await asyncio.sleep(DELAY_S)
        await network.heal("dsl")
        clients[0][0].sendto(b"after")
        assert await clients[0][1].received.get() == b"after"
        assert (await network.count())["dsl"].lost_bytes == 4
        for transport, _ in clients:
            transport.close()
        server.close()

    run(scene)


def test_a_cable_joins_two_terminals() -> None:
    async def scene(network: Network) -> None:
        gateway, device = await network.cable("dsl")
        ends = [os.open(path, os.O_RDWR | os.O_NOCTTY) for path in (gateway, device)]
        every_byte = bytes(range(256))
        os.write(ends[1], every_byte)
        received = b""
        while len(received) < 256:
            received += await asyncio.to_thread(os.read, ends[0], 4096)
        assert received == every_byte, "raw: no byte means anything to the terminal"
        for fd in ends:
            os.close(fd)
        paths.extend([gateway, device])

    paths: list[str] = []
    run(scene)
    assert not any(Path(path).exists() for path in paths), "no terminal outlives its network"


def test_an_unknown_link_is_refused_by_name() -> None:
    async def scene(network: Network) -> None:
        with pytest.raises(NetworkError, match="'adsl'"):
            await network.cut("adsl")

    run(scene)
