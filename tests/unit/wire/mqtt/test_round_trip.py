"""Properties of the codec: what is encoded decodes to itself; any bytes decode or raise the one documented error."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oriole.wire.mqtt import (
    V5,
    V311,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PacketType,
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
    Will,
    decode,
    encode,
)
from oriole.wire.mqtt import properties as declared
from oriole.wire.mqtt.reason_codes import CONNECT_RETURN_CODES, REASON_CODES, SUBACK_3_1_1

text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
binary = st.binary(max_size=20)
topic = st.text(st.characters(exclude_characters="\0+#", exclude_categories=("Cs",)), min_size=1, max_size=20)
topic_bytes = topic.map(str.encode)
topic_filter = st.sampled_from(["a", "+/b", "a/#", "#", "$share/g/a"])
identifiers = st.integers(1, 65_535)
qos = st.integers(0, 2)


def values(declaration: declared.Declaration[Any]) -> st.SearchStrategy[Any]:
    largest = {
        declared.BYTE: 0xFF,
        declared.TWO_BYTES: 0xFFFF,
        declared.FOUR_BYTES: 0xFFFF_FFFF,
        declared.VARIABLE: 268_435_455,
    }.get(declaration.encoding)
    if largest is not None:
        one: st.SearchStrategy[Any] = st.integers(declaration.minimum, min(declaration.maximum, largest))
    elif declaration.name == "response_topic":
        one = topic
    else:
        one = {declared.BINARY: binary, declared.STRING: text, declared.STRING_PAIR: st.tuples(text, text)}[
            declaration.encoding
        ]
    if not isinstance(declaration, declared.RepeatedProperty):
        return one
    return st.lists(one, min_size=1, max_size=3)


@st.composite
def properties(draw: st.DrawFn, packet_type: PacketType, version: int = V5) -> Properties:
    carried = [one for one in declared.PROPERTIES.values() if packet_type in one.carriers]
    present = draw(st.lists(st.sampled_from(carried), unique=True, max_size=4)) if version == V5 else []
    drawn = Properties(**{one.name: draw(values(one)) for one in present})
    if packet_type is PacketType.SUBSCRIBE:
        drawn.subscription_identifier = drawn.subscription_identifier[:1]
    if drawn.authentication_data is not None:
        drawn.authentication_method = "method"
    return drawn


@st.composite
def packets(draw: st.DrawFn, version: int) -> Packet:
    def reasons(packet_type: PacketType) -> st.SearchStrategy[ReasonCode]:
        return st.sampled_from(list(REASON_CODES[packet_type].values()))

    def ack(make: Any, packet_type: PacketType) -> st.SearchStrategy[Packet]:
        if version == V311:
            return st.builds(make, identifiers)
        return st.builds(make, identifiers, reasons(packet_type), properties(packet_type))

    def some(packet_type: PacketType) -> st.SearchStrategy[Properties]:
        return properties(packet_type, version)

    options = (st.booleans(), st.booleans(), qos) if version == V5 else ()
    subscription = st.builds(Subscription, topic_filter, qos, *options).filter(
        lambda one: not (one.no_local and one.topic_filter.startswith("$share"))
    )
    will = st.builds(Will, topic_bytes, binary, qos, st.booleans(), some(PacketType.WILL))
    publish = st.builds(Publish, topic_bytes, binary, qos, st.booleans(), properties=some(PacketType.PUBLISH))
    kinds: list[st.SearchStrategy[Packet]] = [
        publish.map(lambda one: _with_identifier(one, draw(identifiers), draw(st.booleans()))),
        ack(PubAck, PacketType.PUBACK),
        ack(PubRec, PacketType.PUBREC),
        ack(PubRel, PacketType.PUBREL),
        ack(PubComp, PacketType.PUBCOMP),
        st.builds(Subscribe, identifiers, st.lists(subscription, min_size=1, max_size=3), some(PacketType.SUBSCRIBE)),
        st.builds(Unsubscribe, identifiers, st.lists(topic_filter, min_size=1), some(PacketType.UNSUBSCRIBE)),
    ]
    if version == V5:
        username = st.none() | text
        connack_reason = reasons(PacketType.CONNACK)
        suback_reason = reasons(PacketType.SUBACK)
        kinds += [
            st.builds(Disconnect, reasons(PacketType.DISCONNECT), properties(PacketType.DISCONNECT)),
            st.builds(Auth, reasons(PacketType.AUTH), properties(PacketType.AUTH)),
            st.builds(
                UnsubAck,
                identifiers,
                st.lists(reasons(PacketType.UNSUBACK), min_size=1),
                properties(PacketType.UNSUBACK),
            ),
        ]
    else:
        username = text
        connack_reason = st.sampled_from(list(CONNECT_RETURN_CODES))
        suback_reason = st.sampled_from(list(SUBACK_3_1_1.values()))
        kinds += [st.builds(UnsubAck, identifiers), st.just(Disconnect())]
    kinds += [
        st.builds(
            Connect,
            text,
            st.just(version),
            st.booleans(),
            st.integers(0, 65_535),
            username,
            st.none() | binary,
            st.none() | will,
            some(PacketType.CONNECT),
        ),
        st.builds(ConnAck, st.just(False), connack_reason, some(PacketType.CONNACK)),
        st.builds(SubAck, identifiers, st.lists(suback_reason, min_size=1), some(PacketType.SUBACK)),
    ]
    return draw(st.one_of(kinds))


def _with_identifier(publish: Publish, identifier: int, dup: bool) -> Publish:
    if publish.qos:
        publish.packet_identifier, publish.dup = identifier, dup
    return publish


@given(st.sampled_from([V311, V5]).flatmap(lambda version: st.tuples(st.just(version), packets(version))))
@settings(max_examples=100)
def test_round_trip(drawn: tuple[int, Packet]) -> None:
    version, packet = drawn
    [(first, body)] = Splitter().split(encode(packet, version))
    assert decode(first, body, version) == packet


@given(st.integers(0x10, 0xFF), st.binary(max_size=80), st.sampled_from([V311, V5]))
@settings(max_examples=500)
def test_any_bytes_decode_or_raise_the_one_error(first: int, body: bytes, version: int) -> None:
    try:
        packet = decode(first, body, version)
    except MqttError:
        return
    assert decode(*next(iter(Splitter().split(encode(packet, version)))), version) == packet


@given(packets(V5), st.data())
@settings(max_examples=100)
def test_a_packet_with_a_changed_byte_decodes_or_raises_the_one_error(packet: Packet, data: st.DataObject) -> None:
    """Nearer to the edge than random bytes: most of the structure is right."""
    encoded = bytearray(encode(packet, V5))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        for first, body in Splitter().split(bytes(encoded)):
            decode(first, body, V5)
    except MqttError:
        pass


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_stream_splits_or_raises_the_one_error(chunks: list[bytes]) -> None:
    splitter = Splitter(max_packet_bytes=64)
    try:
        for chunk in chunks:
            assert all(len(body) < 64 for _, body in splitter.split(chunk))
    except MqttError:
        pass
