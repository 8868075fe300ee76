"""Topics as resources: publish, read, delete, and every answer to what is not right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from unit.broker.coap.house import House, Recipient

from broker.coap.settings import CoapSettings
from broker.core.message import Header, Message
from broker.core.promises import JournalError
from broker.core.questions import Action, Admission, Permission, Question, Verdict
from broker.core.records import Accepted, Record
from broker.core.retained import Retained
from oriole.wire.coap import Block, Code, Option, Options, Type, encode_uint

ETAG = int(Option.ETAG)


def recipient(house: House, filter: str = "#") -> Recipient:
    someone = Recipient()
    house.router.subscribe(filter.encode(), someone, someone, house.now)
    return someone


# -- publish and read --------------------------------------------------------------------------------------------------


def test_a_value_is_created_then_changed_then_read() -> None:
    house = House()
    assert house.put("a/b", b"21.5").code == Code.CREATED
    assert house.put("a/b", b"21.6").code == Code.CHANGED
    answer = house.ask(Code.GET, "ps/data/a/b")
    assert (answer.code, answer.payload, answer.type) == (Code.CONTENT, b"21.6", Type.ACKNOWLEDGEMENT)
    assert house.ask(Code.GET, "ps/data/a").code == Code.NOT_FOUND


@pytest.mark.parametrize(("type", "qos"), [(Type.CONFIRMABLE, 1), (Type.NON_CONFIRMABLE, 0)])
def test_a_put_is_a_retained_publish(type: Type, qos: int) -> None:
    house = House()
    someone = recipient(house)
    answer = house.ask(Code.PUT, "ps/data/a", b"on", [(Option.CONTENT_FORMAT, encode_uint(50))], type=type)
    assert answer.code == Code.CREATED
    (message,) = someone.messages
    assert (message.topic, message.payload, message.qos, message.retain) == (b"a", b"on", qos, True)
    assert message.header == Header(content_type="application/json")


def test_a_content_format_without_a_known_name_is_left_out() -> None:
    house = House()
    someone = recipient(house)
    house.ask(Code.PUT, "ps/data/a", b"on", [(Option.CONTENT_FORMAT, encode_uint(65_000))])
    assert someone.messages[0].header is None


def test_what_mqtt_retains_is_read_with_its_content_format_and_lifetime() -> None:
    house = House()
    header = Header(content_type="application/cbor")
    house.router.publish(Message(b"a", b"\x01", 0, True, header, None, house.now + 9_500), house.now)
    answer = house.ask(Code.GET, "ps/data/a")
    assert (answer.uint(Option.CONTENT_FORMAT), answer.uint(Option.MAX_AGE)) == (60, 9)
    house.now += 5_000
    assert house.ask(Code.GET, "ps/data/a").uint(Option.MAX_AGE) == 4
    house.now += 4_500
    assert house.ask(Code.GET, "ps/data/a").code == Code.NOT_FOUND


def test_an_event_is_no_state() -> None:
    house = House()
    house.publish("lock", b"unlock", qos=1)
    assert house.ask(Code.GET, "ps/data/lock").code == Code.NOT_FOUND


@pytest.mark.parametrize("change", ["put", "publish", "delete"])
def test_a_ready_answer_is_never_an_old_value(change: str) -> None:
    house = House()
    house.put("a", b"old")
    first = [house.ask(Code.GET, "ps/data/a").payload for _ in range(3)]
    assert first == [b"old"] * 3
    assert house.service.ready(b"\xb2ps\x04data\x01a", "peer", house.now) is not None
    if change == "put":
        house.put("a", b"new")
    elif change == "publish":
        house.publish("a", b"new", retain=True)
    else:
        house.ask(Code.DELETE, "ps/data/a")
    answer = house.ask(Code.GET, "ps/data/a")
    assert (answer.code, answer.payload) == ((0x84, b"no value") if change == "delete" else (0x45, b"new"))


def test_ready_answers_are_bounded_in_bytes() -> None:
    house = House(CoapSettings(max_ready_bytes=5_000))
    for number in range(50):
        house.put(f"t/{number}", b"x" * 100)
        assert house.ask(Code.GET, f"ps/data/t/{number}").code == Code.CONTENT
    assert house.service._ready.bytes <= 5_000
    assert len(house.service._ready.entries) >= 3


def test_delete_removes_the_value_and_may_be_repeated() -> None:
    house = House()
    someone = recipient(house)
    house.put("a", b"on")
    assert house.ask(Code.DELETE, "ps/data/a").code == Code.DELETED
    assert house.ask(Code.GET, "ps/data/a").code == Code.NOT_FOUND
    assert house.ask(Code.DELETE, "ps/data/a").code == Code.DELETED
    assert [(message.payload, message.retain) for message in someone.messages] == [(b"on", True), (b"", True)]


def test_an_etag_that_still_holds_saves_the_payload() -> None:
    house = House()
    house.put("a", b"on")
    etag = house.ask(Code.GET, "ps/data/a").option(ETAG)
    assert etag is not None
    answer = house.ask(Code.GET, "ps/data/a", options=[(ETAG, b"other"), (ETAG, etag)])
    assert (answer.code, answer.option(ETAG), answer.payload) == (Code.VALID, etag, b"")
    house.ask(Code.PUT, "ps/data/a", b"on", [(Option.CONTENT_FORMAT, encode_uint(50))])
    assert house.ask(Code.GET, "ps/data/a", options=[(ETAG, etag)]).code == Code.CONTENT
    house.put("a", b"off")
    answer = house.ask(Code.GET, "ps/data/a", options=[(ETAG, etag)])
    assert (answer.code, answer.payload, answer.option(ETAG) == etag) == (Code.CONTENT, b"off", False)


@pytest.mark.parametrize(
    ("before", "option", "code"),
    [
        (None, (Option.IF_NONE_MATCH, b""), Code.CREATED),
        (b"on", (Option.IF_NONE_MATCH, b""), Code.PRECONDITION_FAILED),
        (None, (Option.IF_MATCH, b""), Code.PRECONDITION_FAILED),
        (b"on", (Option.IF_MATCH, b""), Code.CHANGED),
        (b"on", (Option.IF_MATCH, b"12345678"), Code.PRECONDITION_FAILED),
    ],
)
def test_conditions(before: bytes | None, option: tuple[int, bytes], code: Code) -> None:
    house = House()
    if before is not None:
        house.put("a", before)
    assert house.ask(Code.PUT, "ps/data/a", b"new", [option]).code == code


def test_accept_must_fit() -> None:
    house = House()
    house.ask(Code.PUT, "ps/data/a", b"{}", [(Option.CONTENT_FORMAT, encode_uint(50))])
    assert house.ask(Code.GET, "ps/data/a", options=[(Option.ACCEPT, encode_uint(50))]).code == Code.CONTENT
    assert house.ask(Code.GET, "ps/data/a", options=[(Option.ACCEPT, encode_uint(60))]).code == Code.NOT_ACCEPTABLE


# -- large values ------------------------------------------------------------------------------------------------------


def test_a_large_value_crosses_in_blocks_both_ways() -> None:
    house = House()
    value = bytes(range(256)) * 12 + b"tail"
    for start in range(0, len(value), 512):
        block = Block(start // 512, start + 512 < len(value), 5)
        answer = house.ask(
            Code.PUT, "ps/data/big", value[start : start + 512], [(Option.BLOCK1, block.encode())], peer="publisher"
        )
        assert answer.code == (Code.CONTINUE if block.more else Code.CREATED)
        assert answer.option(Option.BLOCK1) == block.encode()
    read, number, more = b"", 0, True
    while more:
        options = [(int(Option.BLOCK2), Block(number, False, 6).encode())] if number else []
        answer = house.ask(Code.GET, "ps/data/big", options=options)
        block = Block.decode(answer.option(Option.BLOCK2) or b"")
        assert block.number == number
        assert answer.uint(Option.SIZE2) == (None if number else len(value))
        read, number, more = read + answer.payload, number + 1, block.more
    assert read == value
    assert number == 4
    behind = house.ask(Code.GET, "ps/data/big", options=[(Option.BLOCK2, Block(4, False, 6).encode())])
    assert behind.code == Code.BAD_REQUEST


def test_a_small_block_is_cut_as_asked() -> None:
    house = House()
    house.put("a", b"0123456789abcdefXYZ")
    answer = house.ask(Code.GET, "ps/data/a", options=[(Option.BLOCK2, Block(1, False, 0).encode())])
    assert (answer.payload, Block.decode(answer.option(Option.BLOCK2) or b"")) == (b"XYZ", Block(1, False, 0))


@pytest.mark.parametrize(
    ("blocks", "code"),
    [
        ([(1, True, b"x" * 16)], Code.REQUEST_ENTITY_INCOMPLETE),
        ([(0, True, b"x" * 16), (2, False, b"x")], Code.REQUEST_ENTITY_INCOMPLETE),
        ([(0, True, b"x" * 15)], Code.BAD_REQUEST),
        ([(number, True, b"x" * 16) for number in range(5)], Code.REQUEST_ENTITY_TOO_LARGE),
        ([(0, True, b"x" * 16), (0, True, b"y" * 16), (1, False, b"z")], Code.CREATED),
    ],
)
def test_uploads_that_are_not_right(blocks: list[tuple[int, bool, bytes]], code: Code) -> None:
    house = House(CoapSettings(max_payload_bytes=64))
    for number, more, payload in blocks:
        options: Options = [(Option.BLOCK1, Block(number, more, 0).encode())]
        answer = house.ask(Code.PUT, "ps/data/a", payload, options)
    assert answer.code == code


def test_blocks_of_different_formats_are_not_one_value() -> None:
    house = House()
    house.ask(Code.PUT, "ps/data/a", b"x" * 16, [(Option.BLOCK1, Block(0, True, 0).encode())])
    options: Options = [(Option.BLOCK1, Block(1, False, 0).encode()), (Option.CONTENT_FORMAT, encode_uint(50))]
    assert house.ask(Code.PUT, "ps/data/a", b"x", options).code == Code.REQUEST_ENTITY_INCOMPLETE


def test_unfinished_uploads_are_bounded_in_bytes_and_time() -> None:
    house = House(CoapSettings(max_upload_bytes=4_000))
    first: Options = [(Option.BLOCK1, Block(0, True, 5).encode())]
    for peer in range(20):
        house.ask(Code.PUT, "ps/data/a", b"x" * 512, first, peer=peer)
    assert house.service._uploads.bytes <= 4_000
    second: Options = [(Option.BLOCK1, Block(1, False, 5).encode())]
    assert house.ask(Code.PUT, "ps/data/a", b"x", second, peer=0).code == Code.REQUEST_ENTITY_INCOMPLETE
    house.now += 247_000
    assert house.ask(Code.PUT, "ps/data/a", b"x", second, peer=19).code == Code.REQUEST_ENTITY_INCOMPLETE


def test_a_value_over_the_limit_is_refused_with_the_limit() -> None:
    house = House(CoapSettings(max_payload_bytes=10))
    answer = house.put("a", b"x" * 11)
    assert (answer.code, answer.uint(Option.SIZE1)) == (Code.REQUEST_ENTITY_TOO_LARGE, 10)


# -- what is not right -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "path", "options", "expected"),
    [
        (Code.GET, "", [], Code.NOT_FOUND),
        (Code.GET, "ps/data", [], Code.NOT_FOUND),
        (Code.GET, "ps/other/a", [], Code.NOT_FOUND),
        (Code.PUT, "elsewhere", [], Code.NOT_FOUND),
        (Code.POST, "ps/data/a", [], Code.METHOD_NOT_ALLOWED),
        (Code.FETCH, "ps/data/a", [], Code.METHOD_NOT_ALLOWED),
        (0x1F, "ps/data/a", [], Code.METHOD_NOT_ALLOWED),
        (Code.PUT, "ps", [], Code.METHOD_NOT_ALLOWED),
        (Code.PUT, ".well-known/core", [], Code.METHOD_NOT_ALLOWED),
        (Code.GET, "ps/data/a/", [], Code.BAD_REQUEST),
        (Code.GET, "ps/data//a", [], Code.BAD_REQUEST),
        (Code.PUT, "ps/data/a/+", [], Code.BAD_REQUEST),
        (Code.PUT, "ps/data/#", [], Code.BAD_REQUEST),
        (Code.PUT, "ps/data/a\0b", [], Code.BAD_REQUEST),
        (Code.PUT, [b"ps", b"data", b"a/b"], [], Code.BAD_REQUEST),
        (Code.PUT, [b"ps", b"data", b"\xff"], [], Code.BAD_REQUEST),
        (Code.PUT, [b"ps", b"data", b"a" * 256], [], Code.BAD_REQUEST),
        (Code.PUT, [b"ps", b"data", *[b"a"] * 129], [], Code.BAD_REQUEST),
        (Code.PUT, "ps/data/$SYS/x", [], Code.FORBIDDEN),
        (Code.DELETE, "ps/data/$SYS/x", [], Code.FORBIDDEN),
        (Code.GET, "ps/data/a", [(2049, b"")], Code.BAD_OPTION),
        (Code.GET, "ps/data/a", [(Option.URI_QUERY, b"x")], Code.BAD_OPTION),
        (Code.GET, "ps/data/a", [(Option.BLOCK2, b"\x07")], Code.NOT_FOUND),
        (Code.PUT, "ps/data/a", [(Option.BLOCK1, b"\x07")], Code.BAD_REQUEST),
        (Code.GET, "ps/data/a", [(Option.PROXY_URI, b"coap://x")], Code.PROXYING_NOT_SUPPORTED),
        (Code.GET, "ps/data/a", [(Option.PROXY_SCHEME, b"http")], Code.PROXYING_NOT_SUPPORTED),
    ],
)
def test_a_bad_request_gets_the_right_code(
    code: int, path: str | list[bytes], options: Options, expected: Code
) -> None:
    answer = House().ask(code, path, b"x" if code == Code.PUT else b"", options)
    assert answer.code == expected
    assert answer.payload


def test_an_empty_value_is_refused() -> None:
    assert House().put("a", b"").code == Code.BAD_REQUEST


def test_options_for_addressing_and_elective_ones_do_not_matter() -> None:
    house = House()
    house.put("a", b"on")
    options = [(int(Option.URI_HOST), b"broker"), (int(Option.URI_PORT), b"\x16\x33"), (2050, b"?")]
    assert house.ask(Code.GET, "ps/data/a", options=options).payload == b"on"


def test_odd_characters_are_topics() -> None:
    house = House()
    someone = recipient(house)
    for topic in ("Küche/Licht an", "厨房/灯", "100%/a?b&c", "a" * 255):
        assert house.put(topic, b"on").code == Code.CREATED
        assert house.ask(Code.GET, f"ps/data/{topic}").payload == b"on"
        assert someone.messages[-1].topic == topic.encode()


@pytest.mark.parametrize(
    ("query", "links"),
    [
        ([], b'</ps>;rt="core.ps",</ps/data>;rt="core.ps.data";obs'),
        ([b"rt=core.ps"], b'</ps>;rt="core.ps"'),
        ([b"rt=core.ps*", b"href=/ps/data"], b'</ps/data>;rt="core.ps.data";obs'),
        ([b"rt=other"], b""),
        ([b"if=x"], b""),
    ],
)
def test_discovery(query: list[bytes], links: bytes) -> None:
    answer = House().ask(Code.GET, ".well-known/core", options=[(Option.URI_QUERY, value) for value in query])
    assert (answer.code, answer.uint(Option.CONTENT_FORMAT), answer.payload) == (Code.CONTENT, 40, links)


def test_discovery_speaks_link_format_only() -> None:
    assert House().ask(Code.GET, "ps", options=[(Option.ACCEPT, encode_uint(40))]).code == Code.CONTENT
    assert House().ask(Code.GET, "ps", options=[(Option.ACCEPT, encode_uint(50))]).code == Code.NOT_ACCEPTABLE


# -- promises ----------------------------------------------------------------------------------------------------------


class LateJournal:
    """Commits when it is told to, or fails."""

    def __init__(self) -> None:
        self.keeps = True
        self.is_behind = False
        self.archive = None
        self.committed = 0
        self.batches: list[Sequence[Record]] = []
        self.fails = False

    def append(self, batch: Sequence[Record]) -> int:
        if self.fails:
            raise JournalError
        self.batches.append(batch)
        return len(self.batches)

    def replay(self, position: int) -> Iterator[tuple[int, Sequence[Record]]]:
        return iter(())

    def checkpoint(self, state: bytes) -> int:
        return 0

    def trim(self, position: int) -> None:
        pass


def test_a_publish_is_answered_when_the_journal_has_it() -> None:
    journal = LateJournal()
    house = House(journal=journal)
    request = house.send(Code.PUT, "ps/data/a", b"on")
    assert isinstance(journal.batches[0][0], Accepted)
    assert house.taken() == []
    house.give(request)
    assert (house.taken(), len(journal.batches)) == ([], 1)
    journal.committed = 1
    house.engine.committed(1, house.now)
    house.turn()
    (answer,) = house.taken()
    assert (answer.type, answer.code) == (Type.ACKNOWLEDGEMENT, Code.CREATED)


def test_a_publish_that_takes_long_is_acknowledged_first_and_answered_later() -> None:
    journal = LateJournal()
    house = House(journal=journal)
    house.send(Code.PUT, "ps/data/a", b"on")
    house.wait(1_500)
    journal.committed = 1
    house.engine.committed(1, house.now)
    house.turn()
    acknowledgement, answer = house.taken()
    assert (acknowledgement.type, acknowledgement.code) == (Type.ACKNOWLEDGEMENT, Code.EMPTY)
    assert (answer.type, answer.code, answer.token) == (Type.CONFIRMABLE, Code.CREATED, b"t")


@pytest.mark.parametrize("late", [False, True])
def test_a_publish_that_the_journal_loses_is_not_acknowledged_as_kept(late: bool) -> None:
    journal = LateJournal()
    journal.fails = not late
    house = House(journal=journal)
    house.send(Code.PUT, "ps/data/a", b"on")
    if late:
        house.engine.failed(house.now)
        house.turn()
    (answer,) = house.taken()
    assert answer.code == Code.INTERNAL_SERVER_ERROR


def test_a_full_queue_refuses_with_a_time() -> None:
    house = House()
    someone = recipient(house)
    house.router.set_full(someone, True)
    answer = house.put("a", b"on")
    assert (answer.code, answer.uint(Option.MAX_AGE)) == (Code.SERVICE_UNAVAILABLE, 5)
    assert someone.messages == []
    house.router.set_full(someone, False)
    assert house.put("a", b"on").code == Code.CREATED


def test_a_full_store_refuses_with_a_time() -> None:
    house = House()
    house.router.retained = house.service._retained = Retained(max_count=1)
    assert house.put("a", b"on").code == Code.CREATED
    assert house.put("b", b"on").code == Code.SERVICE_UNAVAILABLE
    assert house.put("a", b"off").code == Code.CHANGED


# -- questions ---------------------------------------------------------------------------------------------------------


def test_a_client_is_asked_about_once_and_may_have_to_wait() -> None:
    house = House(decide=lambda question: None)
    house.send(Code.PUT, "ps/data/a", b"1")
    house.send(Code.PUT, "ps/data/a", b"2")
    house.wait(1_200)
    assert [message.code for message in house.taken()] == [Code.EMPTY, Code.EMPTY]
    (question,) = house.asked
    assert isinstance(question, Admission)
    assert (question.peer, question.protocol) == ("peer", "coap")
    house.engine.verdict(question.ticket, Verdict(True), house.now)
    house.turn()
    house.acknowledge(house.taken()[0])
    assert [message.code for message in house.taken()] == [Code.CHANGED]
    assert house.ask(Code.GET, "ps/data/a").payload == b"2"
    assert len(house.asked) == 1


def test_who_is_not_admitted_gets_nothing_not_even_what_is_ready() -> None:
    house = House(decide=lambda question: Verdict(isinstance(question, Admission) and question.peer != "stranger"))
    house.put("a", b"secret")
    for _ in range(2):
        assert house.ask(Code.GET, "ps/data/a").code == Code.CONTENT
        assert house.ask(Code.GET, "ps/data/a", peer="stranger").code == Code.UNAUTHORIZED
    assert house.ask(Code.GET, ".well-known/core", peer="stranger").code == Code.UNAUTHORIZED


def decide_on_topics(question: Question) -> Verdict:
    if isinstance(question, Admission):
        return Verdict(True, restricted=question.peer == "restricted")
    assert isinstance(question, Permission)
    return Verdict(question.topic == "mine" or (question.action is Action.SUBSCRIBE and question.topic == "open"))


def test_a_restricted_client_is_asked_about_for_each_topic_once() -> None:
    house = House(decide=decide_on_topics)
    for topic in ("mine", "open", "other"):
        house.put(topic, b"x")
        house.ask(Code.GET, f"ps/data/{topic}")
    for _ in range(2):
        codes = [
            house.ask(code, f"ps/data/{topic}", b"y" if code == Code.PUT else b"", peer="restricted").code
            for topic in ("mine", "open", "other")
            for code in (Code.PUT, Code.GET)
        ]
        assert codes == [Code.CHANGED, Code.CONTENT, Code.FORBIDDEN, Code.CONTENT, Code.FORBIDDEN, Code.FORBIDDEN]
    assert len([question for question in house.asked if isinstance(question, Permission)]) == 6


def test_verdicts_can_be_revoked() -> None:
    house = House()
    house.put("a", b"on", peer="peer")
    house.ask(Code.GET, "ps/data/a")
    house.decide = lambda question: Verdict(False)
    assert house.ask(Code.GET, "ps/data/a").code == Code.CONTENT
    house.service.forget_permissions("peer")
    assert house.ask(Code.GET, "ps/data/a").code == Code.UNAUTHORIZED


def test_clients_remembered_are_bounded() -> None:
    house = House(CoapSettings(max_guests=5))
    for peer in range(50):
        house.ask(Code.GET, "ps/data/a", peer=peer)
    assert len(house.service._guests._guests) == len(house.service._guests.trusted) == 5
