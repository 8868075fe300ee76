"""Messages: vectors by hand from the RFCs, each also cut at every index, and random ones against aiocoap's codec."""

import pytest
from aiocoap import Message as PeerMessage
from aiocoap.message import Direction
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.coap import CoapError, Code, Message, Option, Remedy, Type, decode, dotted

TEMPERATURE = (Option.URI_PATH, b"temperature")

VECTORS = {
    "RFC 7252 figure 16, request": (
        "40017d34 bb74656d7065726174757265",
        Message(Type.CONFIRMABLE, Code.GET, 0x7D34, options=[TEMPERATURE]),
    ),
    "RFC 7252 figure 16, response": (
        "60457d34 ff 32322e332043",
        Message(Type.ACKNOWLEDGEMENT, Code.CONTENT, 0x7D34, payload=b"22.3 C"),
    ),
    "RFC 7252 figure 17, request with a token": (
        "41017d35 20 bb74656d7065726174757265",
        Message(Type.CONFIRMABLE, Code.GET, 0x7D35, b"\x20", [TEMPERATURE]),
    ),
    "RFC 7252 figure 20, empty acknowledgement": (
        "60007d38",
        Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, 0x7D38),
    ),
    "RFC 7252 figure 24, reset": ("70007d3d", Message(Type.RESET, Code.EMPTY, 0x7D3D)),
    "ping": ("40000001", Message(Type.CONFIRMABLE, Code.EMPTY, 1)),
    "RFC 7641, registration": (
        "41011234 4a 60 557374617465",
        Message(Type.CONFIRMABLE, Code.GET, 0x1234, b"\x4a", [(Option.OBSERVE, b""), (Option.URI_PATH, b"state")]),
    ),
    "token of eight bytes": (
        "58020001 0102030405060708",
        Message(Type.NON_CONFIRMABLE, Code.POST, 1, bytes(range(1, 9))),
    ),
    "option length 13, one extension byte": (
        "40010001 bd00 61616161616161616161616161",
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(Option.URI_PATH, b"a" * 13)]),
    ),
    "option length 268, the largest of one byte": (
        "40010001 3dff" + "61" * 268,
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(Option.URI_HOST, b"a" * 268)]),
    ),
    "option length 269, two extension bytes": (
        "40010001 be0000" + "61" * 269,
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(Option.URI_PATH, b"a" * 269)]),
    ),
    "option delta 13": ("40010001 d003", Message(Type.CONFIRMABLE, Code.GET, 1, options=[(Option.HOP_LIMIT, b"")])),
    "option delta 269": (
        "40010001 e1001707",
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(Option.REQUEST_TAG, b"\x07")]),
    ),
    "option number 65535": (
        "40010001 e0fef2",
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(65535, b"")]),
    ),
    "two options of one number": (
        "40010001 b161 0162",
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(Option.URI_PATH, b"a"), (Option.URI_PATH, b"b")]),
    ),
}

REFUSED = {
    "nothing": ("", Remedy.IGNORE),
    "three bytes": ("400100", Remedy.IGNORE),
    "version 0": ("00010001", Remedy.IGNORE),
    "version 2": ("80010001", Remedy.IGNORE),
    "version 3": ("c0010001", Remedy.IGNORE),
    "token length 9": ("49010001 000000000000000000", Remedy.RESET),
    "token length 15": ("4f010001" + "00" * 15, Remedy.RESET),
    "token length 9, non-confirmable": ("59010001 000000000000000000", Remedy.IGNORE),
    "token cut short": ("44010001 0000", Remedy.RESET),
    "empty message with a token": ("41000001 00", Remedy.RESET),
    "empty message with a payload": ("40000001 ff61", Remedy.RESET),
    "acknowledgement, empty with more": ("60000001 ff61", Remedy.IGNORE),
    "reset with a code": ("70450001", Remedy.IGNORE),
    "reserved class 1": ("40210001", Remedy.RESET),
    "reserved class 6": ("40c00001", Remedy.RESET),
    "signalling, over UDP": ("40e10001", Remedy.RESET),
    "payload marker without payload": ("40010001 ff", Remedy.RESET),
    "marker without payload, acknowledgement": ("60450001 ff", Remedy.IGNORE),
    "option delta 15": ("40010001 f0", Remedy.RESET),
    "option length 15": ("40010001 0f", Remedy.RESET),
    "option cut short": ("40010001 b5 74656d70", Remedy.RESET),
    "delta extension missing": ("40010001 d0", Remedy.RESET),
    "length extension cut short": ("40010001 0e01", Remedy.RESET),
    "option number above 65535": ("40010001 e0fef3", Remedy.RESET),
}


