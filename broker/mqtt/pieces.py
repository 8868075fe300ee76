"""Ready-made bytes: the pieces that packets of exchanges are put together from."""

PACKET_IDENTIFIERS = [bytes((high, low)) for high in range(256) for low in range(256)]

# The first two bytes of acknowledgements in their shortest form, which a packet identifier follows.
PUBACK = b"\x40\x02"
PUBREC = b"\x50\x02"
PUBREL = b"\x62\x02"
PUBCOMP = b"\x70\x02"

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
