"""Firmware on its way into flash: whole or not at all, whatever comes, in whatever order, however often."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.devices.firmware import (
    CHUNK_BYTES,
    FACTORY_VERSION,
    MAX_FAILURES,
    Ask,
    Chunk,
    Flash,
    Offer,
    Outcome,
    chunk,
    image,
    offer,
)

SIZE = 5 * CHUNK_BYTES + 1
LAST = 5


def wanted(flash: Flash) -> Ask:
    ask = flash.wanted
    assert ask is not None
    return ask


def fetch(flash: Flash) -> list[Outcome]:
    """Everything that is wanted, until nothing is."""
    outcomes = []
    while (ask := flash.wanted) is not None:
        outcomes.append(flash.take(chunk(ask)))
    return outcomes


def test_what_firmware_consists_of_follows_from_version_and_size() -> None:
    assert len(image("1.1", 1000)) == 1000
    assert image("1.1", 1000) != image("1.2", 1000)
    assert image("1.1", 1000) != image("1.1", 1001)[:1000]
    offered = offer("1.1", SIZE)
    assert offered.sha256 == hashlib.sha256(image("1.1", SIZE)).hexdigest()
    assert offered.chunks == LAST + 1
    parts = [chunk(Ask("1.1", SIZE, CHUNK_BYTES, number)).data for number in range(LAST + 2)]
    assert b"".join(parts) == image("1.1", SIZE)
    assert [len(part) for part in parts] == [*(offered.chunk_size(number) for number in range(LAST + 1)), 0]


def test_a_chunk_fits_a_datagram() -> None:
    """The least that every CoAP endpoint takes: RFC 7252 §4.6."""
    part = chunk(Ask("1.1", SIZE, CHUNK_BYTES, 0))
    assert len(msgspec.json.encode(part)) + 150 < 1024


def test_it_is_fetched_checked_and_installed() -> None:
    flash = Flash()
    assert flash.version == FACTORY_VERSION
    assert flash.wanted is None
    assert flash.offered(offer("1.1", SIZE))
    assert fetch(flash) == [Outcome.TAKEN] * LAST + [Outcome.INSTALLED]
    assert (flash.version, flash.offer, flash.taken) == ("1.1", None, 0)


def test_the_same_offer_again_is_no_news() -> None:
    flash = Flash()
    flash.offered(offer("1.1", SIZE))
    flash.take(chunk(wanted(flash)))
    assert not flash.offered(offer("1.1", SIZE))
    assert flash.taken == 1
    fetch(flash)
    assert not flash.offered(offer("1.1", SIZE)), "it runs already"
    assert flash.offered(offer("1.0", SIZE)), "back to an older one is an update like any other"


def test_what_is_corrupt_is_fetched_again_and_given_up_in_the_end() -> None:
    flash = Flash()
    flash.offered(offer("1.1", SIZE))
    flash.take(chunk(wanted(flash)))
    ask = wanted(flash)
    flash.take(Chunk(ask.version, ask.chunk, bytes(CHUNK_BYTES)))
    for _ in range(LAST - 2):
        assert flash.take(chunk(wanted(flash))) is Outcome.TAKEN
    assert flash.take(chunk(wanted(flash))) is Outcome.CORRUPT
    assert (flash.version, flash.taken) == (FACTORY_VERSION, 0)
    assert fetch(flash)[-1] is Outcome.INSTALLED

    never = msgspec.structs.replace(offer("1.2", SIZE), sha256="0" * 64)
    assert flash.offered(never)
    assert fetch(flash).count(Outcome.CORRUPT) == MAX_FAILURES
    assert not flash.offered(never)
    assert flash.wanted is None
    assert flash.offered(offer("1.2", SIZE)), "with the right hash it is another offer"
    assert fetch(flash)[-1] is Outcome.INSTALLED


def test_a_new_offer_in_the_middle_begins_anew() -> None:
    flash = Flash()
    flash.offered(offer("1.1", SIZE))
    late = chunk(wanted(flash))
    flash.take(late)
    assert flash.offered(offer("1.2", SIZE))
    assert wanted(flash) == Ask("1.2", SIZE, CHUNK_BYTES, 0)
    assert flash.take(late) is Outcome.IGNORED
    assert fetch(flash)[-1] is Outcome.INSTALLED
    assert flash.version == "1.2"


def test_what_is_forgotten_is_fetched_from_the_start_and_what_runs_still_runs() -> None:
    flash = Flash("1.1")
    flash.offered(offer("1.2", SIZE))
    flash.take(chunk(wanted(flash)))
    flash.forget()
    assert (flash.version, flash.wanted) == ("1.1", None)
    assert flash.offered(offer("1.2", SIZE))
    assert wanted(flash).chunk == 0


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk("1.1", 0, b""),
        Chunk("1.1", 0, bytes(CHUNK_BYTES - 1)),
        Chunk("1.1", 0, bytes(CHUNK_BYTES + 1)),
        Chunk("1.1", 1, bytes(CHUNK_BYTES)),
        Chunk("1.2", 0, bytes(CHUNK_BYTES)),
    ],
)
def test_what_is_not_wanted_changes_nothing(chunk: Chunk) -> None:
    flash = Flash()
    flash.offered(offer("1.1", SIZE))
    assert flash.take(chunk) is Outcome.IGNORED
    assert flash.taken == 0


SIZES = st.integers(1, 4 * CHUNK_BYTES + 1)
ASKS = st.builds(Ask, st.sampled_from(["1.1", "1.2"]), st.sampled_from([100, 200]), st.just(64), st.integers(0, 4))
DAMAGES = st.sampled_from([lambda data: data, lambda data: data[:-1], lambda data: bytes(len(data))])
CHUNKS = st.builds(lambda ask, damage: Chunk(ask.version, ask.chunk, damage(chunk(ask).data)), ASKS, DAMAGES)
OFFERS = st.builds(
    lambda version, size: msgspec.structs.replace(offer(version, size), chunk_bytes=64),
    st.sampled_from(["1.1", "1.2"]),
    st.sampled_from([100, 200]),
)


@given(SIZES, st.integers(1, 3 * CHUNK_BYTES))
def test_any_size_in_chunks_of_any_size(size: int, chunk_bytes: int) -> None:
    flash = Flash()
    flash.offered(msgspec.structs.replace(offer("1.1", size), chunk_bytes=chunk_bytes))
    outcomes = fetch(flash)
    assert outcomes[-1] is Outcome.INSTALLED
    assert len(outcomes) == -(-size // chunk_bytes)


@given(st.lists(OFFERS | CHUNKS | st.none(), max_size=40))
def test_nothing_is_installed_that_was_not_offered_and_whole(events: list[Offer | Chunk | None]) -> None:
    """Against a naive model that keeps every byte. None: the state is lost."""
    flash = Flash()
    there = b""
    for event in events:
        offered = flash.offer
        match event:
            case Offer():
                if flash.offered(event):
                    there = b""
            case Chunk():
                outcome = flash.take(event)
                if outcome is not Outcome.IGNORED:
                    there += event.data
                if outcome is Outcome.INSTALLED:
                    assert offered is not None
                    assert there == image(offered.version, offered.size)
                    assert flash.version == offered.version
                if outcome is Outcome.CORRUPT:
                    assert offered is not None
                    assert len(there) == offered.size
                    assert there != image(offered.version, offered.size)
                    there = b""
            case None:
                flash.forget()
                there = b""
        if flash.offer is not None:
            assert len(there) == min(flash.taken * 64, flash.offer.size)


@given(st.lists(OFFERS | CHUNKS | st.none(), max_size=40))
def test_whatever_happened_a_new_offer_is_installed(events: list[Offer | Chunk | None]) -> None:
    flash = Flash()
    for event in events:
        match event:
            case Offer():
                flash.offered(event)
            case Chunk():
                flash.take(event)
            case None:
                flash.forget()
    assert flash.offered(offer("2.0", SIZE))
    assert fetch(flash)[-1] is Outcome.INSTALLED
    assert flash.version == "2.0"
