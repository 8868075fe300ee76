"""Networks of packets with the kernel's own TCP and UDP: what was asked of a link is what sockets see, and nothing of
it is left behind. Needs root; CI has it.
"""

import asyncio
import contextlib
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.child import python_module
from firmware_sim.links.model import Differences, LinkModel
from firmware_sim.links.network import NetworkError
from firmware_sim.links.packets.namespace import HERE
from firmware_sim.links.packets.network import PacketNetwork, obstacle

PORT = 5000
DELAY_S = 0.02
RATE_KBIT = 20_000
IP_UDP_BYTES = 28
IP_TCP_BYTES = 52
"""IP, TCP and the timestamp option."""
PACKET_BYTES = 1500
SILENCE_S = 0.3
SO_RCVBUFFORCE = 33
WAIT_S = 10.0

Scene = Callable[[PacketNetwork], Awaitable[None]]


@pytest.fixture(autouse=True, scope="module")
def root() -> None:
    """Skip where there can be no network of packets; fail where one is promised, which is in CI."""
    if reason := obstacle():
        if os.environ.get("ORIOLE_REQUIRE_INTEROP") == "1" or os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def run(scene: Scene, model: LinkModel | None = None) -> None:
    """Play a scene in a network of a house and a centre, joined by `dsl`."""

    async def whole() -> None:
        async with PacketNetwork() as network:
            for place in ("house", "centre"):
                await network.place(place)
            await network.add("dsl", model or LinkModel(), 7)
            await network.join("dsl", "house", "centre")
            await scene(network)

    asyncio.run(whole())


def udp(network: PacketNetwork, place: str, port: int = 0) -> socket.socket:
    with network.inside(place):
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * 1024 * 1024)
    end.bind(("0.0.0.0", port))
    end.settimeout(SILENCE_S)
    return end


def flow(network: PacketNetwork, link: str = "dsl", near: str = "house", far: str = "centre") -> list[socket.socket]:
    """Two UDP sockets that know each other."""
    ends = [udp(network, near), udp(network, far)]
    for end, other, place in zip(ends, reversed(ends), (far, near), strict=True):
        end.connect((network.address(place, link), other.getsockname()[1]))
    return ends


def tcp(network: PacketNetwork, near: str = "house", far: str = "centre") -> list[socket.socket]:
    """The two ends of a TCP connection."""
    with network.inside(far), socket.create_server(("0.0.0.0", PORT)) as server:
        with network.inside(near):
            client = socket.create_connection((network.address(far, "dsl"), PORT), WAIT_S)
        accepted, _ = server.accept()
    accepted.settimeout(WAIT_S)
    return [client, accepted]


def received(end: socket.socket) -> list[tuple[int, bytes]]:
    """All datagrams until it is quiet, with the time (ns) of each."""
    datagrams = []
    try:
        while True:
            data = end.recv(2048)
            datagrams.append((time.monotonic_ns(), data))
    except TimeoutError:
        return datagrams


