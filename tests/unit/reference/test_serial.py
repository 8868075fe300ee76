"""The reference device against Oriole's gateway, over lines that lose, flip and invent bytes and are pulled out."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import oriole_serial
import pytest
from oriole_serial import Device

from oriole.link.serial import Connected, Disconnected, Event, GatewayEndpoint, Greeted, Received, Session
from oriole.wire.serial import (
    Ack,
    Bye,
    Decoder,
    Deliver,
    Error,
    Frame,
    Hello,
    Malformed,
    Nak,
    Noise,
    Ping,
    Publish,
    Reason,
    Skip,
    Subscribe,
    Welcome,
    encode,
)

STEP_MS = 5
Line = Callable[[bytes], bytes]


def noisy(seed: int, per_byte: float = 0.003) -> Line:
    """Loses, flips and invents bytes."""
    chance = random.Random(seed)

    def line(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            fate = chance.random()
            if fate >= per_byte / 3:
                out.append(byte ^ (1 << chance.randrange(8) if fate < per_byte * 2 / 3 else 0))
            if per_byte * 2 / 3 <= fate < per_byte:
                out.append(chance.randrange(256))
        return bytes(out)

    return line


class Uart:
    """What `machine.UART` is to a device: reads and writes that do not wait, and a buffer of its own."""

    def __init__(self, room_bytes: int = 1024) -> None:
        self.to_device = b""
        self.from_device = b""
        self.room_bytes = room_bytes

    def read(self, most_bytes: int) -> bytes | None:
        data, self.to_device = self.to_device[:most_bytes], self.to_device[most_bytes:]
        return data or None

    def write(self, data: bytes) -> int | None:
        written = data[: self.room_bytes]
        self.from_device += written
        return len(written) or None


class House:
    """A gateway that keeps sessions by name and settles what it takes, unless told to let it wait."""

    def __init__(self, boot_id: bytes = b"house") -> None:
        self.gateway = GatewayEndpoint("house")
        self.boot_id = boot_id
        self.session: Session | None = None
        self.events: list[Event] = []
        self.settles = True

    def handle(self, events: list[Event], now: int) -> None:
        self.events += events
        for event in events:
            if isinstance(event, Greeted):
                self.session = self.session or self.gateway.new_session(self.boot_id)
                self.events += self.gateway.welcome(self.session, now)
            elif isinstance(event, Received) and self.settles:
                self.gateway.acknowledge(event, now)

    @property
    def frames(self) -> list[object]:
        return [event.frame for event in self.events if isinstance(event, Received)]

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames if isinstance(frame, Publish)]

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


class World:
    """One device, one house, a line, and a clock that moves in steps of 5 ms."""

    def __init__(self, line: Line = bytes, ticks_bits: int = 30) -> None:
        self.now = 1000
        self.line = line
        self.ticks = 1 << ticks_bits
        self.plugged = True
        self.got: list[bytes] = []
        self.refused: list[tuple[int, int, str]] = []
        self.house = House()
        self.boot()
        self.house.gateway.opened(self.now)

    def boot(self) -> None:
        self.uart = Uart()
        self.device = Device(
            self.uart,
            "relay-1",
            "relay",
            on_message=lambda topic, payload: self.got.append(payload),
            on_refused=lambda *refusal: self.refused.append(refusal),
            clock=lambda: self.now % self.ticks,
        )

    def unplug(self) -> None:
        """As a USB adapter is: the gateway sees it go, the UART does not."""
        self.plugged = False
        self.house.handle(self.house.gateway.closed(self.now), self.now)

    def plug(self) -> None:
        self.plugged = True
        self.house.gateway.opened(self.now)

    def run(self, ms: int) -> None:
        for _ in range(0, ms, STEP_MS):
            self.now += STEP_MS
            self.device.step()
            up, self.uart.from_device = self.uart.from_device, b""
            gateway = self.house.gateway
            if self.plugged:
                self.house.handle(gateway.receive(self.line(up), self.now), self.now)
            self.house.handle(gateway.tick(self.now), self.now)
            down = gateway.outgoing()
            if self.plugged:
                self.uart.to_device += self.line(down)

    def deliver(self, payload: bytes) -> None:
        self.house.gateway.deliver("relay-1/set", payload, self.now)


@pytest.fixture
def world() -> World:
    world = World()
    world.run(1000)
    assert world.device.up
    assert world.house.count(Connected) == 1
    return world


class Desk:
    """A device alone, and what it says."""

    def __init__(self) -> None:
        self.now = 0
        self.uart = Uart()
        self.got: list[bytes] = []
        self.device = Device(
            self.uart, "relay-1", on_message=lambda _, payload: self.got.append(payload), clock=lambda: self.now
        )

    def hear(self, *frames: Frame, raw: bytes = b"") -> list[Frame]:
        """What it answers, at once, to frames and other bytes."""
        self.uart.to_device += b"".join(map(encode, frames)) + raw
        self.device.step()
        items = Decoder().receive(self.uart.from_device)
        self.uart.from_device = b""
        assert not [item for item in items if isinstance(item, Noise | Malformed)]
        return [item for item in items if not isinstance(item, Noise | Malformed)]

    def welcome(self, **changes: object) -> list[Frame]:
        """What it answers to the WELCOME of a gateway that knows nothing, with these changes."""
        self.hear()
        boot_id = self.device._boot_id
        said = {"version": 1, "boot_id": b"house", "peer_boot_id": boot_id, "acknowledged": 0, "oldest": 1}
        said |= {"credits": 16, "max_frame_bytes": 4096, "name": "house"}
        return self.hear(Welcome(**(said | changes)))  # type: ignore[arg-type]


def test_both_ways(world: World) -> None:
    assert world.device.publish("relay-1/state", b"on", True) == 1
    world.device.subscribe("relay-1/set")
    world.deliver(b"off")
    world.run(20)
    assert world.house.frames == [Publish(1, "relay-1/state", b"on", True), Subscribe(2, "relay-1/set", 1)]
    assert world.got == [b"off"]
    assert world.device.settled()
    assert world.house.session
    assert len(world.house.session.outbox) == 0


def test_more_than_a_window_each_way_in_order(world: World) -> None:
    sent = [bytes(range(256)) + b"%d" % number for number in range(100)]
    for payload in sent:
        world.deliver(payload)
        while not world.device.publish("a", payload):
            world.run(STEP_MS)
    world.run(3000)
    assert world.got == sent
    assert world.house.payloads == sent


@pytest.mark.parametrize("seed", range(8))
def test_nothing_lost_nothing_twice_through_noise_and_replugs(seed: int) -> None:
    chance = random.Random(seed)
    world = World(noisy(seed))
    sent = [b"%d" % number for number in range(60)]
    ordered = []
    world.run(3000)
    for payload in sent:
        if world.house.gateway.session:
            world.deliver(payload)
            ordered.append(payload)
        while not world.device.publish("a", payload):
            world.run(STEP_MS)
        world.run(chance.randrange(60))
        if chance.random() < 0.1:
            world.unplug()
            world.run(chance.randrange(1000))
            world.plug()
            world.run(chance.randrange(300))
    world.run(60_000)
    assert world.house.payloads == sent
    assert world.got == ordered
    assert len(ordered) > 20
    assert world.device.settled()
    assert world.house.session
    assert len(world.house.session.outbox) == 0


def test_a_replug_is_a_resume(world: World) -> None:
    world.unplug()
    assert world.device.publish("a", b"meanwhile")
    world.run(5000)
    world.plug()
    world.run(200)
    assert world.house.payloads == [b"meanwhile"]
    assert world.house.events.count(Connected("relay-1", resumed=True)) == 1


def test_a_gateway_that_forgot_gets_the_subscriptions_and_only_what_was_not_settled(world: World) -> None:
    world.device.subscribe("a/#")
    world.device.publish("a", b"1")
    world.run(100)
    world.house.settles = False
    world.device.publish("a", b"2")
    world.run(100)
    world.house = House(b"another")
    world.plug()
    world.run(1000)
    assert world.house.frames == [Publish(3, "a", b"2"), Subscribe(4, "a/#", 1)]


def test_a_reboot_is_a_new_memory(world: World) -> None:
    world.device.publish("a", b"1")
    world.deliver(b"set")
    world.run(100)
    world.boot()
    world.device.publish("a", b"2")
    world.run(1000)
    assert world.house.payloads == [b"1", b"2"]
    assert world.got == [b"set"]


def test_what_is_acknowledged_later_is_not_repeated_and_too_much_is_refused(world: World) -> None:
    world.house.settles = False
    numbers = [world.device.publish("a", b"x") for _ in range(oriole_serial.MAX_WAITING + 1)]
    assert numbers[-2:] == [oriole_serial.MAX_WAITING, 0]
    world.run(5000)
    assert len(world.house.payloads) == oriole_serial.MAX_WAITING
    assert world.house.gateway.counters["repeated"] == 0
    assert not world.device.settled()


def test_a_refusal_is_told(world: World) -> None:
    number = world.device.publish("a", b"x")
    world.run(10)
    world.house.gateway.refuse(number, Reason.TOPIC_INVALID, "no", world.now)
    world.run(10)
    assert world.refused == [(1, 5, "no")]


def test_an_idle_session_stays_up_while_the_clock_wraps() -> None:
    world = World(ticks_bits=17)  # every 131 s
    diff = oriole_serial.ticks_diff
    half = world.ticks // 2
    oriole_serial.ticks_diff = lambda later, earlier: (later - earlier + half) % world.ticks - half
    try:
        for number in range(8):
            world.run(60_000)
            world.device.publish("a", b"%d" % number)
            world.run(20)
            assert len(world.house.payloads) == number + 1
    finally:
        oriole_serial.ticks_diff = diff
    assert world.house.count(Disconnected) == 0
    assert world.house.count(Greeted) == 1


def test_silence_is_noticed_and_the_next_word_resumes(world: World) -> None:
    world.line = lambda data: b""
    world.run(31_000)
    assert not world.device.up
    world.line = bytes
    world.device.publish("a", b"x")
    world.run(9000)
    assert world.house.payloads == [b"x"]


def test_its_own_log_between_frames_harms_nothing(world: World) -> None:
    for number in range(50):
        world.uart.from_device += b"relay is on\r\n"
        world.device.publish("a", b"%d" % number)
        world.run(20)
    assert len(world.house.payloads) == 50
    assert world.house.gateway.line_counters["text"] == 50
    assert world.house.gateway.counters["gaps"] == 0


def test_a_uart_that_takes_few_bytes_at_a_time(world: World) -> None:
    world.uart.room_bytes = 3
    for number in range(8):
        world.device.publish("a", b"x" * 50 + b"%d" % number)
    world.run(2000)
    assert len(world.house.payloads) == 8
    world.uart.room_bytes = 0
    world.device.publish("a", b"y")
    world.run(100)
    world.uart.room_bytes = 100
    world.run(100)
    assert world.house.payloads[-1] == b"y"


def alone(desk: Desk, until_ms: int) -> dict[int, list[type[Frame]]]:
    """What it says all by itself, and when."""
    said = {}
    start = desk.now + 10
    for now in range(start, until_ms, 10):
        desk.now = now
        if frames := desk.hear():
            said[now] = [type(frame) for frame in frames]
    return said


def test_hello_is_said_again_with_longer_pauses() -> None:
    desk = Desk()
    assert [type(frame) for frame in desk.hear()] == [Hello]
    assert list(alone(desk, 30_000)) == [500, 1500, 3500, 7500, 15_500, 23_500]


def test_a_welcome_for_somebody_else_or_of_another_version_is_none() -> None:
    desk = Desk()
    assert desk.welcome(peer_boot_id=b"other") == []
    assert not desk.device.up
    desk = Desk()
    desk.welcome(version=2)
    assert not desk.device.up
    desk.now = 7999
    assert desk.hear() == []
    desk.now = 8000
    assert [type(frame) for frame in desk.hear()] == [Hello]


def test_bye_is_answered_with_hello_at_once_or_late() -> None:
    for reason, wait_ms in ((Reason.NO_SESSION, 100), (Reason.NOT_AUTHORIZED, 8000)):
        desk = Desk()
        desk.welcome()
        assert desk.hear(Bye(reason)) == []
        desk.now = wait_ms - 1
        assert desk.hear() == []
        desk.now = wait_ms
        assert [type(frame) for frame in desk.hear()] == [Hello]


def test_numbers_make_the_answer() -> None:
    desk = Desk()
    desk.welcome()
    window = oriole_serial.WINDOW
    assert desk.hear(Deliver(1, "t", b"1")) == [Ack(1, 1, window)]
    assert desk.hear(Deliver(1, "t", b"1")) == [Ack(1, 1, window)]
    assert desk.hear(Deliver(3, "t", b"")) == [Nak(1, 1, window)]
    assert desk.hear(Deliver(4, "t", b"")) == []
    assert desk.hear(raw=b"\x05\xff\xfe\0") == []
    assert desk.hear(Skip(2), Deliver(3, "t", b"3")) == [Ack(3, 3, window)]
    assert desk.hear(raw=b"\x05\xff\xfe\0") == [Nak(3, 3, window)]
    assert desk.hear(Ping()) == [Ack(3, 3, window)]
    assert desk.hear(Deliver(0, "t", b"0")) == []
    assert desk.hear(Publish(4, "not", b"for a device")) == [Ack(4, 4, window)]
    assert desk.hear(Error(5, 9, 1)) == [Ack(5, 5, window)]
    assert desk.got == [b"1", b"3", b"0"]
    desk.hear(Bye(Reason.NO_SESSION))
    assert desk.welcome() == []  # it knows us, and is wrong about where it was
    assert desk.hear(Deliver(5, "t", b"5"), Deliver(6, "t", b"6")) == [Ack(6, 6, window)]
    assert desk.got[3:] == [b"6"]


def test_credits_are_kept_and_silence_is_answered_with_a_repeat_and_a_ping() -> None:
    desk = Desk()
    desk.welcome(credits=2)
    for _ in range(3):
        desk.device.publish("a", b"x")
    one, two, three = (Publish(number, "a", b"x") for number in (1, 2, 3))
    assert desk.hear() == [one, two]
    desk.now = 499
    assert desk.hear() == []
    desk.now = 510
    assert desk.hear() == [one, two, Ping()]
    assert desk.hear(Nak(1, 0, 2)) == [two]
    assert desk.hear(Ack(2, 1, 2)) == [three]
    assert desk.hear(Nak(2, 2, 2)) == [three]
    assert desk.hear(Ack(3, 3, 2)) == []
    assert desk.device.settled()
    assert desk.hear(Ack(99, 99, 2)) == []
    desk.now = 5000
    assert desk.device.publish("a", b"x") == 4
    assert desk.hear() == [Publish(4, "a", b"x")]


def test_repeats_come_with_longer_pauses_until_there_is_news() -> None:
    desk = Desk()
    desk.welcome(credits=1)
    desk.device.publish("a", b"x")
    desk.device.publish("a", b"y")
    desk.hear()
    assert list(alone(desk, 8000)) == [510, 1520, 3530, 7540]  # and the time that a frame needs
    assert desk.hear(Ack(1, 0, 1)) == []
    assert list(alone(desk, 10_000)) == [8490, 9490]


def test_a_long_burst_is_given_the_time_it_needs() -> None:
    desk = Desk()
    desk.welcome()
    desk.uart.room_bytes = 10_000
    for _ in range(12):
        desk.device.publish("a", b"x" * 480)
    assert len(desk.hear()) == 12
    assert list(alone(desk, 2000)) == [1020]  # 6 kB at 115200 baud


def test_silence_is_asked_about_and_then_ends_the_session() -> None:
    desk = Desk()
    desk.welcome()
    assert alone(desk, 30_100) == {10_000: [Ping], 20_000: [Ping], 30_000: [Hello]}


def test_a_welcome_that_comes_twice_is_taken_once() -> None:
    desk = Desk()
    desk.device.publish("a", b"x")
    assert desk.welcome() == [Publish(1, "a", b"x")]
    assert desk.welcome() == []


def test_a_gateway_with_small_buffers_gets_a_skip_and_no_long_frames() -> None:
    desk = Desk()
    desk.device.publish("a", b"x" * 400)
    desk.device.publish("a", b"short")
    assert desk.welcome(max_frame_bytes=256) == [Skip(1), Publish(2, "a", b"short")]
    with pytest.raises(ValueError, match="too long"):
        desk.device.publish("a", b"x" * 400)
    assert desk.device.publish("a", b"x") == 3


def test_a_frame_that_is_too_long_costs_no_memory_and_is_asked_for_again() -> None:
    desk = Desk()
    desk.welcome()
    for _ in range(100):
        assert desk.hear(raw=b"\x01" * 250) == []
    assert len(desk.device._in) <= oriole_serial.MAX_FRAME_BYTES + 1
    assert desk.hear(raw=b"\0") == [Nak(0, 0, oriole_serial.WINDOW)]


def test_a_port_that_comes_back_as_another_is_greeted_on() -> None:
    desk = Desk()
    desk.welcome()
    desk.device.publish("a", b"x")
    desk.uart.room_bytes = 0
    desk.hear(raw=b"half a frame")
    desk.uart = Uart()
    desk.device.plug(desk.uart)
    (hello,) = desk.hear()
    assert isinstance(hello, Hello)
    assert (hello.peer_boot_id, hello.acknowledged, hello.oldest) == (b"house", 0, 1)


def test_every_boot_has_another_id() -> None:
    assert len({bytes(oriole_serial.new_boot_id()) for _ in range(100)}) == 100


def test_no_bytes_make_it_raise_or_remember_much() -> None:
    chance = random.Random(1)
    numbers = count()
    kinds: list[Callable[[], Frame]] = [
        lambda: Ack(2**64 - 1, chance.choice((0, 3, 2**64 - 1)), chance.choice((0, 2**64 - 1))),
        lambda: Nak(chance.randrange(9), 0, chance.randrange(9)),
        lambda: Deliver(chance.choice((0, 1, 2, next(numbers), 2**64 - 1)), "t", b"x"),
        lambda: Bye(chance.randrange(3)),
        lambda: Welcome(1, chance.choice((b"a", b"b")), desk.device._boot_id, chance.choice((0, 5, 2**64 - 1)),
                        chance.choice((1, 9, 2**64 - 1)), chance.choice((0, 9, 2**64 - 1)), 256, "house"),
        Ping,
    ]  # fmt: skip
    for _ in range(50):
        desk = Desk()
        for _ in range(100):
            desk.now += chance.randrange(1000)
            raw = chance.randbytes(chance.randrange(20)) + b"\0" if chance.random() < 0.3 else b""
            desk.device.publish("a", b"x")
            desk.hear(chance.choice(kinds)(), raw=raw)
            assert len(desk.device._waiting) <= oriole_serial.MAX_WAITING + 1
