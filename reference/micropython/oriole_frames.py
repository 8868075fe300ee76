"""The frames of an Oriole serial line, for MicroPython: docs/serial.md, "A frame", and docs/serial.cddl.

Bytes here, what they are for in oriole_serial.py. The CBOR is what frames need of it: whole numbers, byte strings, text
and flags. docs/serial-vectors.json, and serial-vectors.h for C, say what must come out.
"""

try:
    from binascii import crc32
except ImportError:  # a small port

    def crc32(data):
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
        return crc ^ 0xFFFFFFFF


HELLO, WELCOME, BYE, PING, ACK, NAK, ERROR, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DELIVER, SKIP = range(1, 13)
UNREADABLE = 0  # stands for the type of a frame that came whole and cannot be read

# The fields behind type and sequence number: u(int), b(ytes), t(ext), f(lag); a capital one may be left out.
_FIELDS = {
    HELLO: "ubbuuuutT",
    WELCOME: "ubbuuuutT",
    BYE: "uT",
    PING: "",
    ACK: "uuu",
    NAK: "uuu",
    ERROR: "uuT",
    PUBLISH: "tbF",
    SUBSCRIBE: "tU",
    UNSUBSCRIBE: "t",
    DELIVER: "tbF",
    SKIP: "",
}
_LEFT_OUT = {"T": "", "F": False, "U": 1}
_MAJOR = {"u": 0, "b": 2, "t": 3}


def encode_frame(kind, number, *fields):
    """The frame as it goes on the line, with the zero that ends it."""
    body = _head(0, kind) + _head(0, number)
    for index, letter in enumerate(_FIELDS[kind].lower()):
        value = fields[index]
        if letter == "f":
            body += b"\xf5" if value else b"\xf4"
        elif letter == "u":
            body += _head(0, value)
        else:
            data = value.encode() if letter == "t" else value
            body += _head(_MAJOR[letter], len(data)) + data
    return cobs_encode(body + crc32(body).to_bytes(4, "big")) + b"\0"


def decode_frame(chunk):
    """What is between two zeros: [type, sequence number, fields ...], or None when it is noise."""
    content = cobs_decode(chunk)
    body, crc = content[:-4], content[-4:]
    if not body or crc32(body) != int.from_bytes(crc, "big"):
        return None
    number = 0
    try:
        kind, at = _take("u", body, 0)
        number, at = _take("u", body, at)
        frame = [kind, number]
        for letter in _FIELDS[kind]:
            if at == len(body) and letter in _LEFT_OUT:
                value = _LEFT_OUT[letter]
            else:
                value, at = _take(letter.lower(), body, at)
            frame.append(value)
    except (IndexError, KeyError, ValueError):
        return [UNREADABLE, number]
    return [UNREADABLE, number] if number and kind < ERROR else frame


def cobs_encode(data):
    """`data` in blocks that have no zeros and begin with their length."""
    out = bytearray(1)
    start = 0
    for byte in data:
        if len(out) - start == 255:  # a full block: no zero is meant behind it
            start = _next_block(out, start)
        if byte:
            out.append(byte)
        else:
            start = _next_block(out, start)
    out[start] = len(out) - start
    return bytes(out)


def _next_block(out, start):
    out[start] = len(out) - start
    out.append(0)
    return len(out) - 1


def cobs_decode(data):
    """What `cobs_encode` was given; empty when a block is cut."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if len(block) != code - 1:
            return b""
        out += block
        at += code
        if code < 255 and at < len(data):
            out.append(0)
    return bytes(out)


def _head(major, n):
    """The beginning of a CBOR item, in its shortest form."""
    if n < 24:
        return bytes((major << 5 | n,))
    size, info = 1, 24
    while n >> 8 * size:
        size, info = 2 * size, info + 1
    return bytes((major << 5 | info,)) + n.to_bytes(size, "big")


def _take(letter, body, at):
    """The CBOR item at `at`, which must be one of this kind, and where the next one begins."""
    first = body[at]
    at += 1
    if letter == "f" and first in (0xF4, 0xF5):
        return first == 0xF5, at
    n = first & 31
    if first >> 5 != _MAJOR.get(letter) or n > 27:
        raise ValueError
    if n >= 24:
        start = at
        at += 1 << n - 24
        n = int.from_bytes(body[start:at], "big")
    end = at if letter == "u" else at + n
    if end > len(body):
        raise ValueError
    if letter == "u":
        return n, end
    return str(body[at:end], "utf-8") if letter == "t" else body[at:end], end
