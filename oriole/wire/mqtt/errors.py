"""What a peer can do wrong. Decoding raises nothing else, and the shell turns it into a packet in one place."""

from oriole.wire.mqtt.packet_type import V5, V311
from oriole.wire.mqtt.reason_codes import ReasonCode


class MqttError(Exception):
    """The peer broke a rule: the connection closes with `reason_code` (MQTT 5.0 §4.13)."""

    def __init__(self, reason_code: ReasonCode, text: str = "") -> None:
        super().__init__(text or reason_code.name.lower().replace("_", " "))
        self.reason_code = reason_code


class MalformedPacket(MqttError):  # noqa: N818 - the specification's word
    """The bytes cannot be parsed by the specification."""

    def __init__(self, text: str = "") -> None:
        super().__init__(ReasonCode.MALFORMED_PACKET, text)


class ProtocolError(MqttError):
    """Well formed, but not allowed, or not allowed here."""

    def __init__(self, text: str = "", reason_code: ReasonCode = ReasonCode.PROTOCOL_ERROR) -> None:
        super().__init__(reason_code, text)


class UnsupportedVersion(MqttError):  # noqa: N818
    """A CONNECT in a version that is not spoken; `answer_version` is the one that its sender can read a CONNACK in."""

    def __init__(self, version: int) -> None:
        super().__init__(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, f"protocol version {version} is not spoken")
        self.answer_version = V5 if version > V5 else V311
