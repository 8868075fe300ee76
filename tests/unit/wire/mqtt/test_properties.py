"""The table of properties: against the specification's counts, against paho's table, and as an object."""

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from oriole.wire.mqtt import PacketType, Properties, ProtocolError, decode_properties, encode_properties
from oriole.wire.mqtt import properties as declared

SAMPLES = {
    declared.BYTE: 1,
    declared.TWO_BYTES: 515,
    declared.FOUR_BYTES: 70_000,
    declared.VARIABLE: 16_384,
    declared.BINARY: b"\x00\xff",
    declared.STRING: "grün",
    declared.STRING_PAIR: ("k", "v"),
}
EVERY_PLACE = [(name, packet_type) for name, one in declared.PROPERTIES.items() for packet_type in sorted(one.carriers)]


def paho_type(packet_type: PacketType) -> int:
    return PacketTypes.WILLMESSAGE if packet_type is PacketType.WILL else int(packet_type)


@pytest.mark.parametrize(("name", "packet_type"), EVERY_PLACE)
def test_paho_writes_and_reads_the_same(name: str, packet_type: PacketType) -> None:
    sample = SAMPLES[declared.PROPERTIES[name].encoding]
    repeated = isinstance(declared.PROPERTIES[name], declared.RepeatedProperty)
    ours = Properties(**{name: [sample] if repeated else sample})
    theirs = PahoProperties(paho_type(packet_type))
    setattr(theirs, "".join(word.capitalize() for word in name.split("_")).replace("Qos", "QoS"), sample)
    if name == "authentication_data":
        ours.authentication_method = theirs.AuthenticationMethod = "m"
    packed = theirs.pack()
    assert decode_properties(packed, 0, packet_type) == (ours, len(packed))
    assert sorted(encode_properties(ours, packet_type)) == sorted(packed)  # paho has an order of its own


def test_the_table_is_paho_s() -> None:
    table = {
        (identifier, carrier)
        for identifier, (_, carriers) in PahoProperties(PacketTypes.CONNECT).properties.items()
        for carrier in carriers
    }
    assert len(declared.PROPERTIES) == 27
    assert {(one.identifier, paho_type(on)) for one in declared.PROPERTIES.values() for on in one.carriers} == table


def test_absent_is_none_or_empty() -> None:
    properties = Properties()
    assert properties.session_expiry_interval is None
    assert list(properties.user_property) == []
    assert not properties
    assert encode_properties(properties) == b"\0"


def test_assigning_none_or_nothing_removes() -> None:
    properties = Properties(topic_alias=3, user_property=[("a", "b")])
    assert properties
    properties.topic_alias = None
    properties.user_property = []
    assert not properties
    assert properties == Properties(topic_alias=None)


def test_a_copy_is_another() -> None:
    properties = Properties(user_property=[("a", "b")], content_type="x")
    twin = properties.copy()
    assert twin == properties
    twin.content_type = "y"
    twin.present["user_property"].append(("c", "d"))
    assert properties == Properties(user_property=[("a", "b")], content_type="x")


def test_order_and_repetition_of_user_properties_are_kept() -> None:
    """[MQTT-3.1.3-10]"""
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", "")]
    encoded = encode_properties(Properties(user_property=pairs))
    assert decode_properties(encoded, 0, PacketType.PUBLISH)[0].user_property == pairs


def test_unknown_names_and_wrong_places_are_our_errors() -> None:
    with pytest.raises(TypeError, match="topic_allias"):
        Properties(topic_allias=3)
    with pytest.raises(ValueError, match="PUBACK does not carry topic_alias"):
        encode_properties(Properties(topic_alias=3), PacketType.PUBACK)


def test_every_property_but_two_is_refused_when_there_twice() -> None:
    for name, one in declared.PROPERTIES.items():
        for carrier in one.carriers:
            if isinstance(one, declared.RepeatedProperty):
                continue
            block = bytes((one.identifier,)) + one.encoding.encode(SAMPLES[one.encoding])
            encoded = bytes((2 * len(block),)) + block * 2
            with pytest.raises(ProtocolError, match=f"{name} is there twice"):
                decode_properties(encoded, 0, carrier)
