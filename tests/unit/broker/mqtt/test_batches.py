"""The centre's side of what an edge sends up: batches of numbered messages, taken once and in order, and answered."""

from __future__ import annotations

from typing import Any

import pytest
from unit.broker.mqtt.harness import Bench, Client, LateJournal

from broker.core.questions import Action, Admission, Permission, Question, Verdict
from broker.core.records import Marked, Record, Taken
from broker.core.settlement import Reason
from broker.journal.memory import MemoryJournal
from oriole.link.uplink import Greeting, Mark, Stamp
from oriole.link.uplink.stamps import MOST_CLASSES
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Packet,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Subscribe,
    Subscription,
)
from oriole.wire.uplink import (
    ANSWER,
    BATCH,
    MOST_LIFETIME_MS,
    MOST_NODES,
    MOST_PARCELS,
    Answer,
    Batch,
    Facts,
    Parcel,
    decode_answer,
    encode,
)

KEPT = {"session_expiry_interval": 99}
SOMEBODY = "somebody"


def make(journal: LateJournal | MemoryJournal | None = None, **more: Any) -> Bench:
    bench = Bench(journal, **more)
    bench.service.name, bench.service.epoch = "centre", "epoch-of-centre"
    return bench


def join(bench: Bench, epoch: str = "e", life: str = "life", clean_start: bool = False) -> Client:
    """A node that has said hello; a late journal has written what was to be written of it."""
    greeting = Greeting("edge", epoch, life=life)
    client = bench.join("edge", V5, clean_start, user_property=greeting.pairs(), **KEPT)
    if isinstance(bench.journal, LateJournal):
        bench.commit()
    connack = client.take()[0]
    assert isinstance(connack, ConnAck)
    assert connack.reason_code == ReasonCode.SUCCESS
    return client


def parcel(payload: bytes = b"x", topic: bytes = b"t", qos: int = 1, retain: bool = False, **more: Any) -> Parcel:
    return Parcel(qos << 1 | retain, topic, payload, **more)


def send(client: Client, first: int, *parcels: Parcel | int, traffic_class: str = "normal") -> None:
    """A batch of these; of one message, if there are none."""
    client.publish(BATCH, encode(Batch(traffic_class, first, list(parcels) or [parcel()])))


def answers(packets: list[Packet]) -> list[Answer]:
    return [decode_answer(packet.payload) for packet in packets if isinstance(packet, Publish) and is_answer(packet)]


def is_answer(packet: Publish) -> bool:
    return packet.topic == ANSWER.encode() and packet.qos == 0


def answered(client: Client) -> Answer:
    """The one answer that came."""
    (answer,) = answers(client.take())
    return answer


def sleeper(bench: Bench, filter: str = "t") -> None:
    """A persistent subscriber that is away: what comes for it waits."""
    bench.subscriber("sleeper", filter, 1, **KEPT).lose()


def wake(bench: Bench) -> Client:
    """It is back, and takes what waits."""
    client = bench.join("sleeper", V5, False, **KEPT)
    client.take()
    return client


def recorded(bench: Bench) -> list[Record]:
    return [record for _, batch in bench.journal.replay(0) for record in batch]


