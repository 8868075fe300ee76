"""Whatever comes in, nothing is raised, and a confirmable message is answered exactly once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from unit.broker.coap.house import House

from broker.coap.settings import CoapSettings
from oriole.wire.coap import Code, Message, Option, Type, encode_uint

SEGMENTS = st.sampled_from([b"ps", b"data", b"a", b"b", b"+", b"", b"\xff", b".well-known", b"core"])
TOPIC = st.lists(SEGMENTS, max_size=3).map(lambda path: [b"ps", b"data", *path]) | st.lists(SEGMENTS, max_size=4)
SMALL = st.integers(0, 0x7F).map(encode_uint)
OTHER_OPTIONS = st.tuples(
    st.sampled_from([int(option) for option in Option] + [2049, 2050]), SMALL | st.binary(max_size=9)
)
REQUESTS = st.builds(
    lambda code, path, others, token, payload: Message(
        Type.CONFIRMABLE, code, 0, token, [*((int(Option.URI_PATH), segment) for segment in path), *others], payload
    ),
    st.sampled_from([Code.GET, Code.GET, Code.PUT, Code.PUT, Code.DELETE, Code.POST, 0x1F]),
    TOPIC,
    st.lists(OTHER_OPTIONS, max_size=2),
    st.sampled_from([b"", b"t", b"12345678"]),
    st.binary(max_size=40),
)


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\x41" + rest), max_size=8))
def test_any_bytes(datagrams: list[bytes]) -> None:
    house = House()
    for datagram in datagrams:
        house.port.endpoint.receive(datagram, "peer", house.now)
        house.port.stir()
        house.turn()
    house.wait(100_000)


@given(st.lists(st.tuples(REQUESTS, st.integers(0, 2), st.integers(0, 2_000)), max_size=12))
def test_any_requests(requests: list[tuple[Message, int, int]]) -> None:
    """Three clients that publish, observe, upload and delete on a few topics; none of them ever acknowledges."""
    house = House(CoapSettings(max_observers=3, max_guests=2, max_upload_bytes=600, max_ready_bytes=600))
    for message_id, (request, peer, pause) in enumerate(requests):
        request.message_id = message_id
        house.give(request, peer)
        answers = [
            message
            for address, message in house.channel.sent
            if (address, message.type, message.message_id) == (peer, Type.ACKNOWLEDGEMENT, message_id)
        ]
        assert len(answers) == 1
        house.wait(pause)
    house.wait(200_000)
    assert house.port.endpoint.pending == 0
    assert house.service.observer_count == house.router.routes.subscription_count <= 3
