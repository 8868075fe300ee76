"""The push envelope: its bytes, what is none, and the same facts on MQTT 5's properties."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire import cbor, push
from oriole.wire.push import Content, Envelope, EnvelopeError, Header, MqttProperties, Priority

VECTORS = json.loads((Path(__file__).parents[3] / "docs" / "push-envelope-vectors.json").read_text())


def unhexed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for name, value in values.items()}


@pytest.mark.parametrize("vector", VECTORS["envelopes"], ids=[vector["name"] for vector in VECTORS["envelopes"]])
def test_vectors(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    envelope = Envelope(Header(**unhexed(vector["header"])), bytes.fromhex(vector["body"]))
    assert push.encode(envelope) == payload
    assert push.decode(payload) == envelope
    assert push.is_envelope(payload)
    assert envelope.sealed is vector["sealed"]
    if not envelope.sealed:
        assert Content.decode(envelope.body) == Content(**unhexed(vector["content"]))
    for cut in range(len(payload)):
        assert not push.is_envelope(payload[:cut])
    assert not push.is_envelope(payload + b"\0")


FOREIGN = {
    "empty": b"",
    "JSON": b'{"state": "ON"}',
    "a CBOR map": cbor.encode({1: b"x"}),
    "an array of two numbers": cbor.encode([1, 2]),
    "a header without an id": cbor.encode([{2: 1000}, b""]),
    "an id of seventeen bytes": cbor.encode([{1: b"x" * 17}, b""]),
    "a lifetime below zero": cbor.encode([{1: b"x", 2: -1}, b""]),
    "a lifetime of true": cbor.encode([{1: b"x", 2: True}, b""]),
    "a text as body": cbor.encode([{1: b"x"}, "body"]),
    "a list in the header": cbor.encode([{1: b"x", 50: [1]}, b""]),
    "a float in the header": cbor.encode([{1: b"x", 50: 1.5}, b""]),
    "a label that is a byte string": cbor.encode([{1: b"x", b"y": 1}, b""]),
    "a reply topic with a wildcard": cbor.encode([{1: b"x", 8: "a/+"}, b""]),
    "a key with U+0000": cbor.encode([{1: b"x", 4: "a\0"}, b""]),
    "an id under true": b"\x82\xa1\xf5\x41x\x40",
    "an id under 1.0": b"\x82\xa1\xf9\x3c\x00\x41x\x40",
    "priority 4": cbor.encode([{1: b"x", 3: 4}, b""]),
    "a long header": cbor.encode([{1: b"x", 50: b"x" * 5000}, b""]),
    "an id twice": bytes.fromhex("82a2014101014102 40"),
    "a tagged array": bytes.fromhex("c0") + cbor.encode([{1: b"x"}, b""]),
}


@pytest.mark.parametrize("payload", FOREIGN.values(), ids=FOREIGN)
def test_foreign_payloads_are_no_envelopes(payload: bytes) -> None:
    assert not push.is_envelope(payload)
    with pytest.raises(EnvelopeError):
        push.decode(payload)


@given(st.one_of(st.binary(), st.binary().map(lambda data: b"\x82\xa1\x01" + data)))
def test_any_bytes_decode_or_raise_the_one_error(payload: bytes) -> None:
    with contextlib.suppress(EnvelopeError):
        push.decode(payload)
    with contextlib.suppress(EnvelopeError):
        Content.decode(payload)


text = st.text(st.characters(min_codepoint=32, codec="utf-8"), max_size=60)
facts = st.one_of(st.integers(-(2**63), 2**63), text, st.binary(max_size=20), st.booleans())
headers = st.builds(
    Header,
    id=st.binary(min_size=1, max_size=16),
    lifetime_ms=st.none() | st.integers(0, 2**32 - 1).map(lambda s: s * 1000),
    priority=st.sampled_from(Priority).map(int),
    collapse_key=st.none() | text,
    created_ms=st.none() | st.integers(0, 2**63 - 1),
    content_type=st.none() | text,
    sender=st.none() | text,
    reply_to=st.none() | text.map(lambda topic: re.sub("[+#]", "", topic) or "topic"),
    correlation=st.none() | st.binary(max_size=64),
    extra=st.dictionaries(st.integers(10, 2**32) | st.integers(-(2**32), 0) | text, facts, max_size=3),
)


@given(headers, st.binary())
def test_round_trip(header: Header, body: bytes) -> None:
    envelope = Envelope(header, body)
    assert push.decode(push.encode(envelope)) == envelope


@given(text, text, st.binary(), text)
def test_content_round_trip(title: str, words: str, data: bytes, content_type: str) -> None:
    content = Content(title, words, data, content_type)
    assert Content.decode(content.encode()) == content
    assert not Envelope(Header(b"x"), content.encode()).sealed


@given(headers, st.lists(st.tuples(text.filter(lambda name: "oriole" not in name), text), max_size=2).map(tuple))
def test_mqtt_carries_the_whole_header(header: Header, others: tuple[tuple[str, str], ...]) -> None:
    assert push.from_mqtt(push.to_mqtt(header, others)) == (header, others)


def test_mqtt_standard_properties_come_first() -> None:
    header = Header(b"\x01\x02", 1500, Priority.HIGH, "door", 7, "text/plain", "bell", "bell/answers", b"\xff")
    assert push.to_mqtt(header, (("room", "hall"),)) == MqttProperties(
        message_expiry_interval=2,  # rounded up
        content_type="text/plain",
        response_topic="bell/answers",
        correlation_data=b"\xff",
        user_property=(
            ("oriole-id", "AQI"),
            ("oriole-priority", "3"),
            ("oriole-collapse-key", "door"),
            ("oriole-created", "7"),
            ("oriole-sender", "bell"),
            ("room", "hall"),
        ),
    )


def test_nobody_slips_in_a_fact_beside_the_header() -> None:
    properties = push.to_mqtt(Header(b"\x01"), (("oriole-priority", "3"), ("oriole-priority", ""), ("mine", "x")))
    assert properties.user_property == (("oriole-id", "AQ"), ("mine", "x"))


def test_an_ordinary_mqtt_message_is_no_push() -> None:
    assert push.from_mqtt(MqttProperties(60, "text/plain", user_property=(("room", "hall"),))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        ("oriole-id", ""),
        ("oriole-id", "a"),
        ("oriole-id", "not base64!"),
        ("oriole-priority", "9"),
        ("oriole-priority", "-1"),
        ("oriole-created", "yesterday"),
        ("oriole-created", "9" * 30),
        ("oriole-extra", "oQEB"),  # {1: 1}: a label that has its own place
        ("oriole-extra", "gQE"),
    ],
)
def test_wrong_properties_raise_the_one_error(wrong: tuple[str, str]) -> None:
    with pytest.raises(EnvelopeError):
        push.from_mqtt(MqttProperties(user_property=(wrong, ("oriole-id", "AQI"))))


def test_lifetimes_count_down_and_end() -> None:
    envelope = Envelope(Header(b"x", lifetime_ms=1000, extra={50: "kept"}), b"sealed")
    assert push.aged(envelope, 400) == Envelope(Header(b"x", lifetime_ms=600, extra={50: "kept"}), b"sealed")
    assert push.aged(envelope, 1000) is None
    assert push.aged(Envelope(Header(b"x", lifetime_ms=0), b""), 0) is None
    for_ever = Envelope(Header(b"x"), b"")
    assert push.aged(for_ever, 10**12) == for_ever


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": b""},
        {"id": b"x", "lifetime_ms": push.MAX_LIFETIME_MS + 1},
        {"id": b"x", "collapse_key": "k" * 257},
        {"id": b"x", "sender": "\ud800"},
        {"id": b"x", "created_ms": -1},
    ],
)
def test_a_wrong_header_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError):
        Header(**wrong)


def test_an_over_long_header_is_not_sent() -> None:
    with pytest.raises(EnvelopeError):
        push.encode(Envelope(Header(b"x", reply_to="t" * 5000), b""))