class TestNumbers:
    """A number is taken once, and in its turn."""

    def test_a_batch_is_routed_in_its_order_and_answered(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "#", 1)
        edge = join(bench)
        send(edge, 1, parcel(b"1"), parcel(b"2", b"u"), parcel(b"3"), parcel(b"4"))
        assert answered(edge) == Answer("normal", 4)
        assert listener.payloads() == [b"1", b"2", b"3", b"4"]

    @pytest.mark.parametrize("clean_start", [False, True])
    def test_a_number_is_routed_once_whatever_became_of_its_answer(self, clean_start: bool) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 1)
        edge.lose()
        edge = join(bench, clean_start=clean_start)
        send(edge, 1, parcel(), parcel(b"y"))
        assert answered(edge) == Answer("normal", 2)
        assert listener.payloads() == [b"x", b"y"]
        assert bench.engine.settlement.refused == {Reason.REPEAT: 1}

    def test_a_repeat_on_the_same_connection_is_answered_again(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        for _ in range(2):
            send(edge, 1, parcel(b"1"), parcel(b"2"))
            assert answered(edge) == Answer("normal", 2)
        assert listener.payloads() == [b"1", b"2"]

    def test_each_class_has_its_own_numbers(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 1)
        send(edge, 1, parcel(b"!"), traffic_class="alarm")
        assert answers(edge.take()) == [Answer("normal", 1), Answer("alarm", 1)]
        assert listener.payloads() == [b"x", b"!"]

    def test_the_same_number_of_another_epoch_is_new(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 1)
        edge.lose()
        send(join(bench, epoch="born again"), 1)
        assert listener.payloads() == [b"x", b"x"]

    def test_numbers_that_were_given_to_none_are_skipped(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 1, parcel(b"1"), 3, parcel(b"5"), 2)
        assert answered(edge) == Answer("normal", 7)
        send(edge, 1, 4, parcel(b"5"), 1, 1, parcel(b"8"))
        assert answered(edge) == Answer("normal", 8)
        assert listener.payloads() == [b"1", b"5", b"8"]

    def test_a_batch_of_skipped_numbers_alone(self) -> None:
        edge = join(make())
        send(edge, 1, 9)
        assert answered(edge) == Answer("normal", 9)

    def test_the_first_number_on_a_connection_may_be_any(self) -> None:
        """The node has lost its memory, or this one has."""
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 100, parcel(b"100"))
        assert answered(edge) == Answer("normal", 100)
        edge.lose()
        edge = join(bench)
        send(edge, 200, parcel(b"200"))
        assert answered(edge) == Answer("normal", 200)
        send(edge, 150, parcel(b"150"))
        assert answered(edge) == Answer("normal", 200)
        assert listener.payloads() == [b"100", b"200"]


class TestRoom:
    """What finds no room is not taken, nor is anything behind it."""

    def test_a_repeat_is_answered_even_where_news_would_find_no_room(self) -> None:
        bench = make(max_queue_messages=1)
        sleeper(bench)
        edge = join(bench)
        send(edge, 1)
        assert answered(edge) == Answer("normal", 1)
        send(edge, 2)
        assert answered(edge) == Answer("normal", 1, is_busy=True)
        send(edge, 1)
        assert answered(edge) == Answer("normal", 1)

    def test_what_finds_room_before_is_taken(self) -> None:
        bench = make(max_queue_messages=1)
        sleeper(bench)
        listener = bench.subscriber("listener", "#", 1)
        edge = join(bench)
        send(edge, 1, parcel(b"1"))
        send(edge, 2, parcel(b"2", b"free"), parcel(b"3"), parcel(b"4", b"free"))
        assert answers(edge.take()) == [Answer("normal", 1), Answer("normal", 2, is_busy=True)]
        assert listener.payloads() == [b"1", b"2"]

    def test_nothing_overtakes_what_found_no_room(self) -> None:
        bench = make(max_queue_messages=1)
        sleeper(bench)
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 1, parcel(b"1"))
        send(edge, 2, parcel(b"2"))
        edge.take()
        wake(bench)
        send(edge, 3, parcel(b"3"))
        assert answered(edge) == Answer("normal", 1, is_busy=True)
        send(edge, 3, parcel(b"!"), traffic_class="alarm")
        assert answered(edge) == Answer("alarm", 3), "the other classes go on"
        send(edge, 2, parcel(b"2"), parcel(b"3"))
        assert answered(edge) == Answer("normal", 3)
        send(edge, 4, parcel(b"4"))
        assert answered(edge) == Answer("normal", 4)
        assert listener.payloads() == [b"1", b"!", b"2", b"3", b"4"]

    def test_on_a_new_connection_the_sender_begins_anew(self) -> None:
        bench = make(max_queue_messages=1)
        sleeper(bench)
        edge = join(bench)
        send(edge, 1)
        send(edge, 2)
        wake(bench)
        edge.lose()
        edge = join(bench)
        send(edge, 3)
        assert answered(edge) == Answer("normal", 3)

    def test_a_full_store_has_no_room_for_another_value(self) -> None:
        bench = make(max_retained_messages=1)
        edge = join(bench)
        send(edge, 1, parcel(topic=b"one", retain=True))
        send(edge, 2, parcel(topic=b"two", retain=True), parcel())
        assert answers(edge.take()) == [Answer("normal", 1, [(1, 1)]), Answer("normal", 1, is_busy=True)]
        assert [message.topic for message in bench.router.retained] == [b"one"]

    def test_a_backlog_that_is_full_holds_the_connection(self) -> None:
        bench = make(LateJournal(), max_queue_messages=4)
        edge = join(bench)
        for number in range(1, 12):
            send(edge, number)
        assert bench.router.backlog.messages == 4
        for _ in range(12):
            bench.commit()
        assert [answer.upto for answer in answers(edge.take())] == list(range(1, 12))
        assert bench.router.backlog.messages == 0


