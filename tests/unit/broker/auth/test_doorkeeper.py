"""Who the doorkeeper lets in."""

from __future__ import annotations

import pytest

from broker.auth.doorkeeper import Doorkeeper, is_loopback
from broker.core.questions import Action, Admission, Permission

HOME, AWAY = ("127.0.0.1", 1), ("192.0.2.1", 1)


@pytest.mark.parametrize(
    ("users", "anonymous", "username", "password", "peer", "code"),
    [
        ({}, False, None, None, HOME, 0),
        ({}, False, None, None, AWAY, 0x87),
        ({}, True, None, None, AWAY, 0),
        ({}, False, "u", b"p", AWAY, 0x87),
        ({"u": "p"}, False, "u", b"p", AWAY, 0),
        ({"u": "p"}, False, "u", b"q", HOME, 0x86),
        ({"u": "p"}, False, "u", None, AWAY, 0x86),
        ({"u": "p"}, False, "v", b"p", AWAY, 0x86),
        ({"u": "p"}, False, "v", b"", AWAY, 0x86),
        ({"u": "p"}, True, "u", b"q", AWAY, 0x86),
        ({"u": "p"}, False, None, None, AWAY, 0x87),
        ({"u": ""}, False, "u", b"", AWAY, 0),
        ({"ü": "é"}, False, "ü", "é".encode(), AWAY, 0),
    ],
)
def test_admission(
    users: dict[str, str], anonymous: bool, username: str | None, password: bytes | None, peer: object, code: int
) -> None:
    verdict = Doorkeeper(users, anonymous).decide(Admission(1, "a", username, password, peer, "mqtt"))
    assert (verdict.allowed, 0 if verdict.allowed else verdict.reason_code) == (code == 0, code)
    assert not verdict.restricted


def test_who_is_inside_may_use_every_topic() -> None:
    assert Doorkeeper({}, False).decide(Permission(1, "a", None, Action.PUBLISH, "t")).allowed


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        (("127.0.0.1", 1), True),
        (("127.9.9.9", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1), True),
        (("fe80::1%lo", 1), False),
        (("0.0.0.0", 1), False),
        (("localhost", 1), False),
        ((), False),
        ("127.0.0.1", False),
        (None, False),
    ],
)
def test_is_loopback(peer: object, loopback: bool) -> None:
    assert is_loopback(peer) == loopback
