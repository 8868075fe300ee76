"""What a server has said in its CONNACK that it does not take."""

from oriole.wire.mqtt import Properties, ReasonCode


class PublishRefused(ValueError):  # noqa: N818 - the protocol's word
    """The server takes no such message; `reason_code` is what it would answer."""

    def __init__(self, reason_code: ReasonCode) -> None:
        super().__init__(f"the server takes no such message: {reason_code.name.lower().replace('_', ' ')}")
        self.reason_code = reason_code


def excluded(packet: bytes, connack: Properties) -> ReasonCode | None:
    """Why this PUBLISH must not be sent; None when it may. [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15]"""
    if not connack:
        return None
    if connack.maximum_packet_size is not None and len(packet) > connack.maximum_packet_size:
        return ReasonCode.PACKET_TOO_LARGE
    if connack.maximum_qos is not None and (packet[0] >> 1) & 3 > connack.maximum_qos:
        return ReasonCode.QOS_NOT_SUPPORTED
    if connack.retain_available == 0 and packet[0] & 1:
        return ReasonCode.RETAIN_NOT_SUPPORTED
    return None