class TestRecords:
    """Nothing is answered or routed before it is recorded."""

    def test_a_batch_is_recorded_with_its_mark_in_one_record(self) -> None:
        bench = make(MemoryJournal(keep=True))
        edge = join(bench)
        send(edge, 1, parcel(b"1"), 5, parcel(b"7", b"u"))
        send(edge, 1, parcel(b"1"), 5, parcel(b"7", b"u"))
        (record,) = [record for record in recorded(bench) if isinstance(record, Taken)]
        assert [message.payload for message in record.messages] == [b"1", b"7"]
        assert record.mark == Mark("e", "normal", 7, "life")

    def test_a_batch_without_messages_moves_the_mark(self) -> None:
        bench = make(MemoryJournal(keep=True))
        edge = join(bench)
        send(edge, 1, 7)
        assert recorded(bench)[-1] == Marked(Mark("e", "normal", 7, "life"))

    def test_nothing_is_answered_or_routed_before_it_is_recorded(self) -> None:
        bench = make(LateJournal())
        listener = bench.member("listener")
        listener.send(Subscribe(1, [Subscription("t")]))
        edge = join(bench)
        listener.take()
        send(edge, 1, parcel(retain=True))
        assert answers(edge.take()) == []
        assert listener.payloads() == []
        assert len(bench.router.retained) == 0
        bench.commit()
        assert answered(edge) == Answer("normal", 1, [(1, 1)])
        assert listener.payloads() == [b"x"]
        assert len(bench.router.retained) == 1

    def test_a_repeat_of_what_is_being_recorded_waits_for_it_too(self) -> None:
        bench = make(LateJournal())
        edge = join(bench)
        send(edge, 1)
        send(edge, 1)
        assert answers(edge.take()) == []
        bench.commit()
        assert answers(edge.take()) == [Answer("normal", 1)] * 2

    def test_what_was_not_recorded_comes_again_as_new(self) -> None:
        bench = make(LateJournal())
        edge = join(bench)
        send(edge, 1, parcel(b"1", retain=True))
        bench.commit()
        edge.take()
        batches = [encode(Batch("normal", first, [parcel(b"%d" % first, retain=True)])) for first in (2, 3, 4)]
        edge.send(*(Publish(BATCH.encode(), batch) for batch in batches))  # in one turn
        send(edge, 1, parcel(b"!", b"a", retain=True), traffic_class="alarm")
        bench.fail()
        assert edge.closed
        assert answers(edge.take()) == []
        assert bench.service.marks.highest("e", "normal") == 1
        assert bench.service.marks.highest("e", "alarm") == 0
        assert bench.router.backlog.messages == 0
        edge = join(bench)
        send(edge, 2, parcel(b"2", retain=True))
        bench.commit()
        assert answered(edge) == Answer("normal", 2, [(2, 2)])
        assert [message.payload for message in bench.router.retained] == [b"2"]

    def test_the_connection_has_gone_when_the_record_is_safe(self) -> None:
        bench = make(LateJournal())
        edge = join(bench)
        send(edge, 1, parcel(retain=True))
        edge.lose()
        bench.commit()
        assert len(bench.router.retained) == 1
        edge = join(bench)
        send(edge, 1, parcel(retain=True))
        bench.commit()
        assert answered(edge) == Answer("normal", 1, [(1, 1)])


