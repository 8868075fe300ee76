"""The network's process with real sockets and pseudo-terminals: what a link does to each, limits, a clean end."""

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.links.link import Counters
from firmware_sim.links.model import Differences, LinkModel
from firmware_sim.links.network import Network, NetworkError

DELAY_S = 0.03
PATIENCE_S = 10.0


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """One end of UDP. What came, from whom and when; an echo if it is told to be."""

    def __init__(self, echoes: bool = False) -> None:
        self._echoes = echoes
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.senders: list[Any] = []
        self.at: list[float] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.at.append(time.monotonic())
        self.senders.append(address)
        self.received.put_nowait(data)
        if self._echoes:
            self.transport.sendto(data, address)

    def numbers(self) -> list[int]:
        return [int(self.received.get_nowait()[:5]) for _ in range(self.received.qsize())]


class Udp:
    """A flow over the link `dsl`: `near` talks to `far`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def __aenter__(self) -> "Udp":
        loop = asyncio.get_running_loop()
        _, self.far = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        port = self.far.transport.get_extra_info("sockname")[1]
        relayed = await self._network.forward("dsl", "udp", "127.0.0.1", port)
        _, self.near = await loop.create_datagram_endpoint(Datagrams, remote_addr=("127.0.0.1", relayed))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.near.transport.close()
        self.far.transport.close()

    async def send(self, numbers: range, size_bytes: int = 100, gap_s: float = 0.0) -> None:
        for number in numbers:
            self.near.transport.sendto(b"%05d" % number + bytes(size_bytes - 5))
            if gap_s or number % 50 == 49:
                await asyncio.sleep(gap_s or 0.005)

    async def quiet(self) -> Counters:
        """When nothing is under way any more, after the last was sent."""
        counters = (await self._network.count())["dsl"]
        while True:
            await asyncio.sleep(0.1)
            before, counters = counters, (await self._network.count())["dsl"]
            if before == counters:
                return counters


@contextlib.asynccontextmanager
async def connected(network: Network, serve: Any = echo_stream) -> Any:
    """A connection over the link `dsl` to a server that does `serve`."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = await network.forward("dsl", "tcp", "127.0.0.1", server.sockets[0].getsockname()[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield reader, writer, port
        writer.close()


def run(scene: Callable[[Network], Awaitable[None]], model: LinkModel | None = None, seed: int = 1) -> None:
    async def whole() -> None:
        async with Network() as network:
            await network.add("dsl", model or LinkModel(delay_ms=DELAY_S * 1000), seed)
            await asyncio.wait_for(scene(network), PATIENCE_S)

    asyncio.run(whole())


# ---- TCP


def test_tcp_takes_the_round_trip_and_counts_bytes() -> None:
    async def scene(network: Network) -> None:
        async with connected(network) as (reader, writer, _):
            for attempt in range(3):
                start = time.monotonic()
                writer.write(b"x" * 1000)
                await reader.readexactly(1000)
                took = time.monotonic() - start
                assert took >= (4 if attempt == 0 else 2) * DELAY_S, "the first one waits for the handshake too"
            assert took < 2 * DELAY_S + 0.5
            counters = (await network.count())["dsl"]
            assert (counters.up_bytes, counters.down_bytes, counters.lost_bytes) == (3216, 3216, 0), "with headers"
            writer.write_eof()
            assert await reader.read() == b"", "the end crosses the link and comes back"

    run(scene)


def test_tcp_through_a_cut_is_silent_then_whole() -> None:
    async def scene(network: Network) -> None:
        async with connected(network) as (reader, writer, _):
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

    run(scene, LinkModel(delay_ms=DELAY_S * 1000, rate_kbit=8000, buffer_kib=16))


def test_tcp_goes_on_when_its_sender_tries_again() -> None:
    async def scene(network: Network) -> None:
        async with connected(network) as (reader, writer, _):
            writer.write(b"measured")
            await reader.readexactly(8)
            await network.cut("dsl")
            start = time.monotonic()
            writer.write(b"lost")
            await asyncio.sleep(0.8)  # attempts at 0.2, 0.6 and 1.4 s
            await network.heal("dsl")
            await reader.readexactly(4)
            assert 1.4 <= time.monotonic() - start < 1.4 + 0.5

    run(scene)


