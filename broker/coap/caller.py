"""Who makes a request, as people and accounts call it: by the endpoint name that it gives, or by its address.

A client may say `?ep=NAME` (the endpoint name of RFC 9176) on any request, so that it can be told from others behind
one address. Nobody checks it, and nothing but a name in accounts depends on it.
"""

from __future__ import annotations

from collections.abc import Hashable

from broker.core.channel import address_of
from oriole.wire.coap import CoapError, Code, Message, Option, Remedy

ENDPOINT_NAME = b"ep="


class Caller:
    """A client, where nothing of it counts but its name. What it publishes comes from here."""

    __slots__ = ("label",)

    def __init__(self, request: Message, address: Hashable) -> None:
        name = next((query for query in request.values(Option.URI_QUERY) if is_endpoint_name(query)), None)
        text = address_of(address) if name is None else name.removeprefix(ENDPOINT_NAME).decode(errors="replace")
        self.label = f"coap:{text}"


def is_endpoint_name(query: bytes) -> bool:
    """Whether an Uri-Query option gives an endpoint name."""
    return query.startswith(ENDPOINT_NAME)


def check_queries(request: Message) -> None:
    """A topic takes no queries but the endpoint name.

    Raises:
        CoapError: to be answered with 4.02, for any other.
    """
    for query in request.values(Option.URI_QUERY):
        if not is_endpoint_name(query):
            raise CoapError(Remedy.ANSWER, "a topic takes no query but ep=NAME", Code.BAD_OPTION)
