"""The data types that packets are made of (MQTT 5.0 §1.5).

`decode_*(data, position)` returns the value and the position after it, or raises MalformedPacket: no length is
believed before it is checked against the data. `encode_*` raises ValueError for a value that the type cannot hold.
"""

from typing import Final

from oriole.wire.mqtt.errors import MalformedPacket

MAX_VARIABLE_BYTE_INTEGER: Final = 268_435_455
MAX_STRING_BYTES: Final = 65_535


def decode_byte(data: bytes, position: int) -> tuple[int, int]:
    """§1.5.1, eight bits."""
    if position >= len(data):
        raise MalformedPacket("a byte is missing")
    return data[position], position + 1


def decode_two_bytes(data: bytes, position: int) -> tuple[int, int]:
    """§1.5.2, big-endian."""
    end = position + 2
    if end > len(data):
        raise MalformedPacket("a two byte integer is cut short")
    return (data[position] << 8) | data[position + 1], end


def decode_four_bytes(data: bytes, position: int) -> tuple[int, int]:
    """§1.5.3, big-endian."""
    end = position + 4
    if end > len(data):
        raise MalformedPacket("a four byte integer is cut short")
    return int.from_bytes(data[position:end], "big"), end


def decode_variable_byte_integer(data: bytes, position: int) -> tuple[int, int]:
    """§1.5.5: seven bits a byte, least significant first, at most four bytes and no more than needed. [MQTT-1.5.5-1]"""
    value = 0
    for shift in (0, 7, 14, 21):
        if position >= len(data):
            raise MalformedPacket("a variable byte integer is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if shift and not byte:
                raise MalformedPacket("a variable byte integer is longer than needed")
            return value, position
    raise MalformedPacket("a variable byte integer has more than four bytes")


def decode_binary(data: bytes, position: int) -> tuple[bytes, int]:
    """§1.5.6: a two byte length, then so many bytes."""
    start = position + 2
    if start > len(data):
        raise MalformedPacket("a length is cut short")
    end = start + ((data[position] << 8) | data[position + 1])
    if end > len(data):
        raise MalformedPacket("a length is larger than what is left of the packet")
    return data[start:end], end


def decode_string(data: bytes, position: int) -> tuple[str, int]:
    """§1.5.4: UTF-8 without U+0000 and surrogates; U+FEFF is a character like others. [MQTT-1.5.4-1] to -3"""
    raw, end = decode_binary(data, position)
    if b"\0" in raw:
        raise MalformedPacket("a string has a null character")
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise MalformedPacket(f"a string is not UTF-8: {error.reason}") from None


def decode_string_pair(data: bytes, position: int) -> tuple[tuple[str, str], int]:
    """§1.5.7: a name and a value."""
    name, position = decode_string(data, position)
    value, position = decode_string(data, position)
    return (name, value), position


def encode_byte(value: int) -> bytes:
    """§1.5.1."""
    return bytes((value,))


def encode_two_bytes(value: int) -> bytes:
    """§1.5.2."""
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"{value} does not fit into two bytes")
    return value.to_bytes(2, "big")


def encode_four_bytes(value: int) -> bytes:
    """§1.5.3."""
    if not 0 <= value <= 0xFFFF_FFFF:
        raise ValueError(f"{value} does not fit into four bytes")
    return value.to_bytes(4, "big")


def encode_variable_byte_integer(value: int) -> bytes:
    """§1.5.5."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= MAX_VARIABLE_BYTE_INTEGER:
        raise ValueError(f"{value} does not fit into a variable byte integer")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_binary(value: bytes) -> bytes:
    """§1.5.6."""
    if len(value) > MAX_STRING_BYTES:
        raise ValueError(f"a field holds at most {MAX_STRING_BYTES} bytes, not {len(value)}")
    return len(value).to_bytes(2, "big") + value


def encode_string(value: str) -> bytes:
    """§1.5.4."""
    if "\0" in value:
        raise ValueError(f"a string has no null character: {value!r}")
    return encode_binary(value.encode())


def encode_string_pair(value: tuple[str, str]) -> bytes:
    """§1.5.7."""
    return encode_string(value[0]) + encode_string(value[1])
