"""The simplest authority: names and passwords from the configuration, and anonymous clients where that is safe.

A client that is let in may use every topic. Password hashes, access lists and foreign back ends come in beside this.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from broker.core.questions import Admission, Question, Verdict
from oriole.wire.mqtt import ReasonCode

WELCOME = Verdict(True)
BAD_PASSWORD = Verdict(False, ReasonCode.BAD_USER_NAME_OR_PASSWORD)
NOT_AUTHORIZED = Verdict(False, ReasonCode.NOT_AUTHORIZED)


class Doorkeeper:
    """Answers questions at once.

    Args:
        users: name to password.
        allow_anonymous: let clients in without a name from anywhere, not only from this machine.
    """

    def __init__(self, users: Mapping[str, str], allow_anonymous: bool) -> None:
        self._users = users
        self._allow_anonymous = allow_anonymous

    def decide(self, question: Question) -> Verdict:
        """The verdict for a question."""
        if not isinstance(question, Admission):
            return WELCOME
        if question.username is not None and self._users:
            return self._check(question.username, question.password or b"")
        if self._allow_anonymous or is_loopback(question.peer):
            return WELCOME
        return NOT_AUTHORIZED

    def _check(self, username: str, password: bytes) -> Verdict:
        known = self._users.get(username)
        same = hmac.compare_digest((known or "").encode(), password)
        return WELCOME if same and known is not None else BAD_PASSWORD


def is_loopback(peer: object) -> bool:
    """Whether a peer's address, `(host, port, ...)`, is on this machine."""
    if not isinstance(peer, tuple) or not peer:
        return False
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