@pytest.mark.parametrize(("hexadecimal", "message"), VECTORS.values(), ids=VECTORS)
def test_a_vector_is_read_and_written(hexadecimal: str, message: Message) -> None:
    datagram = bytes.fromhex(hexadecimal)
    assert decode(datagram) == message
    assert message.encode() == datagram


@pytest.mark.parametrize(("hexadecimal", "message"), VECTORS.values(), ids=VECTORS)
def test_a_vector_cut_anywhere_is_something_else_or_refused(hexadecimal: str, message: Message) -> None:
    datagram = bytes.fromhex(hexadecimal)
    for end in range(len(datagram)):
        try:
            read = decode(datagram[:end])
        except CoapError:
            continue
        assert read != message


@pytest.mark.parametrize(("hexadecimal", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_is_refused_with_its_remedy(hexadecimal: str, remedy: Remedy) -> None:
    with pytest.raises(CoapError) as caught:
        decode(bytes.fromhex(hexadecimal))
    assert caught.value.remedy is remedy


@pytest.mark.parametrize(
    "message",
    [
        Message(Type.CONFIRMABLE, Code.GET, 1, b"123456789"),
        Message(Type.CONFIRMABLE, Code.EMPTY, 1, b"1"),
        Message(Type.CONFIRMABLE, Code.EMPTY, 1, payload=b"1"),
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(65536, b"")]),
        Message(Type.CONFIRMABLE, Code.GET, 1, options=[(11, bytes(65805))]),
    ],
)
def test_what_cannot_be_expressed_is_not_encoded(message: Message) -> None:
    with pytest.raises(ValueError, match=r"token|empty|option"):
        message.encode()


def test_options_are_sorted_and_keep_the_order_within_a_number() -> None:
    options = [(11, b"a"), (3, b"host"), (11, b"b")]
    read = decode(Message(Type.CONFIRMABLE, Code.GET, 1, options=options).encode())
    assert read.options == [(3, b"host"), (11, b"a"), (11, b"b")]
    assert read.values(Option.URI_PATH) == [b"a", b"b"]
    assert read.option(Option.URI_HOST) == b"host"
    assert read.option(Option.ETAG) is None
    assert read.uint(Option.ACCEPT) is None
    assert read.observe is None


def test_a_message_reads_well() -> None:
    assert str(Message(Type.CONFIRMABLE, Code.PUT, 7, b"\x01", [], b"on")) == "CONFIRMABLE 0.03 #7 [01] 2 bytes"
    assert dotted(Code.CONTENT) == "2.05"


OPTIONS = st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=300)), max_size=6)
MESSAGES = st.builds(
    Message,
    type=st.sampled_from([0, 1, 2]),
    code=st.sampled_from([code for code in Code if code]),
    message_id=st.integers(0, 0xFFFF),
    token=st.binary(max_size=8),
    options=OPTIONS.map(lambda options: sorted(options, key=lambda option: option[0])),
    payload=st.binary(max_size=64),
)


@given(MESSAGES)
def test_round_trip(message: Message) -> None:
    assert decode(message.encode()) == message


@given(st.binary(max_size=64) | st.binary(max_size=60).map(lambda rest: b"\x42\x01\x00\x01" + rest))
def test_any_bytes_are_read_or_refused(datagram: bytes) -> None:
    try:
        message = decode(datagram)
    except CoapError:
        return
    assert message.encode() == datagram


OPAQUE_OPTIONS = st.sampled_from([Option.IF_MATCH, Option.ETAG, Option.REQUEST_TAG, 2049, 65001])
PEER_MESSAGES = st.builds(
    Message,
    type=st.sampled_from([0, 1, 2]),
    code=st.sampled_from([Code.GET, Code.PUT, Code.CONTENT, Code.NOT_FOUND]),
    message_id=st.integers(0, 0xFFFF),
    token=st.binary(max_size=8),
    options=st.lists(st.tuples(OPAQUE_OPTIONS, st.binary(max_size=300)), max_size=5).map(
        lambda options: sorted(options, key=lambda option: option[0])
    ),
    payload=st.binary(max_size=64),
)


@given(PEER_MESSAGES)
def test_aiocoap_reads_what_we_write_and_writes_the_same(message: Message) -> None:
    theirs = PeerMessage.decode(message.encode())
    assert (theirs.mtype, theirs.code, theirs.mid) == (message.type, message.code, message.message_id)
    assert (theirs.token, theirs.payload) == (message.token, message.payload)
    theirs.direction = Direction.OUTGOING  # read and sent on, as a proxy would
    assert theirs.encode() == message.encode()
