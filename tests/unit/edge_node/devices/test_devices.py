"""Serial devices on a router: what they publish, what they are owed, and what survives a cable, a reboot, a failure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.broker.book import End
from unit.edge_node.devices.harness import Listener, Node, Plug, Wire, relay

from broker.core.message import Message
from broker.core.settlement import Outcome
from broker.core.settlement import Reason as Loss
from edge_node.devices.registry import DeviceLimits
from oriole.link.serial import Acknowledged, Config, Connected, Disconnected, Received
from oriole.wire.serial import (
    Ack,
    Bye,
    Deliver,
    Frame,
    Hello,
    Noise,
    Publish,
    Reason,
    Skip,
    Subscribe,
    Unsubscribe,
    encode,
)


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_device_publishes_and_is_acknowledged(node: Node) -> None:
    listener = node.listen("relay-1/#")
    plug = Plug(node, relay())
    plug.publish("relay-1/state", b"on", retain=True)
    plug.publish("relay-1/temperature", b"21", qos=0)
    assert [(m.topic, m.payload, m.qos) for m in listener.got] == [
        (b"relay-1/state", b"on", 1),
        (b"relay-1/temperature", b"21", 0),
    ]
    assert plug.heard[-1] == Acknowledged(1)
    kept = node.router.retained.get(b"relay-1/state", node.now)
    assert kept is not None
    assert kept.origin is node.devices.known["relay-1"]


def test_it_hears_what_it_subscribed_to_and_what_was_retained_before(node: Node) -> None:
    node.publish("relay-1/set", b"retained", retain=True)
    plug = Plug(node, relay())
    plug.subscribe("relay-1/set")
    node.publish("relay-1/set", b"now")
    node.publish("relay-1/set", b"maybe", qos=0)
    node.publish("elsewhere", b"not for it")
    assert plug.frames == [
        Deliver(1, "relay-1/set", b"retained", True),
        Deliver(2, "relay-1/set", b"now", False),
        Deliver(0, "relay-1/set", b"maybe", False),
    ]
    settlement = node.engine.settlement
    assert (settlement.acknowledged, settlement.sent) == (2, 1)
    plug.endpoint.unsubscribe("relay-1/set", node.now)
    node.run()
    node.publish("relay-1/set", b"later")
    assert plug.payloads[-1] == b"maybe"


def test_overlapping_subscriptions_deliver_once_with_the_better_promise(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("a/#", qos=0)
    plug.subscribe("a/+", qos=1)
    node.publish("a/b", b"x")
    assert plug.frames == [Deliver(1, "a/b", b"x")]


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "/" * 200])
def test_a_wrong_topic_is_refused_and_the_next_one_is_not(node: Node, topic: str) -> None:
    listener = node.listen("#")
    plug = Plug(node, relay())
    plug.publish(topic, b"x")
    plug.publish("a", b"x")
    assert plug.errors == [Reason.TOPIC_INVALID]
    assert [message.topic for message in listener.got] == [b"a"]
    assert plug.line.counts()["refused"] == 1


@pytest.mark.parametrize("filter", ["", "a/#/b", "a+", "$share/g/a"])
def test_a_wrong_filter_is_refused(node: Node, filter: str) -> None:
    plug = Plug(node, relay())
    plug.subscribe(filter)
    assert plug.errors == [Reason.TOPIC_INVALID]
    assert node.router.routes.subscription_count == 0


def test_the_nodes_own_topics_are_not_for_devices(node: Node) -> None:
    plug = Plug(node, relay())
    plug.publish("$SYS/broker/version", b"x", retain=True)
    plug.publish("$SYS/broker/version", b"x", qos=0, retain=True)
    assert plug.errors == [Reason.NOT_AUTHORIZED] * 2
    assert len(node.router.retained) == 0


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(encode(Deliver(1, "wrong", b"way")), Reason.UNKNOWN_FRAME, id="not for this side"),
        pytest.param(bytes.fromhex("09080163619157f46e00"), Reason.MALFORMED, id="broken behind its number"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused_once(node: Node, frame: bytes, reason: Reason) -> None:
    plug = Plug(node, relay())
    session = plug.endpoint.session
    assert session
    session.outbox.put(frame)
    plug.publish("a", b"right")
    node.run(5000)
    assert plug.heard[-1] == Acknowledged(2)
    assert plug.errors == [reason]


def test_limits_on_subscriptions_and_devices() -> None:
    node = Node(DeviceLimits(max_devices=1, max_subscriptions=1))
    plug = Plug(node, relay())
    plug.subscribe("a")
    plug.subscribe("b")
    plug.subscribe("a", qos=0)
    assert plug.errors == [Reason.QUOTA_EXCEEDED]
    other = Plug(node, relay(name="relay-2"), "port2")
    node.run(1000)
    assert not [event for event in other.heard if isinstance(event, Connected)]


def test_messages_wait_for_a_device_that_is_away(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    for payload in (b"1", b"2"):
        node.publish("set", payload)
    node.publish("set", b"qos 0", qos=0)
    node.run(60_000)
    back = Plug(node, plug.endpoint, "another port")
    node.run(1000)
    assert Connected("edge", resumed=True) in back.heard
    assert back.payloads == [b"1", b"2"]
    assert End(b"qos 0", "serial:relay-1", Outcome.DROPPED, Loss.OFFLINE) in node.book.ends


def test_what_was_on_the_line_when_it_was_cut_comes_once(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.wire.blocked = True
    node.publish("set", b"1")
    plug.endpoint.publish("state", b"up", node.now)
    plug.pull()
    listener = node.listen("state")
    back = Plug(node, plug.endpoint)
    node.run(1000)
    assert back.payloads == [b"1"]
    assert [message.payload for message in listener.got] == [b"up"]


def test_a_rebooted_device_gets_what_it_had_not_acknowledged(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    node.publish("set", b"1")
    back = Plug(node, relay(b"boot-2"))
    node.run(1000)
    assert Connected("edge", resumed=False) in back.heard
    assert back.payloads == [b"1"]


def test_absence_is_bounded_and_then_everything_is_settled() -> None:
    node = Node(DeviceLimits(absence_ms=5000))
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    node.publish("set", b"1")
    node.run(4999)
    assert "relay-1" in node.devices.known
    node.run(2)
    assert not node.devices.known
    assert node.router.routes.subscription_count == 0
    assert End(b"1", "serial:relay-1", Outcome.DROPPED, Loss.SESSION_ENDED) in node.book.ends
    back = Plug(node, plug.endpoint)
    node.run(1000)
    assert Connected("edge", resumed=False) in back.heard


def test_what_expires_while_it_waits_is_not_delivered(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    node.publish("set", b"unlock", expires_at=node.now + 100)
    node.publish("set", b"lock")
    node.run(1000)
    back = Plug(node, plug.endpoint)
    node.run(1000)
    assert back.payloads == [b"lock"]
    assert End(b"unlock", "serial:relay-1", Outcome.EXPIRED) in node.book.ends


def test_a_full_queue_is_seen_before_anything_is_acknowledged() -> None:
    node = Node(DeviceLimits(max_queue_messages=4))
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    other = Plug(node, relay(name="button"), "port2")
    for number in range(9):
        other.publish("set", b"%d" % number)
    node.run(1000)
    acknowledged = [event.sequence for event in other.heard if isinstance(event, Acknowledged)]
    assert acknowledged[-1] == 4  # the others wait at the button, which has no credits for more
    back = Plug(node, plug.endpoint)
    node.run(2000)
    assert back.payloads == [b"%d" % number for number in range(9)]
    assert [event.sequence for event in other.heard if isinstance(event, Acknowledged)][-1] == 9
    assert not node.devices.known["relay-1"].full


def test_a_full_queue_of_a_forgotten_device_holds_nobody() -> None:
    node = Node(DeviceLimits(max_queue_messages=4, absence_ms=5000))
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    button = Plug(node, relay(name="button"), "port2")
    for number in range(9):
        button.publish("set", b"%d" % number)
    node.run(4000)
    assert Acknowledged(9) not in button.heard
    node.run(5000)
    assert Acknowledged(9) in button.heard


def test_whoever_floods_a_slow_reader_is_held_until_it_has_caught_up(node: Node) -> None:
    crowded = Wire(node.engine, "slow")

    class Slow(Listener):
        def deliver(self, message: Message, sinks: Sequence[Listener], now: int) -> None:
            node.engine.pressure.refuses(crowded)

    slow = Slow()
    node.router.subscribe(b"#", slow, slow, node.now)
    plug = Plug(node, relay())
    plug.publish("a", b"x", qos=0)
    assert plug.wire.holds == 1
    node.engine.pressure.drained(crowded)
    assert plug.wire.holds == 0


def test_a_held_device_that_replugs_loses_and_doubles_nothing() -> None:
    node = Node(DeviceLimits(max_queue_messages=4))
    plug = Plug(node, relay())
    plug.subscribe("set")
    plug.pull()
    other = Plug(node, relay(name="button"), "port2")
    for number in range(9):
        other.publish("set", b"%d" % number)
    other.pull()
    other = Plug(node, other.endpoint, "port3")
    back = Plug(node, plug.endpoint)
    node.run(5000)
    assert back.payloads == [b"%d" % number for number in range(9)]


def test_a_device_whose_own_queue_is_full_is_refused_not_locked() -> None:
    node = Node(DeviceLimits(max_queue_messages=2), Config(window=2))
    plug = Plug(node, relay())
    plug.endpoint.automatic_acknowledgement = False
    plug.subscribe("echo")
    for number in range(6):
        plug.publish("echo", b"%d" % number)
    node.run(1000)
    settled = [event for event in plug.heard if isinstance(event, Received)]
    plug.endpoint.acknowledge(settled[-1], node.now)
    node.run(5000)
    assert node.engine.settlement.refused[Loss.QUEUE_FULL] >= 1


def test_acknowledgement_waits_for_the_journal(node: Node) -> None:
    node.listen("#", persistent=True)
    plug = Plug(node, relay())
    node.journal.late = True
    plug.publish("a", b"1")
    plug.publish("a", b"2")
    node.run(5000)
    assert not [event for event in plug.heard if isinstance(event, Acknowledged)]
    node.commit()
    assert plug.heard[-1] == Acknowledged(2)


def test_a_commit_after_the_device_has_left_counts_when_it_is_back(node: Node) -> None:
    listener = node.listen("#", persistent=True)
    plug = Plug(node, relay())
    node.journal.late = True
    plug.publish("a", b"1")
    plug.pull()
    node.commit()
    back = Plug(node, plug.endpoint)
    node.run(1000)
    assert Acknowledged(1) in back.heard
    assert [message.payload for message in listener.got] == [b"1"]


def test_what_the_journal_could_not_keep_is_sent_again(node: Node) -> None:
    listener = node.listen("#", persistent=True)
    plug = Plug(node, relay())
    node.journal.late = True
    plug.publish("a", b"1")
    node.engine.failed(node.now)
    node.journal.late = False
    node.run(20_000)
    assert [event.reason for event in plug.heard if isinstance(event, Disconnected)] == [Reason.UNAVAILABLE]
    assert Acknowledged(1) in plug.heard
    assert [message.payload for message in listener.got] == [b"1", b"1"]


def test_an_older_promise_is_void_once_a_newer_one_was_broken(node: Node) -> None:
    node.listen("#", persistent=True)
    plug = Plug(node, relay())
    node.journal.late = True
    plug.publish("a", b"1")
    node.journal.is_full = True
    plug.publish("a", b"2")
    node.commit()
    assert Acknowledged(1) not in plug.heard
    node.journal.late = node.journal.is_full = False
    node.run(20_000)
    assert plug.heard[-1] == Acknowledged(2)


def test_a_commit_for_what_the_device_was_before_it_booted_has_no_effect(node: Node) -> None:
    node.listen("#", persistent=True)
    plug = Plug(node, relay())
    node.journal.late = True
    plug.publish("a", b"1")
    plug.pull()
    back = Plug(node, relay(b"boot-2"))
    node.run(1000)
    back.pull()
    node.commit()
    assert node.devices.known["relay-1"].session.inbox.acknowledged == 0


def test_a_refusal_waits_for_room_and_what_follows_waits_for_the_refusal() -> None:
    node = Node(config=Config(max_queue_bytes=200))
    listener = node.listen("a")
    plug = Plug(node, relay())
    plug.endpoint.automatic_acknowledgement = False
    plug.subscribe("set")
    node.publish("set", b"x" * 160)
    plug.publish("wrong/#", b"x")
    plug.publish("a", b"x")
    assert plug.errors == []
    assert listener.got == []
    delivered = next(event for event in plug.heard if isinstance(event, Received))
    plug.endpoint.acknowledge(delivered, node.now)
    node.run(1000)
    assert plug.errors == [Reason.TOPIC_INVALID]
    assert len(listener.got) == 1


def test_more_retained_messages_than_the_queue_holds_are_settled() -> None:
    node = Node(DeviceLimits(max_queue_messages=4), Config(window=2))
    for number in range(20):
        node.publish(f"state/{number}", b"x", retain=True)
    plug = Plug(node, relay())
    plug.endpoint.automatic_acknowledgement = False
    plug.subscribe("state/#")
    assert node.engine.settlement.dropped[Loss.QUEUE_FULL] == 14  # of 20: 2 are on the line, 4 wait


def test_a_device_that_greets_on_another_line_leaves_the_first(node: Node) -> None:
    first = Plug(node, relay())
    first.subscribe("set")
    second = Plug(node, relay(b"boot-2"), "port2")
    node.run(100)
    assert [event.reason for event in first.heard if isinstance(event, Disconnected)] == [Reason.TAKEN_OVER]
    node.publish("set", b"x")
    assert second.payloads == [b"x"]


def test_a_line_that_is_not_drained_costs_bounded_memory(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("set", qos=0)
    plug.wire.blocked = True
    for _ in range(1000):
        node.publish("set", b"x" * 1000, qos=0)
    assert plug.wire.size < 10_000
    assert node.engine.settlement.dropped[Loss.SLOW_READER] > 900


def test_a_message_too_long_for_the_device_is_settled(node: Node) -> None:
    plug = Plug(node, relay())
    plug.subscribe("set")
    node.publish("set", b"x" * 5000)
    node.publish("set", b"x" * 5000, qos=0)
    node.publish("set", b"short")
    assert plug.payloads == [b"short"]
    assert node.engine.settlement.dropped[Loss.TOO_LARGE] == 2


def test_noise_goes_to_the_log(node: Node) -> None:
    plug = Plug(node, relay())
    plug.line.receive(b"boot ok\r\n\0" + encode(Publish(0, "a", b"x")), node.now)
    (noise,) = node.noise
    assert isinstance(noise, tuple)
    assert noise[0] == "port1"
    assert isinstance(noise[1], Noise)
    assert plug.line.counts()["text"] == 1


def test_a_held_line_drops_what_has_no_number_and_counts_it(node: Node) -> None:
    plug = Plug(node, relay())
    plug.wire.hold()
    plug.publish("a", b"x", qos=0)
    assert plug.line.counts()["dropped"] == 1
    plug.publish("a", b"kept")
    node.run(100)
    assert Acknowledged(1) not in plug.heard
    plug.wire.release()
    node.run(1000)
    assert Acknowledged(1) in plug.heard


def test_a_frame_and_the_end_of_its_session_in_one_read(node: Node) -> None:
    listener = node.listen("a")
    plug = Plug(node, relay())
    plug.line.receive(encode(Publish(1, "#", b"x")) + encode(Publish(2, "a", b"x")) + encode(Bye(0)), node.now)
    assert len(listener.got) == 1
    assert node.devices.known["relay-1"].line is None


numbers = st.integers(0, 4)
frames = st.one_of(
    st.builds(
        Hello, st.just(1), st.sampled_from((b"b1", b"b2")), st.sampled_from((b"", b"edge1", b"edge2")), numbers,
        st.integers(1, 3), numbers, st.just(4096), st.sampled_from(("relay-1", "relay-2")),
    ),
    st.integers(0, 3).flatmap(lambda n: st.builds(Ack, st.just(n), st.integers(0, n), numbers)),
    st.builds(Publish, numbers, st.sampled_from(("a", "#", "$SYS", "b")), st.binary(max_size=2), st.booleans()),
    st.builds(Subscribe, numbers, st.sampled_from(("a", "#", "a#", "b")), st.integers(0, 1)),
    st.builds(Unsubscribe, numbers, st.sampled_from(("a", "#"))),
    st.builds(Bye, numbers),
    st.builds(Skip, numbers),
    st.builds(Deliver, numbers, st.just("a"), st.binary(max_size=2)),
)  # fmt: skip


@given(st.lists(st.tuples(st.lists(frames, max_size=5), st.integers(0, 1), st.integers(0, 40_000)), max_size=8))
def test_nothing_that_devices_say_makes_a_node_raise(reads: list[tuple[list[Frame], int, int]]) -> None:
    node = Node(DeviceLimits(max_queue_messages=3, max_devices=1, absence_ms=50_000), Config(window=2))
    wires = [Wire(node.engine, f"port{number}") for number in range(2)]
    for wire in wires:
        wire.line = node.devices.open(wire)
        wire.line.opened(node.now)
    for said, number, ms in reads:
        wires[number].now = node.now
        wires[number].line.receive(b"".join(map(encode, said)), node.now)
        node.engine.turn(node.now)
        node.run(ms)
    node.book.check(node.devices.owed())
    for wire in wires:
        wire.line.closed(node.now)
    node.run(60_000)
    assert not node.devices.known
    assert node.router.full_sinks == 0
    node.book.check(())