def test_tcp_is_whole_whatever_the_link_does() -> None:
    async def scene(network: Network) -> None:
        async with connected(network) as (reader, writer, _):
            data = os.urandom(400_000)
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        counters = (await network.count())["dsl"]
        assert counters.lost > 5
        assert counters.duplicated > 5
        assert counters.reordered > 5

    run(scene, LinkModel(delay_ms=1, jitter_ms=1, loss=0.02, burst=2, duplicate=0.05, reorder=0.05, reorder_ms=1))


def test_tcp_keeps_the_rate() -> None:
    async def scene(network: Network) -> None:
        async with connected(network) as (reader, writer, _):
            writer.write(bytes(1_500_000))
            await reader.readexactly(200_000)
            start = time.monotonic()
            await reader.readexactly(1_000_000)
            took = time.monotonic() - start
            asked, measured = 8_000 * 1448 / 1500, 1_000_000 * 8 / took / 1000
            assert 0.85 * asked < measured < 1.02 * asked

    run(scene, LinkModel(delay_ms=5, rate_kbit=8_000, buffer_kib=600))


def test_a_reset_becomes_an_end_and_a_refusal_too() -> None:
    async def scene(network: Network) -> None:
        ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            ended.set_result(await reader.read())
            writer.close()

        async with connected(network, serve) as (reader, writer, port):
            assert await reader.readexactly(5) == b"hello", "a server may speak first"
            writer.transport.abort()
            assert await ended == b""
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await late_reader.read() == b"", "nobody listens any more"
        late_writer.close()

    run(scene)


def test_an_end_leaves_the_other_direction_open_and_nothing_is_left_of_both() -> None:
    async def scene(network: Network) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()

        async with connected(network, serve) as (_, _, port):
            await asyncio.sleep(4 * DELAY_S)
            files = len(open_files(network))
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"all of it")
                writer.write_eof()
                assert await reader.read() == b"all of it"
                writer.close()
            await asyncio.sleep(4 * DELAY_S)
            assert len(open_files(network)) == files

    run(scene)


def test_who_does_not_read_holds_the_writer_up() -> None:
    async def scene(network: Network) -> None:
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await done.wait()
            while await reader.read(65536):
                pass
            writer.close()

        async with connected(network, serve) as (_, writer, _):
            written = 0
            with contextlib.suppress(TimeoutError):
                while written < 1 << 26:
                    writer.write(bytes(1 << 16))
                    await asyncio.wait_for(writer.drain(), 0.5)
                    written += 1 << 16
            assert written < 1 << 26, "it has to wait"
            done.set()
            await asyncio.wait_for(writer.drain(), PATIENCE_S)

    run(scene, LinkModel())


def test_after_a_move_connections_are_silent_and_new_ones_work() -> None:
    async def scene(network: Network) -> None:
        ends: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                ends.append(data)
                writer.write(data)
            ends.append(b"")
            writer.close()

        async with connected(network, serve) as (reader, writer, port):
            writer.write(b"before")
            await reader.readexactly(6)
            await network.move("dsl")
            writer.write(b"into the void")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 10 * DELAY_S)
            writer.close()
            new_reader, new_writer = await asyncio.open_connection("127.0.0.1", port)
            new_writer.write(b"after")
            await new_reader.readexactly(5)
            assert ends == [b"before", b"after"], "the server knows nothing of the end of the old one"
            new_writer.close()

    run(scene)


# ---- UDP


def test_udp_answers_find_their_client_and_a_cut_loses() -> None:
    async def scene(network: Network) -> None:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(lambda: Datagrams(True), local_addr=("127.0.0.1", 0))
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
        counters = (await network.count())["dsl"]
        assert (counters.lost, counters.lost_bytes) == (1, 28 + 4), "with headers"
        for transport, _ in clients:
            transport.close()
        server.close()

    run(scene)


