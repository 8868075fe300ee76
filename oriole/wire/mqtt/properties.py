"""The properties of MQTT 5.0 (§2.2.2): one line each says name, type, identifier, limits and which packets carry it.

A `Properties` holds only what is present, in the order it came, so that the usual one, with nothing in it, is cheap.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Self, TypeVar, overload

from oriole.wire.mqtt import fields
from oriole.wire.mqtt.errors import MalformedPacket, ProtocolError
from oriole.wire.mqtt.packet_type import PacketType
from oriole.wire.mqtt.reason_codes import ReasonCode

Value = TypeVar("Value")


class Encoding(Generic[Value]):
    """How a value is read and written."""

    __slots__ = ("decode", "encode")

    def __init__(self, decode: Callable[[bytes, int], tuple[Value, int]], encode: Callable[[Value], bytes]) -> None:
        self.decode = decode
        self.encode = encode


BYTE: Final = Encoding(fields.decode_byte, fields.encode_byte)
TWO_BYTES: Final = Encoding(fields.decode_two_bytes, fields.encode_two_bytes)
FOUR_BYTES: Final = Encoding(fields.decode_four_bytes, fields.encode_four_bytes)
VARIABLE: Final = Encoding(fields.decode_variable_byte_integer, fields.encode_variable_byte_integer)
BINARY: Final = Encoding(fields.decode_binary, fields.encode_binary)
STRING: Final = Encoding(fields.decode_string, fields.encode_string)
STRING_PAIR: Final = Encoding(fields.decode_string_pair, fields.encode_string_pair)


class Declaration(Generic[Value]):
    """What the specification says about a property."""

    __slots__ = ("carriers", "encoding", "identifier", "maximum", "minimum", "name", "wrong")

    def __init__(
        self,
        identifier: int,
        encoding: Encoding[Value],
        *carriers: PacketType,
        minimum: int = 0,
        maximum: int = 0xFFFF_FFFF,
        wrong: ReasonCode = ReasonCode.PROTOCOL_ERROR,
    ) -> None:
        self.identifier = identifier
        self.encoding = encoding
        self.carriers = carriers
        self.minimum, self.maximum, self.wrong = minimum, maximum, wrong
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def check(self, value: Value) -> None:
        """Raise ProtocolError for a number that the encoding can say but the property must not have."""
        if isinstance(value, int) and not self.minimum <= value <= self.maximum:
            raise ProtocolError(f"{self.name} is {self.minimum} to {self.maximum}, not {value}", self.wrong)

    def add(self, present: dict[str, Any], value: Value) -> None:
        """Take one more value from the wire; raises ProtocolError when it is one too many."""
        raise NotImplementedError

    def values(self, present: dict[str, Any]) -> Sequence[Value]:
        """What to put on the wire."""
        raise NotImplementedError


class Property(Declaration[Value]):
    """A property that a packet has at most once: None when absent, removed by assigning None."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: "Properties", owner: type) -> Value | None: ...
    def __get__(self, instance: "Properties | None", owner: type) -> Any:
        return self if instance is None else instance.present.get(self.name)

    def __set__(self, instance: "Properties", value: Value | None) -> None:
        if value is None:
            instance.present.pop(self.name, None)
        else:
            instance.present[self.name] = value

    def add(self, present: dict[str, Any], value: Value) -> None:
        """The first is the only one."""
        if self.name in present:
            raise ProtocolError(f"{self.name} is there twice")
        present[self.name] = value

    def values(self, present: dict[str, Any]) -> Sequence[Value]:
        """The one."""
        return (present[self.name],)


class RepeatedProperty(Declaration[Value]):
    """A property that may be there more than once, in order: empty when absent, assigned whole."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: "Properties", owner: type) -> Sequence[Value]: ...
    def __get__(self, instance: "Properties | None", owner: type) -> Any:
        return self if instance is None else instance.present.get(self.name, ())

    def __set__(self, instance: "Properties", value: Sequence[Value]) -> None:
        if value:
            instance.present[self.name] = list(value)
        else:
            instance.present.pop(self.name, None)

    def add(self, present: dict[str, Any], value: Value) -> None:
        """Never too many: the packet's size is the limit."""
        present.setdefault(self.name, []).append(value)

    def values(self, present: dict[str, Any]) -> Sequence[Value]:
        """All of them."""
        values: Sequence[Value] = present[self.name]
        return values


_WILL, _CONNECT, _CONNACK, _PUBLISH = PacketType.WILL, PacketType.CONNECT, PacketType.CONNACK, PacketType.PUBLISH
_SUBSCRIBE, _UNSUBSCRIBE = PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE
_DISCONNECT, _AUTH = PacketType.DISCONNECT, PacketType.AUTH
_ACKS = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)
_OUTCOMES = (_CONNACK, *_ACKS, PacketType.SUBACK, PacketType.UNSUBACK, _DISCONNECT, _AUTH)
_MESSAGE = (_PUBLISH, _WILL)


