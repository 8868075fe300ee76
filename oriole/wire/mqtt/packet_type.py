"""The number in the first four bits of every packet (MQTT 5.0 §2.1.2), and the versions spoken."""

from enum import IntEnum
from typing import Final

V311: Final = 4
"""Protocol version of MQTT 3.1.1, as on the wire."""

V5: Final = 5
"""Protocol version of MQTT 5.0, as on the wire."""


class PacketType(IntEnum):
    """Packet types; WILL is no packet, but its properties have rules of their own (§3.1.3.2)."""

    WILL = 0
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15