def lost_numbers(seed: int) -> list[int]:
    """Which of 500 datagrams do not arrive."""
    lost: list[int] = []

    async def scene(network: Network) -> None:
        async with Udp(network) as udp:
            await udp.send(range(500))
            counters = await udp.quiet()
            arrived = Counter(udp.far.numbers())
            lost.extend(number for number in range(500) if number not in arrived)
            assert counters.lost == len(lost)

    run(scene, LinkModel(delay_ms=2, loss=0.2), seed)
    return lost


def test_loss_is_what_was_asked_and_the_same_for_one_seed() -> None:
    first, again, other = lost_numbers(1), lost_numbers(1), lost_numbers(2)
    assert abs(len(first) - 100) <= 27, "three sigma"
    assert first == again != other


def test_doubling_overtaking_and_asymmetry() -> None:
    async def scene(network: Network) -> None:
        async with Udp(network) as udp:
            await udp.send(range(200), gap_s=0.002)
            counters = await udp.quiet()
            numbers = udp.far.numbers()
            doubled = [number for number, count in Counter(numbers).items() if count == 2]
            assert sorted(set(numbers)) == list(range(200))
            assert counters.duplicated == len(doubled) > 20
            inversions = sum(after < before for before, after in itertools.pairwise(numbers))
            assert inversions > 10
            assert counters.reordered >= inversions
            for number in range(50):
                udp.far.transport.sendto(b"%05d" % number, udp.far.senders[0])
            await udp.quiet()
            assert udp.near.numbers() == list(range(50)), "the way back is clean"

    run(scene, LinkModel(up=Differences(duplicate=0.2, reorder=0.2, reorder_ms=15)))


def test_rate_queue_and_change() -> None:
    async def scene(network: Network) -> None:
        async with Udp(network) as udp:
            await udp.send(range(100), 972)
            await udp.far.received.get()
            queued_bytes = (await network.count())["dsl"].queued_bytes
            assert 80_000 < queued_bytes < 100_000
            await asyncio.sleep(0.3)
            slow = (udp.far.at[-1] - udp.far.at[0]) / (len(udp.far.at) - 1)
            assert 1000 * 8 / slow == pytest.approx(800_000, rel=0.1)
            await network.change("dsl", LinkModel(rate_kbit=80_000))
            await asyncio.sleep(0.1)
            assert udp.far.numbers() == list(range(1, 100)), "what waited goes at the new rate"
            assert (await network.count())["dsl"].queued_bytes == 0

    run(scene, LinkModel(rate_kbit=800, buffer_kib=128))


def test_one_direction_may_be_silent_alone() -> None:
    async def scene(network: Network) -> None:
        async with Udp(network) as udp:
            await udp.send(range(1))
            await udp.quiet()
            await network.cut("dsl", ["up"])
            await udp.send(range(1, 2))
            udp.far.transport.sendto(b"00002", udp.far.senders[0])
            await udp.quiet()
            assert (udp.far.numbers(), udp.near.numbers()) == ([0], [2])
            await network.heal("dsl", ["up"])
            await udp.send(range(3, 4))
            await udp.quiet()
            assert udp.far.numbers() == [3]

    run(scene, LinkModel())


def test_after_a_move_a_udp_client_has_another_port() -> None:
    async def scene(network: Network) -> None:
        async with Udp(network) as udp:
            await udp.send(range(2))
            await udp.quiet()
            await network.move("dsl")
            udp.far.transport.sendto(b"00009", udp.far.senders[0])
            await udp.send(range(2, 3))
            await udp.quiet()
            old, same, new = udp.far.senders
            assert old == same != new
            assert udp.near.numbers() == [], "the old port leads nowhere"
            udp.far.transport.sendto(b"00010", new)
            await udp.quiet()
            assert udp.near.numbers() == [10]

    run(scene, LinkModel())


def test_a_relay_that_is_too_slow_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene(network: Network) -> None:
        async with Udp(network) as udp:
            network._process.send_signal(signal.SIGSTOP)
            for _ in range(10_000):
                udp.near.transport.sendto(bytes(1000))
            network._process.send_signal(signal.SIGCONT)
            counters = await udp.quiet()
            assert counters.refused == 10_000 - counters.up_bytes // 1028 > 0
        assert "link dsl: " in capfd.readouterr().err

    run(scene, LinkModel())


