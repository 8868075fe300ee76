"""A device and a gateway over lines that are good, slow, noisy and cut: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.link.serial import (
    Acknowledged,
    Config,
    Connected,
    DeviceEndpoint,
    Disconnected,
    Endpoint,
    Event,
    GatewayEndpoint,
    Greeted,
    QueueFull,
    Received,
    Session,
    TooLargeError,
)
from oriole.wire.serial import (
    Ack,
    Bye,
    Decoder,
    Deliver,
    Error,
    FrameError,
    Hello,
    Nak,
    Noise,
    Ping,
    Publish,
    Reason,
    Skip,
    Subscribe,
    Welcome,
    cobs,
    encode,
)

Chunks = Iterator[tuple[int, bytes]]  # what becomes of written bytes: (delay in ms, bytes that arrive)
Line = Callable[[bytes], Chunks]


def direct(data: bytes) -> Chunks:
    yield 0, data


def one_byte_at_a_time(data: bytes) -> Chunks:
    for byte in data:
        yield 0, bytes((byte,))


def slow(data: bytes) -> Chunks:
    """40 ms away, 1 ms for each ten bytes."""
    for start in range(0, len(data), 10):
        yield 40 + start // 10, data[start : start + 10]


def noisy(seed: int, per_byte: float = 0.003) -> Line:
    """Loses, flips and invents bytes."""
    chance = random.Random(seed)

    def line(data: bytes) -> Chunks:
        out = bytearray()
        for byte in data:
            fate = chance.random()
            if fate < per_byte / 3:
                continue
            if fate < per_byte * 2 / 3:
                byte ^= 1 << chance.randrange(8)
            elif fate < per_byte:
                out.append(chance.randrange(256))
            out.append(byte)
        yield chance.randrange(20), bytes(out)

    return line


class House:
    """A gateway's owner: keeps sessions by device, settles what it takes, at once or `commit_ms` later."""

    def __init__(self, config: Config | None = None, commit_ms: int = 0) -> None:
        self.gateway = GatewayEndpoint("house", config)
        self.sessions: dict[str, Session] = {}
        self.commit_ms = commit_ms
        self.boot_ids = count(1)
        self.taken: list[Received] = []
        self.uncommitted: deque[tuple[int, Received]] = deque()

    def handle(self, events: list[Event], now: int) -> None:
        for event in events:
            if isinstance(event, Greeted):
                name = event.hello.name
                if name not in self.sessions:
                    self.sessions[name] = self.gateway.new_session(b"house%d" % next(self.boot_ids))
                self.gateway.welcome(self.sessions[name], now)
            elif isinstance(event, Received):
                self.taken.append(event)
                self.uncommitted.append((now + self.commit_ms, event))
        self.commit(now)

    def commit(self, now: int) -> None:
        while self.uncommitted and self.uncommitted[0][0] <= now:
            self.gateway.acknowledge(self.uncommitted.popleft()[1], now)

    @property
    def payloads(self) -> list[bytes]:
        return [event.frame.payload for event in self.taken if isinstance(event.frame, Publish)]


