"""The client against a scripted server: what it writes and reports, also when the peer is wrong or gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.link.mqtt import (
    Client,
    ClientConfig,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    Expired,
    MessageReceived,
    NotConnected,
    Published,
    PublishRefused,
    QueueFull,
    Subscribed,
    Unsubscribed,
)
from oriole.wire.mqtt import (
    V5,
    V311,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    decode,
    encode,
)
from oriole.wire.topics import TopicError

NOW = 1_000


def written(client: Client) -> list[Packet]:
    return [decode(first, body, client.config.version) for first, body in Splitter().split(client.outgoing())]


def receive(client: Client, *packets: Packet, now: int = NOW) -> list[Event]:
    return client.receive(b"".join(encode(packet, client.config.version) for packet in packets), now)


def connected(version: int = V5, connack: ConnAck | None = None, **config: object) -> Client:
    client = Client(ClientConfig(version=version, **config))  # type: ignore[arg-type]
    client.connect(NOW)
    receive(client, connack or ConnAck())
    client.outgoing()
    return client


def reconnect(client: Client, session_present: bool, now: int = NOW) -> list[Event]:
    client.closed(now)
    client.connect(now)
    assert isinstance(written(client)[0], Connect)
    return receive(client, ConnAck(session_present), now=now)


both_versions = pytest.mark.parametrize("version", [V311, V5])


def test_connect_says_what_is_configured() -> None:
    client = Client(
        ClientConfig(
            "c", V5, False, 30, 10, "u", b"p", receive_maximum=5, topic_alias_maximum=3, max_packet_bytes=1_000
        )
    )
    client.connect(NOW)
    properties = Properties(
        session_expiry_interval=30, receive_maximum=5, topic_alias_maximum=3, maximum_packet_size=1_000
    )
    assert written(client) == [Connect("c", V5, False, 10, "u", b"p", None, properties)]
    assert client.outgoing() == b""


def test_connected() -> None:
    client = Client(ClientConfig())
    client.connect(NOW)
    properties = Properties(assigned_client_identifier="z", server_keep_alive=7)
    assert receive(client, ConnAck(False, properties=properties)) == [Connected(False, properties)]
    assert client.client_identifier == "z"
    assert client.deadline() == NOW + 7_000


@both_versions
def test_refused(version: int) -> None:
    client = Client(ClientConfig(version=version))
    client.connect(NOW)
    assert receive(client, ConnAck(False, ReasonCode.NOT_AUTHORIZED)) == [ConnectRefused(ReasonCode.NOT_AUTHORIZED)]
    assert client.closing
    assert client.closed(NOW) == []


def test_a_server_that_does_not_answer_connect() -> None:
    client = Client(ClientConfig(connect_timeout_s=3))
    client.connect(NOW)
    assert client.deadline() == NOW + 3_000
    assert client.tick(NOW + 2_999) == []
    [event] = client.tick(NOW + 3_000)
    assert isinstance(event, Disconnected)
    assert client.closing
    assert client.deadline() is None


@both_versions
def test_qos_1(version: int) -> None:
    client = connected(version)
    identifier = client.publish("a/b", b"x", 1, True, now=NOW)
    assert identifier == 1
    assert written(client) == [Publish(b"a/b", b"x", 1, True, packet_identifier=1)]
    assert client.unsettled == 1
    assert receive(client, PubAck(1)) == [Published(1)]
    assert (client.unsettled, client.held_bytes) == (0, 0)
    assert receive(client, PubAck(1)) == []


@both_versions
def test_qos_2(version: int) -> None:
    client = connected(version)
    client.publish(b"a/b", b"x", 2, now=NOW)
    client.outgoing()
    assert receive(client, PubRec(1)) == []
    assert written(client) == [PubRel(1)]
    assert client.unsettled == 1
    assert receive(client, PubRec(1)) == []  # again: so is the answer
    assert written(client) == [PubRel(1)]
    assert receive(client, PubComp(1)) == [Published(1)]
    assert client.unsettled == 0


def test_a_message_that_the_server_refuses_is_settled() -> None:
    client = connected()
    client.publish("a", b"", 1, now=NOW)
    client.publish("a", b"", 2, now=NOW)
    reason = Properties(reason_string="full")
    assert receive(client, PubAck(1, ReasonCode.QUOTA_EXCEEDED, reason), PubRec(2, ReasonCode.NOT_AUTHORIZED)) == [
        Published(1, ReasonCode.QUOTA_EXCEEDED, reason),
        Published(2, ReasonCode.NOT_AUTHORIZED),
    ]
    assert client.unsettled == 0


def test_messages_wait_for_a_connection_and_for_the_window() -> None:
    client = Client(ClientConfig())
    for number in range(4):
        client.publish("a", b"%d" % number, 1, now=NOW)
    client.connect(NOW)
    assert len(written(client)) == 1
    receive(client, ConnAck(properties=Properties(receive_maximum=2)))
    assert [packet.payload for packet in written(client) if isinstance(packet, Publish)] == [b"0", b"1"]
    receive(client, PubAck(2))
    assert [packet.payload for packet in written(client) if isinstance(packet, Publish)] == [b"2"]
    client.publish("a", b"q0", now=NOW)  # has no part in the window
    assert len(written(client)) == 1


def test_a_released_message_still_fills_the_window() -> None:
    connack = ConnAck(properties=Properties(receive_maximum=1))
    client = connected(connack=connack, session_expiry_interval=60)
    client.publish("a", b"", 2, now=NOW)
    client.publish("a", b"", 1, now=NOW)
    receive(client, PubRec(1))
    assert [type(packet) for packet in written(client)] == [Publish, PubRel]
    receive(client, PubComp(1))
    assert [type(packet) for packet in written(client)] == [Publish]


def test_what_is_held_has_a_limit() -> None:
    client = connected(max_held_bytes=100)
    client.publish("a", bytes(60), 1, now=NOW)
    client.outgoing()
    for qos in (0, 1, 2):
        with pytest.raises(QueueFull):
            client.publish("a", bytes(60), qos, now=NOW)
    assert client.unsettled == 1
    receive(client, PubAck(1))
    assert client.publish("a", bytes(60), 1, now=NOW) is not None


def test_a_message_larger_than_the_limit_goes_alone() -> None:
    client = connected(max_held_bytes=10)
    assert client.publish("a", bytes(60), 1, now=NOW) == 1
    with pytest.raises(QueueFull):
        client.publish("a", b"", 1, now=NOW)


def test_qos_0_does_not_wait() -> None:
    client = Client(ClientConfig())
    with pytest.raises(NotConnected):
        client.publish("a", b"", now=NOW)
    with pytest.raises(NotConnected):
        client.subscribe([Subscription("a")], now=NOW)


def test_a_bad_topic_is_ours() -> None:
    client = connected()
    with pytest.raises(TopicError):
        client.publish("a/#", b"", 1, now=NOW)
    with pytest.raises(ValueError, match="QoS"):
        client.publish("a", b"", 3, now=NOW)
    assert client.publish("a", b"", 1, now=NOW) is not None
    assert client.unsettled == 1


@pytest.mark.parametrize(
    ("properties", "reason_code"),
    [
        (Properties(maximum_qos=0), ReasonCode.QOS_NOT_SUPPORTED),
        (Properties(retain_available=0), ReasonCode.RETAIN_NOT_SUPPORTED),
        (Properties(maximum_packet_size=20), ReasonCode.PACKET_TOO_LARGE),
    ],
)
def test_what_the_server_excludes(properties: Properties, reason_code: ReasonCode) -> None:
    client = Client(ClientConfig())
    early = client.publish("a", bytes(20), 1, True, now=NOW)
    client.connect(NOW)
    events = receive(client, ConnAck(properties=properties))
    assert events[1:] == [Published(early or 0, reason_code)]
    assert [type(packet) for packet in written(client)] == [Connect]
    with pytest.raises(PublishRefused) as refusal:
        client.publish("a", bytes(20), 1, True, now=NOW)
    assert refusal.value.reason_code is reason_code
    assert (client.unsettled, client.held_bytes) == (0, 0)


def test_resumed_session_sends_again_in_order_marked_dup() -> None:
    client = connected(clean_start=False, session_expiry_interval=60)
    for qos in (1, 2, 2, 1):
        client.publish("a", b"%d" % qos, qos, now=NOW)
    client.outgoing()
    receive(client, PubRec(3))
    assert written(client) == [PubRel(3)]
    events = reconnect(client, session_present=True)
    assert [type(event) for event in events] == [Connected]
    assert written(client) == [
        PubRel(3),
        Publish(b"a", b"1", 1, dup=True, packet_identifier=1),
        Publish(b"a", b"2", 2, dup=True, packet_identifier=2),
        Publish(b"a", b"1", 1, dup=True, packet_identifier=4),
    ]


def test_lost_session_sends_again_as_new_and_counts_the_released_as_taken() -> None:
    client = connected()
    client.publish("a", b"", 1, now=NOW)
    client.publish("a", b"", 2, now=NOW)
    receive(client, PubRec(2))
    client.outgoing()
    events = reconnect(client, session_present=False)
    assert events[1:] == [Published(2)]
    assert written(client) == [Publish(b"a", b"", 1, packet_identifier=1)]


def test_clean_start_is_for_the_first_connection() -> None:
    client = Client(ClientConfig("c", session_expiry_interval=60))
    client.connect(NOW)
    assert written(client)[0].clean_start  # type: ignore[union-attr]
    receive(client, ConnAck())
    client.closed(NOW)
    client.connect(NOW)
    assert not written(client)[0].clean_start  # type: ignore[union-attr]


@both_versions
def test_messages_received(version: int) -> None:
    client = connected(version)
    events = receive(
        client,
        Publish(b"a", b"0", retain=True),
        Publish("ü".encode(), b"1", 1, packet_identifier=7),
        Publish(b"a", b"2", 2, packet_identifier=8),
        Publish(b"a", b"2", 2, dup=True, packet_identifier=8),
    )
    assert [(event.topic, event.payload) for event in events if isinstance(event, MessageReceived)] == [
        ("a", b"0"),
        ("ü", b"1"),
        ("a", b"2"),
    ]
    assert written(client) == [PubAck(7), PubRec(8), PubRec(8)]
    receive(client, PubRel(8))
    assert written(client) == [PubComp(8)]
    assert len(receive(client, Publish(b"a", b"new", 2, packet_identifier=8))) == 1


def test_manual_acknowledgement_keeps_the_order_of_arrival() -> None:
    client = connected(manual_acknowledgement=True)
    messages = receive(client, *[Publish(b"a", b"", qos, packet_identifier=qos) for qos in (1, 2)])
    first, second = [message for message in messages if isinstance(message, MessageReceived)]
    assert written(client) == []
    client.acknowledge(second, now=NOW)
    assert written(client) == []
    client.acknowledge(first, ReasonCode.QUOTA_EXCEEDED, now=NOW)
    assert written(client) == [PubAck(1, ReasonCode.QUOTA_EXCEEDED), PubRec(2)]


def test_manual_acknowledgement_over_a_reconnect() -> None:
    client = connected(manual_acknowledgement=True, clean_start=False, session_expiry_interval=60)
    published = [Publish(b"a", b"", qos, packet_identifier=qos) for qos in (1, 2)]
    old = [message for message in receive(client, *published) if isinstance(message, MessageReceived)]
    reconnect(client, session_present=True)
    client.outgoing()
    client.acknowledge(old[0], now=NOW)
    assert written(client) == []  # the server sends it again
    for publish in published:
        publish.dup = True
    again = receive(client, *published)
    assert [message.qos for message in again if isinstance(message, MessageReceived)] == [1]  # QoS 2: once
    client.acknowledge(old[1], now=NOW)
    assert written(client) == []
    assert isinstance(again[0], MessageReceived)
    client.acknowledge(again[0], now=NOW)
    assert written(client) == [PubAck(1), PubRec(2)]


def test_a_refused_qos_2_message_may_come_again() -> None:
    client = connected(manual_acknowledgement=True)
    publish = Publish(b"a", b"", 2, packet_identifier=1)
    [message] = receive(client, publish)
    assert isinstance(message, MessageReceived)
    client.acknowledge(message, ReasonCode.QUOTA_EXCEEDED, now=NOW)
    assert len(receive(client, publish)) == 1


def test_topic_aliases_live_as_long_as_the_connection() -> None:
    client = connected(topic_alias_maximum=2, session_expiry_interval=60)
    alias = Properties(topic_alias=2)
    events = receive(client, Publish(b"a/b", b"", properties=alias), Publish(b"", b"", properties=alias))
    assert [event.topic for event in events if isinstance(event, MessageReceived)] == ["a/b", "a/b"]
    reconnect(client, session_present=True)
    [event] = receive(client, Publish(b"", b"", properties=alias))
    assert isinstance(event, Disconnected)
    assert event.reason_code is ReasonCode.TOPIC_ALIAS_INVALID


@both_versions
def test_subscribe_and_unsubscribe(version: int) -> None:
    client = connected(version)
    identifier = client.subscribe([Subscription("a/#", 1), Subscription("b")], now=NOW)
    assert written(client) == [Subscribe(identifier, [Subscription("a/#", 1), Subscription("b")])]
    reasons = [ReasonCode.GRANTED_QOS_1, ReasonCode.UNSPECIFIED_ERROR]
    assert receive(client, SubAck(identifier, reasons)) == [Subscribed(identifier, reasons)]
    identifier = client.unsubscribe(["a/#"], now=NOW)
    assert written(client) == [Unsubscribe(identifier, ["a/#"])]
    answer = UnsubAck(identifier, [ReasonCode.SUCCESS] if version == V5 else [])
    assert receive(client, answer) == [Unsubscribed(identifier, [ReasonCode.SUCCESS])]


def test_keep_alive() -> None:
    client = connected(keep_alive=20)
    assert client.deadline() == NOW + 20_000
    client.publish("a", b"", now=NOW + 5_000)  # sending alone does not show that the server is there
    client.outgoing()
    assert client.tick(NOW + 19_999) == []
    assert client.outgoing() == b""
    assert client.tick(NOW + 20_000) == []
    assert written(client) == [PingReq()]
    assert client.deadline() == NOW + 30_000
    receive(client, PingResp(), now=NOW + 21_000)
    assert client.deadline() == NOW + 40_000
    client.tick(NOW + 40_000)
    client.outgoing()
    [event] = client.tick(NOW + 50_000)
    assert isinstance(event, Disconnected)
    assert event.reason_code is ReasonCode.KEEP_ALIVE_TIMEOUT
    assert written(client) == [Disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT)]
    assert client.closing


def test_no_keep_alive() -> None:
    assert connected(keep_alive=0).deadline() is None


WRONG: list[tuple[int, Packet, ReasonCode]] = [
    (V5, ConnAck(), ReasonCode.PROTOCOL_ERROR),
    (V5, Subscribe(1, [Subscription("a")]), ReasonCode.PROTOCOL_ERROR),
    (V5, Connect("c"), ReasonCode.PROTOCOL_ERROR),
    (V5, PingReq(), ReasonCode.PROTOCOL_ERROR),
    (V5, Auth(), ReasonCode.PROTOCOL_ERROR),
    (V5, SubAck(9, [ReasonCode.SUCCESS]), ReasonCode.PROTOCOL_ERROR),
    (V5, UnsubAck(9, [ReasonCode.SUCCESS]), ReasonCode.PROTOCOL_ERROR),
    (V5, Publish(b"a", properties=Properties(topic_alias=1)), ReasonCode.TOPIC_ALIAS_INVALID),
    (V311, Disconnect(), ReasonCode.PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("version", "packet", "reason_code"), WRONG)
def test_what_a_server_must_not_send(version: int, packet: Packet, reason_code: ReasonCode) -> None:
    client = connected(version)
    events = receive(client, Publish(b"a", b"before"), packet, Publish(b"a", b"after"))
    assert isinstance(events[0], MessageReceived)
    assert isinstance(events[1], Disconnected)
    assert events[1].reason_code is reason_code
    assert len(events) == 2
    assert client.closing
    assert written(client) == ([Disconnect(reason_code)] if version == V5 else [])
    assert client.receive(b"more", NOW) == []
    assert client.closed(NOW) == []


def test_acknowledgements_of_the_wrong_kind() -> None:
    for qos, answer in ((1, PubRec(1)), (2, PubAck(1))):
        client = connected()
        client.publish("a", b"", qos, now=NOW)
        assert isinstance(receive(client, answer)[0], Disconnected)


def test_far_more_on_the_way_than_our_receive_maximum() -> None:
    client = connected(receive_maximum=2, manual_acknowledgement=True)
    events = receive(client, *[Publish(b"a", b"", 1, packet_identifier=number) for number in range(1, 7)])
    assert [type(event) for event in events] == [MessageReceived] * 5 + [Disconnected]
    assert isinstance(events[-1], Disconnected)
    assert events[-1].reason_code is ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


@given(st.lists(st.binary(max_size=30), max_size=5), st.sampled_from([V311, V5]))
def test_any_bytes_of_a_server_are_events_at_worst(chunks: list[bytes], version: int) -> None:
    client = connected(version, topic_alias_maximum=5)
    client.publish("a", b"", 2, now=NOW)
    for chunk in chunks:
        events = client.receive(chunk, NOW)
        assert client.closing or not any(isinstance(event, Disconnected) for event in events)
    client.outgoing()
    assert len(client.closed(NOW)) <= 1


def test_something_else_before_connack() -> None:
    client = Client(ClientConfig())
    client.connect(NOW)
    assert isinstance(receive(client, Publish(b"a"))[0], Disconnected)
    assert [type(packet) for packet in written(client)] == [Connect]  # no DISCONNECT before CONNACK


def test_session_present_after_a_clean_start() -> None:
    client = Client(ClientConfig())
    client.connect(NOW)
    assert isinstance(receive(client, ConnAck(True))[0], Disconnected)


def test_the_server_disconnects() -> None:
    client = connected()
    [event] = receive(client, Disconnect(ReasonCode.SERVER_SHUTTING_DOWN))
    assert isinstance(event, Disconnected)
    assert event.reason_code is ReasonCode.SERVER_SHUTTING_DOWN
    assert client.closing


def test_disconnect_and_closed() -> None:
    client = connected()
    client.disconnect(NOW)
    assert written(client) == [Disconnect()]
    assert client.closing
    assert client.closed(NOW) == []
    client = connected()
    assert isinstance(client.closed(NOW)[0], Disconnected)
    assert client.closed(NOW) == []


def test_identifiers_run_out_and_come_back() -> None:
    client = connected(send_maximum=65_535)
    for _ in range(65_535):
        client.publish(b"a", b"", 1, now=NOW)
    with pytest.raises(QueueFull):
        client.publish(b"a", b"", 1, now=NOW)
    receive(client, PubAck(500))
    assert client.publish(b"a", b"", 1, now=NOW) == 500


@pytest.mark.parametrize(
    ("session_present", "late_ms", "remains"), [(True, 0, 30), (True, 9_001, 21), (False, 29_999, 1)]
)
def test_a_lifetime_counts_down_while_a_message_waits(session_present: bool, late_ms: int, remains: int) -> None:
    """For a window, or on the way when the link was cut [MQTT-3.3.2-6]: it is not worth more for having waited."""
    connack = ConnAck(properties=Properties(receive_maximum=1))
    client = connected(connack=connack, session_expiry_interval=60)
    lives = Properties(message_expiry_interval=30, content_type="text/plain")
    for topic in ("sent", "waiting"):
        client.publish(topic, b"x", 1, properties=lives, now=NOW)
    client.publish("lasting", b"x", 1, now=NOW)
    client.outgoing()
    reconnect(client, session_present, NOW + late_ms)
    packets = [packet for packet in written(client) if isinstance(packet, Publish)]
    assert [packet.properties.message_expiry_interval for packet in packets] == [remains, remains, None]
    assert packets[0].dup is session_present
    for packet in packets:
        receive(client, PubAck(packet.packet_identifier))
    assert (len(client._outbox), client._outbox._lifetimes) == (0, {})


@pytest.mark.parametrize("session_present", [True, False])
def test_what_expires_before_it_could_be_sent_is_not_sent(session_present: bool) -> None:
    """An interval of 0 would be "never" to some servers. What was sent before is repeated [MQTT-4.4.0-1]."""
    client = connected(connack=ConnAck(properties=Properties(receive_maximum=1)), session_expiry_interval=60)
    lives = Properties(message_expiry_interval=30)
    sent, waiting = (client.publish(topic, b"x", 1, properties=lives, now=NOW) for topic in ("sent", "waiting"))
    client.outgoing()
    events = reconnect(client, session_present, NOW + 60_000)
    packets = [packet for packet in written(client) if isinstance(packet, Publish)]
    expired = [event for event in events if isinstance(event, Expired)]
    if session_present:
        assert [(p.packet_identifier, p.dup, p.properties.message_expiry_interval) for p in packets] == [
            (sent, True, 1)
        ]
        assert expired == [Expired(waiting)]
        receive(client, PubAck(sent))
    else:
        assert packets == []
        assert expired == [Expired(sent), Expired(waiting)]
    assert (client.unsettled, client.held_bytes) == (0, 0)