# ---- Cables


class Terminal:
    """A process at one end of a cable."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def write(self, data: bytes) -> None:
        os.write(self.fd, data)

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await asyncio.to_thread(os.read, self.fd, 4096)
        return data

    def close(self) -> None:
        os.close(self.fd)


@contextlib.contextmanager
def terminals(*paths: str) -> Any:
    ends = [Terminal(path) for path in paths]
    yield ends
    for end in ends:
        end.close()


EVERY_BYTE = bytes(range(256))


def test_a_cable_joins_two_terminals() -> None:
    paths: list[str] = []

    async def scene(network: Network) -> None:
        paths.extend(await network.cable("dsl"))
        with terminals(*paths) as (gateway, device):
            device.write(EVERY_BYTE)
            assert await gateway.read(256) == EVERY_BYTE, "raw: no byte means anything to the terminal"
            gateway.write(EVERY_BYTE)
            assert await device.read(256) == EVERY_BYTE

    run(scene)
    assert not any(Path(path).is_symlink() for path in paths), "no terminal outlives its network"
    assert not Path(paths[0]).parent.exists()


def test_noise_damages_what_was_asked() -> None:
    async def scene(network: Network) -> None:
        with terminals(*await network.cable("dsl")) as (gateway, device):
            await network.disturb("dsl", damaged=0.1)
            arrived = b""
            for _ in range(10):
                device.write(EVERY_BYTE)
                arrived += await gateway.read(256)
            damaged = sum(sent != came for sent, came in zip(EVERY_BYTE * 10, arrived, strict=True))
            assert abs(damaged - 256) <= 46, "three sigma"
            await network.disturb("dsl")
            device.write(EVERY_BYTE)
            assert await gateway.read(256) == EVERY_BYTE

    run(scene, LinkModel())


def test_a_pulled_plug_reads_as_an_error_and_comes_back_by_its_name() -> None:
    async def scene(network: Network) -> None:
        paths = await network.cable("dsl")
        with terminals(*paths) as ends:
            ends[1].write(b"under way")
            await asyncio.sleep(DELAY_S / 3)
            await network.unplug("dsl")
            for end in ends:
                with contextlib.suppress(OSError):
                    assert await asyncio.to_thread(os.read, end.fd, 100) == b""
            for path in paths:
                with pytest.raises(FileNotFoundError):
                    Terminal(path)
        await network.unplug("dsl")
        await network.plug("dsl")
        await network.plug("dsl")
        with terminals(*paths) as (gateway, device):
            device.write(b"again")
            assert await gateway.read(5) == b"again", "and nothing of what was under way"

    run(scene)


# ---- The process


def test_an_unknown_link_is_refused_by_name() -> None:
    async def scene(network: Network) -> None:
        with pytest.raises(NetworkError, match="'adsl'"):
            await network.cut("adsl")

    run(scene)


def test_a_model_that_cannot_be_is_refused_by_key() -> None:
    async def scene(network: Network) -> None:
        with pytest.raises(NetworkError, match=r"<= 1\.0 - at `\$\.model\.loss`"):
            await network.change("dsl", LinkModel(loss=2.0))

    run(scene)


@pytest.mark.parametrize(("files", "message"), [(0, "connections have to wait"), (1, "no connection onwards")])
def test_a_relay_without_files_says_so(files: int, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def scene(network: Network) -> None:
        async with connected(network) as (reader, writer, port):
            writer.write(b"there")
            await reader.readexactly(5)
            taken = open_files(network)
            limit = next(limit for limit in itertools.count() if limit - sum(fd < limit for fd in taken) > files) - 1
            resource.prlimit(network._process.pid, resource.RLIMIT_NOFILE, (limit, limit))
            _, other = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(4 * DELAY_S + 0.2)
            assert (await network.count())["dsl"].refused
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still", "who is there stays"
            other.close()
        assert f"link dsl: {message}" in capfd.readouterr().err

    run(scene)


def open_files(network: Network) -> list[int]:
    return [int(entry.name) for entry in Path(f"/proc/{network._process.pid}/fd").iterdir()]