class World:
    """One device, one house, one line between them, and a clock that jumps to whatever comes next."""

    def __init__(self, line: Line = direct, commit_ms: int = 0, config: Config | None = None) -> None:
        self.now = 1000
        self.line = line
        self.house = House(config, commit_ms)
        self.device = DeviceEndpoint("relay-1", b"boot-1", "relay", config)
        self.heard: list[Event] = []  # by the device
        self.flight: list[tuple[int, int, Endpoint, bytes]] = []
        self.written = 0
        self.plugged = False

    def plug(self) -> None:
        self.plugged = True
        self.house.gateway.opened(self.now)
        self.device.opened(self.now)

    def unplug(self) -> None:
        self.plugged = False
        self.flight.clear()
        self.heard += self.device.closed(self.now)
        self.house.handle(self.house.gateway.closed(self.now), self.now)

    def reboot(self, boot_id: bytes) -> None:
        self.device = DeviceEndpoint("relay-1", boot_id, "relay")
        self.device.opened(self.now)

    def run(self, ms: int = 0) -> None:
        """Lets everything happen that happens within `ms`."""
        end = self.now + ms
        while True:
            self._move()
            due = [at for at, *_ in self.flight[:1]] + [at for at, _ in self.house.uncommitted]
            due += [at for at in (self.device.deadline(), self.house.gateway.deadline()) if at is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            while self.flight and self.flight[0][0] <= self.now:
                _, _, to, data = self.flight.pop(0)
                self._handle(to, to.receive(data, self.now))
                self._move()
            self.house.commit(self.now)
            for endpoint in (self.device, self.house.gateway):
                self._handle(endpoint, endpoint.tick(self.now))
        self.now = end

    def delivered(self) -> list[bytes]:
        return [e.frame.payload for e in self.heard if isinstance(e, Received) and isinstance(e.frame, Deliver)]

    def _handle(self, endpoint: Endpoint, events: list[Event]) -> None:
        if endpoint is self.device:
            self.heard += events
        else:
            self.house.handle(events, self.now)

    def _move(self) -> None:
        for sender, to in ((self.device, self.house.gateway), (self.house.gateway, self.device)):
            data = sender.outgoing()
            if not data or not self.plugged:
                continue
            last = max([at for at, _, other, _ in self.flight if other is to], default=0)
            for delay, chunk in self.line(data):
                self.written += 1
                last = max(last, self.now + delay)  # a line keeps order
                self.flight.append((last, self.written, to, chunk))
        self.flight.sort(key=lambda entry: entry[:2])


def connected(line: Line = direct, commit_ms: int = 0, config: Config | None = None) -> World:
    world = World(line, commit_ms, config)
    world.plug()
    world.run(2000)
    assert Connected("house", resumed=False) in world.heard
    return world


def frames_of(endpoint: Endpoint) -> list[object]:
    return list(Decoder().receive(endpoint.outgoing()))


LINES = [direct, one_byte_at_a_time, slow, *(noisy(seed) for seed in range(6))]


@pytest.mark.parametrize("line", LINES, ids=["direct", "bytes", "slow", *(f"noisy{seed}" for seed in range(6))])
@pytest.mark.parametrize("commit_ms", [0, 150])
def test_both_ways_nothing_is_lost_or_doubled(line: Line, commit_ms: int) -> None:
    world = World(line, commit_ms)
    world.plug()
    world.run(20_000)
    sent = [b"%d" % number for number in range(60)]
    for payload in sent:
        world.device.publish("a/state", payload, world.now)
        world.house.gateway.deliver("a/set", payload, world.now)
        world.run(7)
    world.run(60_000)
    assert world.house.payloads == sent
    assert world.delivered() == sent
    assert [e.sequence for e in world.heard if isinstance(e, Acknowledged)][-1] == 60


@pytest.mark.parametrize("seed", range(8))
def test_replugs_in_the_middle_resume(seed: int) -> None:
    chance = random.Random(seed)
    world = World(noisy(seed, 0.001) if seed % 2 else slow, commit_ms=seed * 10)
    sent = [b"%d" % number for number in range(40)]
    world.plug()
    world.run(5000)
    for payload in sent:
        world.device.publish("a/state", payload, world.now)
        if world.house.gateway.session:
            world.house.gateway.deliver("a/set", payload, world.now)
        world.run(chance.randrange(60))
        if chance.random() < 0.2:
            world.unplug()
            world.run(chance.randrange(3000))
            world.plug()
            world.run(chance.randrange(100))
    world.run(60_000)
    assert world.house.payloads == sent
    assert len(world.delivered()) == len(set(world.delivered()))
    assert len(world.house.sessions["relay-1"].outbox) == 0


def test_hello_is_said_again_until_somebody_answers() -> None:
    device = DeviceEndpoint("relay-1", b"b")
    device.opened(0)
    times = []
    now = 0
    while now < 30_000:
        assert all(isinstance(frame, Hello) for frame in frames_of(device))
        times.append(now)
        now = device.deadline() or 0
        device.tick(now)
    assert times == [0, 500, 1500, 3500, 7500, 15_500, 23_500]


def test_what_is_queued_before_the_welcome_goes_after_it() -> None:
    world = World()
    world.device.publish("a", b"early", world.now)
    world.plug()
    world.run(1000)
    assert world.house.payloads == [b"early"]


def test_a_rebooted_device_starts_anew_and_gets_what_it_had_not_settled() -> None:
    world = connected()
    world.device.publish("a", b"1", world.now)
    world.run(100)
    world.device.automatic_acknowledgement = False
    world.house.gateway.deliver("a/set", b"unsettled", world.now)
    world.run(100)
    world.reboot(b"boot-2")
    world.device.publish("a", b"2", world.now)
    world.run(1000)
    assert world.house.payloads == [b"1", b"2"]
    assert [event.sequence for event in world.house.taken] == [1, 1]
    assert world.heard.count(Connected("house", resumed=False)) == 2
    assert world.delivered() == [b"unsettled", b"unsettled"]


def test_a_device_that_booted_with_the_boot_id_it_had_starts_anew() -> None:
    world = connected()
    for payload in (b"1", b"2"):
        world.device.publish("a", payload, world.now)
    world.run(100)
    world.reboot(b"boot-1")
    world.device.publish("a", b"3", world.now)
    world.run(1000)
    assert world.house.payloads == [b"1", b"2", b"3"]


def test_a_gateway_that_forgot_is_greeted_anew_and_gets_only_what_it_had_not_settled() -> None:
    world = connected()
    world.device.publish("a", b"1", world.now)
    world.run(100)
    world.house.commit_ms = 10**9
    world.device.publish("a", b"2", world.now)
    world.run(100)
    old, world.house = world.house, House()
    world.house.boot_ids = count(7)
    world.house.gateway.opened(world.now)
    world.run(1000)
    assert old.payloads == [b"1", b"2"]
    assert world.house.payloads == [b"2"]
    assert world.heard[-2:] == [Connected("house", resumed=False), Acknowledged(2)]


def test_acknowledgement_waits_for_the_commit() -> None:
    world = connected(commit_ms=5000)
    for number in range(3):
        world.device.publish("a", b"%d" % number, world.now)
    world.run(4000)
    assert world.house.payloads == [b"0", b"1", b"2"]
    assert not [event for event in world.heard if isinstance(event, Acknowledged)]
    assert world.device.counters["retransmitted"] == 0  # received is not lost, only not settled
    world.run(2000)
    assert [event for event in world.heard if isinstance(event, Acknowledged)][-1] == Acknowledged(3)


def test_no_commit_no_more_than_the_window() -> None:
    world = connected(commit_ms=10**9, config=Config(window=4))
    for number in range(9):
        world.device.publish("a", b"%d" % number, world.now)
    world.run(20_000)
    assert len(world.house.payloads) == 4


def test_credits_withheld_slow_the_device_and_given_again_start_it() -> None:
    world = connected(config=Config(window=4))
    world.house.gateway.pause(True, world.now)
    for number in range(9):
        world.device.publish("a", b"%d" % number, world.now)
    world.run(25_000)
    assert len(world.house.payloads) == 4  # the credits that it had
    world.house.gateway.pause(False, world.now)
    world.run(100)
    assert len(world.house.payloads) == 9


def test_lost_credits_are_asked_for() -> None:
    world = connected(config=Config(window=1))
    world.house.gateway.pause(True, world.now)
    world.device.publish("a", b"1", world.now)
    world.device.publish("a", b"2", world.now)
    world.run(100)
    world.house.gateway.pause(False, world.now)
    assert frames_of(world.house.gateway) == [Ack(1, 1, 1)]  # and gone
    world.run(9000)
    assert world.house.payloads == [b"1", b"2"]


def test_a_gap_is_repaired_without_waiting_for_a_time_out() -> None:
    world = connected()
    for number in range(3):
        world.device.publish("a", b"%d" % number, world.now)
    first, *rest = Decoder().receive(world.device.outgoing())
    assert isinstance(first, Publish)
    wire = b"".join(encode(frame) for frame in rest)  # type: ignore[arg-type]
    world.house.handle(world.house.gateway.receive(wire, world.now), world.now)
    assert world.house.payloads == []
    world.run(0)
    assert world.house.payloads == [b"0", b"1", b"2"]


def test_a_full_queue_refuses_and_a_long_frame_is_refused() -> None:
    device = DeviceEndpoint("relay-1", b"b", config=Config(max_queue_bytes=100))
    device.publish("a", b"x" * 60, 0)
    with pytest.raises(QueueFull):
        device.publish("a", b"x" * 60, 0)
    with pytest.raises(TooLargeError):
        device.publish("a", b"x" * 5000, 0, qos=0)


def test_unnumbered_messages_come_at_most_once_and_never_pile_up() -> None:
    world = connected(config=Config(max_queue_bytes=100))
    assert world.device.publish("a", b"x" * 60, world.now, qos=0) == 0
    assert world.device.publish("a", b"y" * 60, world.now, qos=0) is None
    world.run(100)
    assert world.house.payloads == [b"x" * 60]
    world.unplug()
    world.device.publish("a", b"z", world.now, qos=0)
    assert world.device.counters["unsent"] == 2


def test_a_peer_with_small_buffers_gets_a_skip_for_what_was_queued_too_long() -> None:
    world = connected()
    world.unplug()
    gateway, session = world.house.gateway, world.house.sessions["relay-1"]
    world.device = DeviceEndpoint("relay-1", b"boot-2", config=Config(max_frame_bytes=256))
    session.outbox.put(encode(Deliver(1, "a", b"x" * 300)))
    session.outbox.put(encode(Deliver(2, "a", b"short")))
    world.plug()
    world.run(1000)
    assert world.delivered() == [b"short"]
    assert Skip(1) in [event.frame for event in world.heard if isinstance(event, Received)]
    with pytest.raises(TooLargeError):
        gateway.deliver("a", b"x" * 300, world.now)


def test_a_refusal_arrives_once() -> None:
    world = connected()
    number = world.device.subscribe("a/#/b", world.now)
    world.run(10)
    assert world.house.taken[-1].frame == Subscribe(number, "a/#/b", 1)
    world.house.gateway.refuse(number, Reason.TOPIC_INVALID, "# is not last", world.now)
    world.run(10)
    errors = [event.frame for event in world.heard if isinstance(event, Received)]
    assert errors == [Error(1, number, Reason.TOPIC_INVALID, "# is not last")]


def test_an_unreadable_frame_takes_its_turn_and_blocks_nothing() -> None:
    world = connected()
    session = world.device.session
    assert session
    session.outbox.put(encode(Deliver(1, "not", b"for a gateway")))
    world.device.publish("a", b"next", world.now)
    world.run(100)
    assert isinstance(world.house.taken[0].frame, FrameError)
    assert world.house.taken[0].sequence == 1
    assert world.house.payloads == [b"next"]


def test_a_frame_that_breaks_behind_its_number_is_refused_once_and_blocks_nothing() -> None:
    world = connected()
    session = world.device.session
    assert session
    body = bytes.fromhex("08018361")  # PUBLISH 1, then an array of which most is missing
    session.outbox.put(cobs.encode(body + crc32(body).to_bytes(4, "big")) + b"\0")
    world.device.publish("a", b"next", world.now)
    world.run(10_000)
    assert [event.sequence for event in world.house.taken] == [1, 2]
    assert isinstance(world.house.taken[0].frame, FrameError)
    assert world.house.payloads == [b"next"]
    assert world.device.counters["retransmitted"] == 0
    assert world.heard[-1] == Acknowledged(2)


def test_silence_ends_the_session_and_the_next_word_resumes_it() -> None:
    world = connected()
    world.plugged = False  # nothing arrives, nothing is closed: half-open
    world.run(31_000)
    assert isinstance(world.heard[-1], Disconnected)
    world.device.publish("a", b"1", world.now)
    world.plugged = True
    world.run(10_000)
    assert Connected("house", resumed=True) in world.heard
    assert world.house.payloads == [b"1"]


def test_an_idle_session_stays_up() -> None:
    world = connected()
    world.run(10 * 60_000)
    assert not [event for event in world.heard if isinstance(event, Disconnected)]


def test_a_turned_away_device_comes_back_slowly() -> None:
    world = World()

    def turn_away(events: list[Event], now: int) -> None:
        if any(isinstance(event, Greeted) for event in events):
            world.house.gateway.reject(Reason.NOT_AUTHORIZED, "no", now)

    world.house.handle = turn_away  # type: ignore[method-assign]
    world.plug()
    world.run(60_000)
    assert world.written < 40
    assert not [event for event in world.heard if isinstance(event, Connected)]


def test_a_late_decision_is_still_a_welcome() -> None:
    world = World()
    greeted: list[Event] = []
    world.house.handle = lambda events, now: greeted.extend(events)  # type: ignore[method-assign]
    world.plug()
    world.run(3000)
    assert len([event for event in greeted if isinstance(event, Greeted)]) == 1
    world.house.gateway.welcome(world.house.gateway.new_session(b"s"), world.now)
    world.run(1000)
    assert world.heard == [Connected("house", resumed=False)]


def test_an_acknowledgement_of_nothing_ends_the_session_not_the_program() -> None:
    world = connected()
    device = world.device
    assert [type(event) for event in device.receive(encode(Ack(9, 9, 1)), world.now)] == [Disconnected]
    assert any(isinstance(frame, Bye) for frame in frames_of(device))
    world.run(10_000)
    assert Connected("house", resumed=True) in world.heard


def test_a_log_on_the_line_is_noise_and_harms_nothing() -> None:
    world = connected()
    noise = world.house.gateway.receive(b"rst:0x1 (POWERON)\r\n" + encode(Publish(0, "a", b"x")), world.now)
    assert isinstance(noise[0], Noise)
    world.device.publish("a", b"1", world.now)
    world.run(100)
    assert world.house.payloads == [b"1"]


def test_an_old_acknowledgement_of_a_rebooted_device_has_no_effect() -> None:
    world = connected(commit_ms=10**9)
    world.device.publish("a", b"1", world.now)
    world.run(10)
    world.reboot(b"boot-2")
    world.run(1000)
    world.house.gateway.acknowledge(world.house.taken[0], world.now)
    assert frames_of(world.house.gateway) == []


numbers = st.one_of(st.integers(0, 3), st.just(2**64 - 1))
frames = st.one_of(
    st.builds(Hello, st.integers(0, 2), st.just(b"boot-1"), st.sampled_from((b"", b"s")), numbers, st.integers(1, 3),
              numbers, st.just(4096), st.just("relay-1")),
    st.builds(Welcome, st.integers(0, 2), st.sampled_from((b"s", b"t")), st.just(b"boot-1"), numbers, st.integers(1, 3),
              numbers, st.just(4096), st.just("house")),
    st.builds(Ack, st.just(2**64 - 1), numbers, numbers),
    st.builds(Nak, st.integers(3, 4), st.integers(0, 3), numbers),
    st.builds(Publish, numbers, st.text(max_size=3), st.binary(max_size=3)),
    st.builds(Deliver, numbers, st.text(max_size=3), st.binary(max_size=3)),
    st.builds(Bye, numbers),
    st.just(Ping()),
).map(encode)  # fmt: skip


@given(st.lists(st.one_of(st.binary(max_size=40), frames), max_size=12))
def test_no_peer_can_make_an_endpoint_raise_or_remember_much(chunks: list[bytes]) -> None:
    for endpoint in (GatewayEndpoint("house"), DeviceEndpoint("relay-1", b"boot-1")):
        endpoint.opened(0)
        received: list[Received] = []
        session: Session | None = None
        for chunk in chunks:
            events = endpoint.receive(chunk, 0)
            for event in received:  # of earlier reads: the peer may have become another since
                endpoint.acknowledge(event, 0)
            received = [event for event in events if isinstance(event, Received)]
            if isinstance(endpoint, GatewayEndpoint) and any(isinstance(event, Greeted) for event in events):
                session = session or endpoint.new_session(b"s")
                endpoint.welcome(session, 0)
        assert len(endpoint.outgoing()) < 1000


def answers(endpoint: Endpoint) -> list[type]:
    return [type(frame) for frame in frames_of(endpoint)]


def test_one_gap_is_one_nak() -> None:
    world = connected()
    gateway = world.house.gateway
    for number in (2, 3, 4):
        gateway.receive(encode(Publish(number, "a", b"x")), world.now)
    assert answers(gateway) == [Nak]
    gateway.receive(encode(Publish(5, "a", b"x")), world.now)
    assert answers(gateway) == []
    gateway.receive(encode(Publish(1, "a", b"x")) + encode(Publish(3, "a", b"x")), world.now)
    assert answers(gateway) == [Nak]


def test_damage_asks_for_a_repeat_and_text_does_not() -> None:
    world = connected()
    world.house.gateway.receive(b"a log line\r\n\0", world.now)
    assert answers(world.house.gateway) == []
    world.house.gateway.receive(b"\x05\xff\xfe\0", world.now)
    assert answers(world.house.gateway) == [Nak]


def test_what_was_on_the_line_before_does_not_spoil_a_frame() -> None:
    world = connected()
    world.house.gateway.receive(b"a log line without an end", world.now)
    world.device.publish("a", b"1", world.now)
    world.run(0)
    assert world.house.payloads == [b"1"]
    assert world.device.counters["retransmitted"] == 0


def greeting(kind: type[Hello] | type[Welcome], boot_id: bytes, peer_boot_id: bytes, version: int = 1) -> bytes:
    return encode(kind(version, boot_id, peer_boot_id, 0, 1, 16, 4096, "name"))


def test_a_welcome_for_somebody_else_is_none() -> None:
    device = DeviceEndpoint("relay-1", b"boot-2")
    device.opened(0)
    assert device.receive(greeting(Welcome, b"house", b"boot-1"), 0) == []
    assert device.receive(greeting(Hello, b"house", b"boot-2"), 0) == []
    assert device.receive(greeting(Welcome, b"house", b"boot-2"), 0) == [Connected("name", resumed=False)]


def test_a_second_welcome_changes_nothing_unless_the_gateway_has_forgotten() -> None:
    device = DeviceEndpoint("relay-1", b"boot-1")
    device.opened(0)
    device.receive(greeting(Welcome, b"house", b"boot-1"), 0)
    assert device.receive(greeting(Welcome, b"house", b"boot-1"), 0) == []
    assert device.receive(greeting(Welcome, b"other", b"boot-1"), 0) == [Connected("name", resumed=False)]


def test_another_version_is_told_so_and_asked_seldom() -> None:
    gateway = GatewayEndpoint("house")
    gateway.opened(0)
    frames_of(gateway)
    assert gateway.receive(greeting(Hello, b"boot-1", b"", version=2), 0) == []
    (bye,) = frames_of(gateway)
    assert isinstance(bye, Bye)
    assert bye.reason == Reason.UNSUPPORTED_VERSION
    device = DeviceEndpoint("relay-1", b"boot-1")
    device.opened(0)
    device.receive(greeting(Welcome, b"house", b"boot-1", version=2), 0)
    assert device.deadline() == 8000