class Properties:
    """The properties of one packet. The constructor takes them by name; unknown names raise TypeError.

    Numbers that say yes or no are 0 or 1, intervals are seconds, as on the wire.
    """

    __slots__ = ("present",)

    payload_format_indicator = Property(0x01, BYTE, *_MESSAGE, maximum=1)
    message_expiry_interval = Property(0x02, FOUR_BYTES, *_MESSAGE)
    content_type = Property(0x03, STRING, *_MESSAGE)
    response_topic = Property(0x08, STRING, *_MESSAGE)
    correlation_data = Property(0x09, BINARY, *_MESSAGE)
    subscription_identifier = RepeatedProperty(
        0x0B, VARIABLE, _PUBLISH, _SUBSCRIBE, minimum=1, maximum=fields.MAX_VARIABLE_BYTE_INTEGER
    )
    session_expiry_interval = Property(0x11, FOUR_BYTES, _CONNECT, _CONNACK, _DISCONNECT)
    assigned_client_identifier = Property(0x12, STRING, _CONNACK)
    server_keep_alive = Property(0x13, TWO_BYTES, _CONNACK)
    authentication_method = Property(0x15, STRING, _CONNECT, _CONNACK, _AUTH)
    authentication_data = Property(0x16, BINARY, _CONNECT, _CONNACK, _AUTH)
    request_problem_information = Property(0x17, BYTE, _CONNECT, maximum=1)
    will_delay_interval = Property(0x18, FOUR_BYTES, _WILL)
    request_response_information = Property(0x19, BYTE, _CONNECT, maximum=1)
    response_information = Property(0x1A, STRING, _CONNACK)
    server_reference = Property(0x1C, STRING, _CONNACK, _DISCONNECT)
    reason_string = Property(0x1F, STRING, *_OUTCOMES)
    receive_maximum = Property(0x21, TWO_BYTES, _CONNECT, _CONNACK, minimum=1)
    topic_alias_maximum = Property(0x22, TWO_BYTES, _CONNECT, _CONNACK)
    topic_alias = Property(0x23, TWO_BYTES, _PUBLISH, minimum=1, wrong=ReasonCode.TOPIC_ALIAS_INVALID)
    maximum_qos = Property(0x24, BYTE, _CONNACK, maximum=1)
    retain_available = Property(0x25, BYTE, _CONNACK, maximum=1)
    user_property = RepeatedProperty(0x26, STRING_PAIR, _CONNECT, *_MESSAGE, _SUBSCRIBE, _UNSUBSCRIBE, *_OUTCOMES)
    maximum_packet_size = Property(0x27, FOUR_BYTES, _CONNECT, _CONNACK, minimum=1)
    wildcard_subscription_available = Property(0x28, BYTE, _CONNACK, maximum=1)
    subscription_identifier_available = Property(0x29, BYTE, _CONNACK, maximum=1)
    shared_subscription_available = Property(0x2A, BYTE, _CONNACK, maximum=1)

    def __init__(self, **values: Any) -> None:
        self.present: dict[str, Any] = {}
        if values:
            for name, value in values.items():
                if name not in PROPERTIES:
                    raise TypeError(f"{name!r} is no property of MQTT 5.0")
                setattr(self, name, value)

    def __bool__(self) -> bool:
        return bool(self.present)

    def __eq__(self, other: object) -> bool:
        return self.present == other.present if isinstance(other, Properties) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Properties({', '.join(f'{name}={value!r}' for name, value in self.present.items())})"

    def copy(self) -> "Properties":
        """One that can be changed without changing this one."""
        twin = Properties()
        for name, value in self.present.items():
            twin.present[name] = value[:] if isinstance(value, list) else value
        return twin


PROPERTIES: Final[dict[str, Declaration[Any]]] = {
    name: declared for name, declared in vars(Properties).items() if isinstance(declared, Declaration)
}
"""Every property by its name."""

_BY_IDENTIFIER: Final = {
    packet_type: {declared.identifier: declared for declared in PROPERTIES.values() if packet_type in declared.carriers}
    for packet_type in PacketType
}


def decode_properties(data: bytes, position: int, packet_type: PacketType) -> tuple[Properties, int]:
    """The property block at `position` (§2.2.2) as carried by `packet_type`, and where it ends.

    Raises MalformedPacket for what cannot be read, ProtocolError for a property that `packet_type` does not carry, one
    that is there twice, or a value that is not allowed.
    """
    properties = Properties()
    if data[position : position + 1] == b"\0":  # what nearly every packet has
        return properties, position + 1
    length, position = fields.decode_variable_byte_integer(data, position)
    end = position + length
    if end > len(data):
        raise MalformedPacket("the property length is larger than what is left of the packet")
    block = data[:end]  # so that no value reads beyond it
    declared_here = _BY_IDENTIFIER[packet_type]
    present = properties.present
    while position < end:
        declared = declared_here.get(block[position])
        if declared is None:
            raise ProtocolError(f"{packet_type.name} does not carry property 0x{block[position]:02x}")
        value, position = declared.encoding.decode(block, position + 1)
        declared.check(value)
        declared.add(present, value)
    _check_together(properties, packet_type)
    return properties, end


def encode_properties(properties: Properties, packet_type: PacketType | None = None) -> bytes:
    """The property block with its length. Raises ValueError when `packet_type` does not carry one of them."""
    if not properties.present:
        return b"\0"
    pieces: list[bytes] = []
    for name in properties.present:
        declared = PROPERTIES[name]
        if packet_type is not None and packet_type not in declared.carriers:
            raise ValueError(f"{packet_type.name} does not carry {name}")
        for value in declared.values(properties.present):
            pieces += bytes((declared.identifier,)), declared.encoding.encode(value)
    block = b"".join(pieces)
    return fields.encode_variable_byte_integer(len(block)) + block


def _check_together(properties: Properties, packet_type: PacketType) -> None:
    present = properties.present
    if packet_type is _SUBSCRIBE and len(present.get("subscription_identifier", ())) > 1:
        raise ProtocolError("subscription_identifier is there twice")  # §3.8.2.1.2
    if "authentication_data" in present and "authentication_method" not in present:
        raise ProtocolError("authentication_data without authentication_method")  # §3.1.2.11.10
    topic = present.get("response_topic")
    if topic is not None and ("+" in topic or "#" in topic or not topic):
        raise ProtocolError("response_topic is no topic name")  # [MQTT-3.3.2-14]
