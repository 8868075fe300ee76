"""What a message looks like on standard output."""

import io
import json

import pytest

from oriole.pubsub.printing import Printer, Received, as_json

MESSAGE = Received("haus/tür", "zü".encode(), 1, True, {"content_type": "text/plain", "correlation_data": b"\x00\xff"})


@pytest.mark.parametrize(
    ("with_topic", "expected"), [(False, "zü\n"), (True, "haus/tür zü\n")], ids=["payload", "topic and payload"]
)
def test_plain(with_topic: bool, expected: str) -> None:
    output = io.BytesIO()
    Printer(output, with_topic=with_topic, as_json=False).write(MESSAGE)
    assert output.getvalue().decode() == expected


def test_bytes_as_they_came() -> None:
    output = io.BytesIO()
    Printer(output, with_topic=False, as_json=False).write(Received("a", b"\x00\xff\n", 0, False))
    assert output.getvalue() == b"\x00\xff\n\n"


def test_json() -> None:
    assert json.loads(as_json(MESSAGE)) == {
        "topic": "haus/tür",
        "payload": "zü",
        "qos": 1,
        "retain": True,
        "properties": {"content_type": "text/plain", "correlation_data": "AP8="},
    }


def test_json_of_what_is_no_text() -> None:
    decoded = json.loads(as_json(Received("a", b"\xff", 0, False)))
    assert (decoded["payload"], decoded["encoding"]) == ("/w==", "base64")


def test_json_is_one_line() -> None:
    output = io.BytesIO()
    Printer(output, with_topic=False, as_json=True).write(Received("a", b"1\n2\r\n", 0, False))
    assert output.getvalue().count(b"\n") == 1
