"""The one error of this package. It says what the receiver of the message does about it."""

from __future__ import annotations

from enum import Enum

from oriole.wire.coap.codes import Code, dotted


class Remedy(Enum):
    """What RFC 7252 asks of the receiver of a message that it cannot use."""

    IGNORE = "ignore"
    """Say nothing: no CoAP, another version, or nothing that may be answered (§3, §4.2, §4.3)."""
    RESET = "reset"
    """Reject a confirmable message with a Reset that carries its message ID (§4.2)."""
    ANSWER = "answer"
    """Answer the request with `code` and the diagnostic as payload (§5.5.2)."""


class CoapError(Exception):
    """A message that cannot be used.

    Args:
        remedy: what to do about it.
        diagnostic: what was wrong, for a person; the payload of an answer.
        code: the response code of an answer.
    """

    def __init__(self, remedy: Remedy, diagnostic: str, code: Code = Code.BAD_OPTION) -> None:
        super().__init__(diagnostic)
        self.remedy = remedy
        self.diagnostic = diagnostic
        self.code = code

    def __str__(self) -> str:
        asked = dotted(self.code) if self.remedy is Remedy.ANSWER else self.remedy.value
        return f"{self.diagnostic} ({asked})"