class TestPlaces:
    """A retained value is told its place in the order."""

    def test_of_news_and_of_a_repeat(self) -> None:
        bench = make()
        edge = join(bench)
        send(edge, 1, parcel(topic=b"a", retain=True), parcel(), parcel(topic=b"b", retain=True))
        assert answered(edge) == Answer("normal", 3, [(1, 1), (3, 3)])
        send(edge, 1, parcel(topic=b"a", retain=True), parcel(), parcel(topic=b"b", retain=True))
        assert answered(edge) == Answer("normal", 3, [(1, 1), (3, 3)])

    def test_a_repeat_is_told_the_place_of_what_the_node_set_last(self) -> None:
        bench = make()
        edge = join(bench)
        send(edge, 1, parcel(b"1", retain=True), parcel(b"2", retain=True))
        edge.take()
        send(edge, 1, parcel(b"1", retain=True))
        assert answered(edge).places == [(1, 2)]

    def test_where_somebody_else_set_the_topic_since_a_repeat_has_none_and_is_told_what_is_so(self) -> None:
        bench = make()
        edge = join(bench)
        send(edge, 1, parcel(retain=True))
        edge.take()
        bench.member(SOMEBODY).publish("t", b"newer", 1, retain=True)
        send(edge, 1, parcel(retain=True))
        answer, state = edge.take()
        assert answers([answer]) == [Answer("normal", 1, [(1, 0)])]
        assert isinstance(state, Publish)
        assert (state.topic, state.payload, state.retain) == (b"t", b"newer", True)
        assert Stamp.read(state.properties.user_property).order == 2

    def test_another_node_is_somebody_else_and_each_topic_is_told_once(self) -> None:
        bench = make()
        edge = join(bench)
        send(edge, 1, parcel(b"1", retain=True), parcel(b"2", retain=True))
        edge.take()
        other = bench.member("other", V5, user_property=Greeting("other", "o", life="l").pairs(), **KEPT)
        send(other, 1, parcel(b"newer", retain=True))
        send(edge, 1, parcel(b"1", retain=True), parcel(b"2", retain=True))
        answer, state = edge.take()
        assert answers([answer]) == [Answer("normal", 2, [(1, 0), (2, 0)])]
        assert isinstance(state, Publish)
        assert (state.payload, Stamp.read(state.properties.user_property).order) == (b"newer", 3)

    def test_where_somebody_else_deleted_the_value_since(self) -> None:
        bench = make()
        edge = join(bench)
        send(edge, 1, parcel(retain=True))
        edge.take()
        bench.member(SOMEBODY).publish("t", b"", 1, retain=True)
        send(edge, 1, parcel(retain=True))
        answer, state = edge.take()
        assert answers([answer]) == [Answer("normal", 1, [(1, 0)])]
        assert isinstance(state, Publish)
        assert (state.topic, state.payload, state.retain) == (b"t", b"", True)
        assert Stamp.read(state.properties.user_property).order == 2