def close(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


def here() -> str:
    """The namespace that this thread is in."""
    return str(Path(HERE).readlink())


def is_silent(end: socket.socket) -> bool:
    """Nothing to read, no end and no error."""
    end.settimeout(SILENCE_S)
    try:
        end.recv(2048)
    except TimeoutError:
        return True
    return False


# ---- What a link is like


def test_a_datagram_takes_the_delay_of_its_direction_and_its_time_at_the_bottleneck() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = flow(network)
        size_bytes = 1000
        serialised_ms = (size_bytes + IP_UDP_BYTES) * 8 / RATE_KBIT
        for source, sink, delay_ms in ((house, centre, 20), (centre, house, 5)):
            took_ms = []
            for _ in range(30):
                start_ns = time.monotonic_ns()
                source.send(bytes(size_bytes))
                sink.recv(2048)
                took_ms.append((time.monotonic_ns() - start_ns) / 1e6)
            assert min(took_ms) >= delay_ms + serialised_ms
            assert median(took_ms) < delay_ms + serialised_ms + 1
        close(house, centre)

    run(scene, LinkModel(delay_ms=20, rate_kbit=RATE_KBIT, down=Differences(delay_ms=5)))


def test_udp_gets_the_rate_and_the_buffer_overflows() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = flow(network)
        payload = bytes(PACKET_BYTES - IP_UDP_BYTES)
        sending = threading.Thread(target=lambda: [house.send(payload) for _ in range(2000)])
        sending.start()
        arrivals_ns = [at_ns for at_ns, _ in received(centre)]
        sending.join()
        rate_kbit = (len(arrivals_ns) - 1) * PACKET_BYTES * 8e6 / (arrivals_ns[-1] - arrivals_ns[0])
        assert rate_kbit == pytest.approx(RATE_KBIT, rel=0.03)
        counters = (await network.count())["dsl"]
        assert counters.up_bytes == len(arrivals_ns) * PACKET_BYTES
        assert counters.lost == 2000 - len(arrivals_ns) > 0
        assert counters.refused == 0
        close(house, centre)

    run(scene, LinkModel(rate_kbit=RATE_KBIT, buffer_kib=2048))


def test_tcp_gets_the_rate_less_its_headers() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = tcp(network)

        def send() -> None:
            with house:
                house.sendall(bytes(5_000_000))

        sending = threading.Thread(target=send)
        sending.start()
        arrivals: list[tuple[float, int]] = []
        while data := centre.recv(65536):
            arrivals.append((time.monotonic(), len(data)))
        sending.join()
        assert sum(size_bytes for _, size_bytes in arrivals) == 5_000_000
        steady = [(at, size_bytes) for at, size_bytes in arrivals if at > arrivals[0][0] + 0.5]
        rate_kbit = sum(size_bytes for _, size_bytes in steady[1:]) * 8e-3 / (steady[-1][0] - steady[0][0])
        assert rate_kbit * PACKET_BYTES / (PACKET_BYTES - IP_TCP_BYTES) == pytest.approx(RATE_KBIT, rel=0.03)
        close(centre)

    run(scene, LinkModel(delay_ms=10, rate_kbit=RATE_KBIT, buffer_kib=128))


def test_losses_doubles_and_overtaking_are_as_many_as_asked() -> None:
    sent, loss, duplicate, reorder = 5000, 0.05, 0.02, 0.01

    async def scene(network: PacketNetwork) -> None:
        house, centre = flow(network)
        for number in range(sent):
            house.send(struct.pack("!I", number).ljust(200, b"."))
        numbers = [struct.unpack_from("!I", data)[0] for _, data in received(centre)]
        copies = Counter(numbers)
        through = sent * (1 - loss)
        assert sent - len(copies) == pytest.approx(sent * loss, abs=3 * (sent * loss * (1 - loss)) ** 0.5)
        doubled = sum(count == 2 for count in copies.values())
        assert doubled == pytest.approx(through * duplicate, abs=3 * (through * duplicate) ** 0.5)
        highest, overtaken = -1, set()
        for number in numbers:
            highest = max(highest, number)
            if number < highest:
                overtaken.add(number)
        assert len(overtaken) == pytest.approx(through * reorder, abs=3 * (through * reorder) ** 0.5)
        counters = (await network.count())["dsl"]
        assert (counters.lost, counters.duplicated) == (sent - len(copies), doubled)
        close(house, centre)

    run(
        scene,
        LinkModel(rate_kbit=RATE_KBIT, buffer_kib=4096, loss=loss, duplicate=duplicate, reorder=reorder, reorder_ms=20),
    )


def test_one_seed_loses_the_same_packets() -> None:
    def fates() -> list[bytes]:
        arrived: list[bytes] = []

        async def scene(network: PacketNetwork) -> None:
            house, centre = flow(network)
            for number in range(200):
                house.send(b"%d" % number)
            arrived.extend(data for _, data in received(centre))
            close(house, centre)

        run(scene, LinkModel(loss=0.3, burst=3))
        return arrived

    first = fates()
    assert 0 < len(first) < 200
    assert fates() == first


def test_a_change_is_felt_at_once() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = flow(network)
        for delay_ms in (0, 40, 10):
            await network.change("dsl", LinkModel(delay_ms=delay_ms))
            took_ms = []
            for _ in range(3):
                start_ns = time.monotonic_ns()
                house.send(b".")
                centre.recv(2048)
                took_ms.append((time.monotonic_ns() - start_ns) / 1e6)
            assert delay_ms <= min(took_ms) < delay_ms + 10
        close(house, centre)

    run(scene)


def test_a_forwarder_that_cannot_follow_says_so() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = flow(network)
        os.kill(network._process.pid, signal.SIGSTOP)
        for _ in range(11_000):
            house.send(b".")
        os.kill(network._process.pid, signal.SIGCONT)
        arrived = len(received(centre))
        counters = (await network.count())["dsl"]
        assert counters.refused == 11_000 - arrived > 0
        assert counters.lost == 0, "the link is not to blame"
        close(house, centre)

    run(scene)


# ---- Cuts and addresses


def test_tcp_through_a_cut_hears_nothing_and_goes_on_by_itself() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = tcp(network)
        await network.cut("dsl")
        house.sendall(b"from the house")
        centre.sendall(b"from the centre")
        assert is_silent(house)
        assert is_silent(centre)
        with network.inside("house"), socket.socket() as late:
            late.settimeout(SILENCE_S)
            with pytest.raises(TimeoutError):
                late.connect((network.address("centre", "dsl"), PORT))
        await network.heal("dsl")
        for end in (house, centre):
            end.settimeout(WAIT_S)
        assert house.recv(100) == b"from the centre"
        assert centre.recv(100) == b"from the house"
        house.close()
        assert centre.recv(100) == b""
        close(centre)

    run(scene)


def test_a_cut_of_one_direction_leaves_the_other() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = flow(network)
        await network.cut("dsl", ["down"])
        centre.send(b"lost")
        house.send(b"arrives")
        assert centre.recv(100) == b"arrives"
        assert is_silent(house)
        await network.heal("dsl", ["down"])
        centre.send(b"arrives too")
        assert house.recv(100) == b"arrives too"
        close(house, centre)

    run(scene)


def test_whoever_moves_has_another_address_and_its_connections_hang() -> None:
    async def scene(network: PacketNetwork) -> None:
        house, centre = tcp(network)
        before = network.address("house", "dsl"), network.address("centre", "dsl")
        carried_bytes = (await network.count())["dsl"].total_bytes
        await network.move("dsl")
        after = network.address("house", "dsl"), network.address("centre", "dsl")
        assert before[0] != after[0]
        assert before[1] == after[1]
        house.sendall(b".")
        centre.sendall(b".")
        assert is_silent(house)
        assert is_silent(centre)
        assert (await network.count())["dsl"].total_bytes == carried_bytes, "what is for nobody costs nothing"
        new_house, new_centre = tcp(network)
        assert new_centre.getpeername()[0] == after[0]
        new_house.sendall(b"here")
        assert new_centre.recv(100) == b"here"
        close(house, centre, new_house, new_centre)

    run(scene)


# ---- Places


def test_whoever_was_inside_is_back_home() -> None:
    async def scene(network: PacketNetwork) -> None:
        home = here()
        with network.inside("house"):
            house = here()
        assert house != home
        assert here() == home
        with pytest.raises(ZeroDivisionError), network.inside("centre"):
            raise ZeroDivisionError
        assert here() == home

    run(scene)


def test_a_link_reaches_many_places_and_a_place_has_many_links() -> None:
    async def scene(network: PacketNetwork) -> None:
        await network.place("cabin")
        await network.place("edge")
        await network.add("lte", LinkModel())
        await network.join("dsl", "cabin", "edge")
        await network.join("lte", "house", "centre")
        for link, near, far in (
            ("dsl", "house", "centre"),
            ("dsl", "house", "edge"),
            ("dsl", "cabin", "edge"),
            ("dsl", "cabin", "centre"),
            ("lte", "house", "centre"),
        ):
            ends = flow(network, link, near, far)
            ends[0].send(b"there")
            assert ends[1].recv(100) == b"there"
            close(*ends)
        size_bytes = IP_UDP_BYTES + len(b"there")
        counters = await network.count()
        assert (counters["dsl"].up_bytes, counters["lte"].up_bytes) == (4 * size_bytes, size_bytes)
        neighbours = flow(network, "dsl", "house", "cabin")
        neighbours[0].send(b"over the fence")
        assert is_silent(neighbours[1]), "one side of a link does not reach itself"
        close(*neighbours)

    run(scene)


def test_what_cannot_be_is_refused_in_words() -> None:
    async def scene(network: PacketNetwork) -> None:
        for order, words in (
            (network.cut("adsl"), "'adsl'"),
            (network.join("dsl", "hut", "centre"), "'hut'"),
            (network.join("dsl", "centre", "house"), "both sides"),
            (network.place("house"), "a place 'house' already"),
            (network.add("dsl", LinkModel()), "a link 'dsl' already"),
        ):
            with pytest.raises(NetworkError, match=words):
                await order

    run(scene)


def test_without_root_it_says_what_is_missing() -> None:
    program = "import os; from firmware_sim.links.packets.network import obstacle; os.setuid(65534); print(obstacle())"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "need root or CAP_NET_ADMIN and CAP_SYS_ADMIN" in printed


def test_a_program_and_a_thread_live_in_places() -> None:
    async def scene(network: PacketNetwork) -> None:
        command = python_module("oriole", "broker", "--listen", "mqtt://0.0.0.0:1883", "--allow-anonymous")
        pipe = asyncio.subprocess.PIPE
        broker = await asyncio.create_subprocess_exec(*command, stdout=pipe, preexec_fn=network.settle("centre"))
        assert broker.stdout is not None
        await broker.stdout.readline()
        received: queue.Queue[bytes] = queue.Queue()
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = lambda client, *_: client.subscribe("lamp", 1)
        client.on_subscribe = lambda client, *_: client.publish("lamp", b"on", 1)
        client.on_message = lambda _client, _userdata, message: received.put(message.payload)
        start = time.monotonic()
        client.connect_async(network.address("centre", "dsl"))
        with network.inside("house"):
            client.loop_start()
        assert received.get(timeout=WAIT_S) == b"on"
        assert time.monotonic() - start >= 8 * DELAY_S, "TCP, CONNECT, SUBSCRIBE and PUBLISH go there and back"
        client.disconnect()
        client.loop_stop()
        broker.terminate()
        assert await broker.wait() == 0

    run(scene, LinkModel(delay_ms=DELAY_S * 1000))


# ---- Nothing is left behind


OWNER = """
    import asyncio, os, subprocess, sys
    from firmware_sim.links.model import LinkModel
    from firmware_sim.links.packets.network import PacketNetwork

    async def main():
        async with PacketNetwork() as network:
            for place in ("house", "centre"):
                await network.place(place)
            await network.add("dsl", LinkModel())
            await network.join("dsl", "house", "centre")
            inside = subprocess.Popen(["sleep", "60"], preexec_fn=network.settle("house"))
            print(os.stat(f"/proc/{inside.pid}/ns/net").st_ino, flush=True)
            await asyncio.sleep(60)

    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_its_owner(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        namespace = int(owner.stdout.readline())
        assert len(inhabitants(namespace)) == 3, "the owner, the forwarder, and the program"
        owner.send_signal(number)
    deadline = time.monotonic() + WAIT_S
    while inhabitants(namespace) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert inhabitants(namespace) == []


def inhabitants(namespace: int) -> list[int]:
    """The processes that live in it or hold it open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            held = [process / "ns/net", *(process / "fd").iterdir()]
            if any(path.stat().st_ino == namespace for path in held):
                found.append(int(process.name))
    return found
