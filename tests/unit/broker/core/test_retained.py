"""Retained messages: the last of each topic, within limits that always add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.message import Message
from broker.core.retained import Retained, RetainedFullError

TOPICS = st.sampled_from([b"a", b"b", b"a/b", b"a/b/c"])


@given(st.lists(st.tuples(TOPICS, st.binary(max_size=40), st.sampled_from([0, 0, 5, 9])), max_size=40))
def test_counts_and_limits(puts: list[tuple[bytes, bytes, int]]) -> None:
    retained = Retained(max_count=3, max_bytes=3 * 280)
    model: dict[bytes, Message] = {}
    for now, (topic, payload, expires_at) in enumerate(puts):
        message = Message(topic, payload, retain=True, expires_at=expires_at)
        following = {**model, topic: message} if payload else {t: m for t, m in model.items() if t != topic}
        size = sum(m.size for m in following.values())
        fits = not payload or (len(following) <= 3 and size <= 3 * 280)
        assert retained.room_for(message) == fits
        if fits:
            retained.put(message)
            model = following
        else:
            with pytest.raises(RetainedFullError):
                retained.put(message)
        model = {t: m for t, m in model.items() if retained.get(t, now) is not None or not m.expires_at > now}
        model = {t: m for t, m in model.items() if not m.expires_at or m.expires_at > now}
        assert {m.topic for m in retained.matching(b"#", now)} == set(model)
        assert (len(retained), retained.bytes) == (len(model), sum(m.size for m in model.values()))