class TestRefusals:
    """What can never be taken is said, and what follows goes on."""

    @pytest.mark.parametrize(
        ("topic", "code"),
        [
            (b"$SYS/x", ReasonCode.NOT_AUTHORIZED),
            (BATCH.encode(), ReasonCode.NOT_AUTHORIZED),
            (b"a/#", ReasonCode.TOPIC_NAME_INVALID),
            (b"+", ReasonCode.TOPIC_NAME_INVALID),
            (b"", ReasonCode.TOPIC_NAME_INVALID),
            (b"a\0", ReasonCode.TOPIC_NAME_INVALID),
            (b"\xff", ReasonCode.TOPIC_NAME_INVALID),
        ],
    )
    def test_a_topic_that_nobody_may_publish_to(self, topic: bytes, code: ReasonCode) -> None:
        bench = make()
        listener = bench.subscriber("listener", "#", 1)
        edge = join(bench)
        send(edge, 1, parcel(b"1"), parcel(topic=topic), parcel(b"3"))
        assert answered(edge) == Answer("normal", 3, refusals=[(2, code)])
        assert listener.payloads() == [b"1", b"3"]
        assert bench.engine.settlement.refused == {Reason.NOT_PERMITTED: 1}
        assert not edge.closed

    def test_what_was_here_before_goes_no_further(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        send(edge, 1, parcel(path=("centre", "other")), parcel(b"2", path=("other",)))
        assert answered(edge) == Answer("normal", 2)
        assert listener.payloads() == [b"2"]
        assert bench.engine.settlement.refused == {Reason.LOOP: 1}

    def test_verdicts_are_asked_for_in_one_go(self) -> None:
        asked: list[str] = []

        def decide(question: Question) -> Verdict | None:
            if isinstance(question, Admission):
                return Verdict(True, restricted=question.client_id == "edge")
            assert isinstance(question, Permission)
            assert question.action is Action.PUBLISH
            asked.append(question.topic)
            return None

        bench = make(decide=decide)
        listener = bench.subscriber("listener", "#", 1)
        edge = join(bench)
        parcels = [parcel(b"%d" % n, topic) for n, topic in enumerate((b"a", b"b", b"a", b"$SYS", b"+", b"c"), 1)]
        send(edge, 1, *parcels)
        assert asked == ["a", "b", "c"]
        assert answers(edge.take()) == []
        questions, bench.questions = bench.questions, []
        for question in questions:
            bench.answer(question, Verdict(isinstance(question, Permission) and question.topic != "b"))
        bench.turn()
        refusals = [
            (2, ReasonCode.NOT_AUTHORIZED),
            (4, ReasonCode.NOT_AUTHORIZED),
            (5, ReasonCode.TOPIC_NAME_INVALID),
        ]
        assert answered(edge) == Answer("normal", 6, refusals=refusals)
        assert listener.payloads() == [b"1", b"3", b"6"]
        send(edge, 7, parcel(b"7", b"b"))
        assert answered(edge) == Answer("normal", 7, refusals=[(7, ReasonCode.NOT_AUTHORIZED)])
        assert len(asked) == 3


class TestPeers:
    """What may be published to a batch's topic, and by whom."""

    @pytest.mark.parametrize("rubbish", [b"", b"\xc1", b"x" * 100, encode(["normal", 0, []])])
    def test_rubbish_ends_the_connection(self, rubbish: bytes) -> None:
        edge = join(make())
        edge.publish(BATCH, rubbish)
        assert edge.reason() == ReasonCode.PROTOCOL_ERROR

    @pytest.mark.parametrize("version", [V311, V5])
    def test_a_client_that_is_no_node_has_no_batches(self, version: int) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        client = bench.member(SOMEBODY, version)
        send(client, 1)
        assert client.take() == []
        assert listener.payloads() == []
        assert bench.engine.settlement.refused == {Reason.NOT_PERMITTED: 1}
        assert not client.closed

    def test_a_batch_has_qos_0(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = join(bench)
        edge.publish(BATCH, encode(Batch("normal", 1, [parcel()])), 1)
        (packet,) = edge.take()
        assert isinstance(packet, PubAck)
        assert packet.reason_code == ReasonCode.NOT_AUTHORIZED
        assert listener.payloads() == []

    def test_a_batch_may_be_longer_than_a_client_s_packet_by_what_comes_with_it(self) -> None:
        edge = join(make(max_packet_bytes=500))
        send(edge, 1, parcel(b"x" * 490))
        assert answered(edge) == Answer("normal", 1)


class TestMessages:
    """What a parcel says arrives."""

    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_each_qos(self, qos: int) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 2)
        edge = join(bench)
        send(edge, 1, parcel(qos=qos))
        assert answered(edge) == Answer("normal", 1)
        (packet,) = listener.take()
        assert isinstance(packet, Publish)
        assert packet.qos == qos
        if qos == 2:
            listener.send(PubRec(packet.packet_identifier))
            (release,) = listener.take()
            assert isinstance(release, PubRel)

    def test_qos_0_that_is_retained(self) -> None:
        bench = make()
        edge = join(bench)
        send(edge, 1, parcel(qos=0, retain=True))
        assert answered(edge) == Answer("normal", 1, [(1, 1)])
        (state,) = bench.router.retained
        assert (state.qos, state.payload) == (0, b"x")

    def test_a_lifetime_goes_on_and_ends(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        sleeper(bench)
        edge = join(bench)
        send(edge, 1, parcel(lifetime_ms=5_000), parcel(b"for ever"))
        (packet, other) = listener.take()
        assert packet.properties.message_expiry_interval == 5
        assert other.properties.message_expiry_interval is None
        bench.advance(5_001)
        woken = bench.join("sleeper", V5, False, **KEPT)
        assert [packet.payload for packet in woken.take() if isinstance(packet, Publish)] == [b"for ever"]

    def test_the_facts_arrive(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        facts = Facts("text/plain", 1, "answers/1", b"id", (("a", "1"), ("a", "2")), "newest")
        send(join(bench), 1, parcel(facts=facts))
        (packet,) = listener.take()
        said = packet.properties
        assert said.content_type == "text/plain"
        assert said.payload_format_indicator == 1
        assert (said.response_topic, said.correlation_data) == ("answers/1", b"id")
        assert said.user_property[:2] == [("a", "1"), ("a", "2")]
        assert [value for _, value in said.user_property[2:]] == ["newest"]

    def test_who_passed_it_on_is_no_client_s_business_and_a_node_s(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        other = bench.member("other", V5, user_property=Greeting("other", "o", life="l").pairs(), **KEPT)
        other.subscribe("t", 1)
        other.take()
        send(join(bench), 1, parcel(path=("below",)))
        (packet,) = listener.take()
        assert not packet.properties.user_property
        (packet,) = other.take()
        assert Stamp.read(packet.properties.user_property).path == ("below", "edge", "centre")

    def test_a_run_on_one_topic_is_delivered_in_one_go_and_numbered(self) -> None:
        bench = make(MemoryJournal(keep=True))
        sleeper(bench)
        edge = join(bench)
        send(edge, 1, *(parcel(b"%d" % number) for number in range(50)))
        assert answered(edge) == Answer("normal", 50)
        assert bench.router.order == 50
        woken = bench.join("sleeper", V5, False, receive_maximum=100, **KEPT)
        packets = [packet for packet in woken.take() if isinstance(packet, Publish)]
        assert [packet.payload for packet in packets] == [b"%d" % number for number in range(50)]


LONG = "x" * 65_536
FORGED: dict[str, tuple[dict[str, Any], ReasonCode]] = {
    "content type, too long": ({"facts": Facts(LONG, None, None, None, (), None)}, ReasonCode.PAYLOAD_FORMAT_INVALID),
    "content type, no string": (
        {"facts": Facts("a\0", None, None, None, (), None)},
        ReasonCode.PAYLOAD_FORMAT_INVALID,
    ),
    "format indicator": ({"facts": Facts(None, 300, None, None, (), None)}, ReasonCode.PAYLOAD_FORMAT_INVALID),
    "format indicator, below 0": ({"facts": Facts(None, -1, None, None, (), None)}, ReasonCode.PAYLOAD_FORMAT_INVALID),
    "format indicator, out of range": (
        {"facts": Facts(None, 2, None, None, (), None)},
        ReasonCode.PAYLOAD_FORMAT_INVALID,
    ),
    "response topic": ({"facts": Facts(None, None, "a/#", None, (), None)}, ReasonCode.PAYLOAD_FORMAT_INVALID),
    "correlation data": (
        {"facts": Facts(None, None, None, LONG.encode(), (), None)},
        ReasonCode.PAYLOAD_FORMAT_INVALID,
    ),
    "user property": (
        {"facts": Facts(None, None, None, None, ((LONG, ""),), None)},
        ReasonCode.PAYLOAD_FORMAT_INVALID,
    ),
    "collapse key": ({"facts": Facts(None, None, None, None, (), LONG)}, ReasonCode.PAYLOAD_FORMAT_INVALID),
    "topic": ({"topic": LONG.encode()}, ReasonCode.TOPIC_NAME_INVALID),
}
RUBBISH: dict[str, dict[str, Any]] = {
    "lifetime": {"lifetime_ms": MOST_LIFETIME_MS + 1},
    "lifetime, far too long": {"lifetime_ms": (1 << 62) - 1},
    "path": {"path": ("",)},
    "path, two names in one": {"path": ("a,b",)},
    "path, no ASCII": {"path": ("ä",)},
    "path, too long": {"path": tuple("abcdefghijklmnop")},
}


class House:
    """An edge at the centre, and who else is there: a client and another node that want everything."""

    def __init__(self) -> None:
        self.bench = make(MemoryJournal(keep=True))
        self.listener = self.bench.subscriber("listener", "#", 1)
        greeting = Greeting("other", "o", life="l")
        self.other = self.bench.member("other", V5, user_property=greeting.pairs(), **KEPT)
        self.other.subscribe("#", 1)
        self.other.take()
        self.edge = join(self.bench)

    def heard(self) -> list[bytes]:
        """Payloads that the client and the other node had; what the node was told of them can be read."""
        payloads = self.listener.payloads()
        passed_on = [packet for packet in self.other.take() if isinstance(packet, Publish)]
        assert [packet.payload for packet in passed_on] == payloads
        for packet in passed_on:
            Stamp.read(packet.properties.user_property)
        return payloads


@pytest.mark.parametrize("forged", FORGED)
def test_what_no_publish_can_say_hurts_nobody_but_the_message_that_says_it(forged: str) -> None:
    house = House()
    more, code = FORGED[forged]
    send(house.edge, 1, parcel(b"1"), parcel(b"2", **more), parcel(b"3"))
    assert answered(house.edge) == Answer("normal", 3, refusals=[(2, code)])
    assert house.heard() == [b"1", b"3"]
    assert house.bench.engine.settlement.refused == {Reason.NOT_PERMITTED: 1}


@pytest.mark.parametrize("forged", RUBBISH)
def test_what_no_node_says_hurts_nobody_but_the_node_that_says_it(forged: str) -> None:
    house = House()
    send(house.edge, 1, parcel(b"1"), parcel(b"2", **RUBBISH[forged]))
    assert house.edge.reason() == ReasonCode.PROTOCOL_ERROR
    assert house.heard() == []
    edge = join(house.bench)
    send(edge, 1, parcel(b"1"))
    assert answered(edge) == Answer("normal", 1)
    assert house.heard() == [b"1"]


@pytest.mark.parametrize("others", [MOST_NODES - 2, MOST_NODES - 1])
def test_the_longest_path_hurts_nobody(others: int) -> None:
    """It passed so many other nodes: whoever it is sent to can read that, or is not sent it."""
    house = House()
    send(house.edge, 1, parcel(path=tuple("abcdefghijklmno"[:others])))
    assert answered(house.edge) == Answer("normal", 1)
    house.heard()


def test_the_longest_lifetime_arrives() -> None:
    house = House()
    send(house.edge, 1, parcel(lifetime_ms=MOST_LIFETIME_MS))
    assert answered(house.edge) == Answer("normal", 1)
    (packet,) = house.listener.take()
    assert packet.properties.message_expiry_interval == MOST_LIFETIME_MS // 1000


def test_numbers_without_end_end_the_connection() -> None:
    most = (1 << 62) - 1
    edge = join(make(MemoryJournal(keep=True)))
    send(edge, most, *[most] * 1_000)
    assert edge.reason() == ReasonCode.PROTOCOL_ERROR


def test_a_node_whose_numbers_are_used_up_can_still_come_back() -> None:
    bench = make(MemoryJournal(keep=True))
    edge = join(bench)
    first, skip = (1 << 53) - 1, (1 << 31) - 1
    send(edge, first, *[skip] * MOST_PARCELS)
    upto = first - 1 + MOST_PARCELS * skip
    assert answered(edge) == Answer("normal", upto)
    edge.lose()
    assert told(bench) == (("normal", upto),)


@pytest.mark.parametrize("name", ["", "n\0", "a,b", "ä", "Normal", "c" * 17])
def test_a_class_that_no_node_has_ends_the_connection(name: str) -> None:
    bench = make()
    edge = join(bench)
    send(edge, 1, traffic_class=name)
    assert edge.reason() == ReasonCode.PROTOCOL_ERROR
    assert told(bench) == ()


def test_a_node_has_so_many_classes_and_no_more_and_can_still_come_back() -> None:
    bench = make()
    edge = join(bench)
    names = "abcdefghijkl"[:MOST_CLASSES]
    for name in names:
        send(edge, 1, traffic_class=name)
    assert len(answers(edge.take())) == MOST_CLASSES
    send(edge, 1, traffic_class="z")
    assert edge.reason() == ReasonCode.PROTOCOL_ERROR
    assert sorted(told(bench)) == [(name, 1) for name in names]
    edge = join(bench)
    send(edge, 2, traffic_class=names[0])
    assert answered(edge) == Answer(names[0], 2), "those that it has go on"
    other = bench.member("other", V5, user_property=Greeting("other", "o", life="l").pairs(), **KEPT)
    send(other, 1, traffic_class="z")
    assert answered(other) == Answer("z", 1), "another epoch has its own"


def told(bench: Bench) -> tuple[tuple[str, int], ...]:
    """What the node is told of its numbers when it comes back."""
    client = bench.join("edge", V5, False, user_property=Greeting("edge", "e", life="life").pairs(), **KEPT)
    (connack,) = client.take()
    assert isinstance(connack, ConnAck)
    greeting = Greeting.read(connack.properties.user_property)
    assert greeting is not None
    client.lose()
    return greeting.has
