"""A port on CoAP: aiocoap as the client of a topic server, `a/b` at `/ps/data/a/b`.

Publishing is a confirmable PUT, subscribing an observation, reading a GET. An observation is asked for again every
`REFRESH_S`, because a server may have dropped it and a client cannot know. aiocoap hands on the newest notification
when several wait, as RFC 7641 §1.3 allows: observers see states.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine
from typing import Any

import aiocoap  # type: ignore[import-untyped]
import aiocoap.error  # type: ignore[import-untyped]
from aiocoap.numbers.codes import Code  # type: ignore[import-untyped]

from oriole.urls import Endpoint

from .port import Delivery, Owner

JSON = 50
REFRESH_S = 30.0
RETRY_S = 1.0
ANSWER_S = 10.0
CLOSE_S = 1.0
MAX_UNDER_WAY = 100  # requests; one is on the way at a time (NSTART), the others wait for it


class CoapPort:
    """An endpoint of its own (one UDP socket), as a device has."""

    latest_only = True

    def __init__(self, address: Endpoint) -> None:
        self._base = f"coap://{_host(address)}:{address.port}"
        self._loop = asyncio.get_running_loop()
        self._context: Any = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._observing: list[asyncio.Task[None]] = []
        self._is_opening = False
        logging.getLogger("coap").setLevel(logging.CRITICAL)  # what goes wrong comes back as an exception, too

    # ---- What the device asks for: see `Port`

    def open(self, owner: Owner) -> None:
        self._owner = owner
        if not self._is_opening:
            self._is_opening = True
            self._begin(self._open())

    def sleep(self) -> None:
        raise NotImplementedError("a CoAP device sleeps by not asking")

    async def close(self) -> None:
        for task in self._observing:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._context is not None:
            await self._context.shutdown()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self._observing.append(self._begin(self._observe(topic_filter)))

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int) -> None:
        if len(self._tasks) >= MAX_UNDER_WAY:
            self._owner.refused(ticket, "the device's own queue is full")
        else:
            self._begin(self._put(topic, payload, ticket))

    def forget(self, topic: str) -> None:
        self._begin(self._delete(topic))

    def read(self, topic: str) -> None:
        self._begin(self._get(topic))

    # ---- Requests

    async def _open(self) -> None:
        self._context = await aiocoap.Context.create_client_context()
        self._owner.connected(resumed=False)

    async def _put(self, topic: str, payload: bytes, ticket: int) -> None:
        try:
            response = await self._context.request(self._message(Code.PUT, topic, payload)).response
        except aiocoap.error.Error as error:
            self._owner.unanswered(ticket, f"PUT {topic}: {_words(error)}")
            return
        if response.code.is_successful():
            self._owner.accepted(ticket)
        else:
            self._owner.refused(ticket, str(response.code))

    async def _delete(self, topic: str) -> None:
        with contextlib.suppress(aiocoap.error.Error):
            await self._context.request(self._message(Code.DELETE, topic)).response

    async def _get(self, topic: str) -> None:
        try:
            response = await self._context.request(self._message(Code.GET, topic)).response
        except aiocoap.error.Error as error:
            self._owner.unanswered(None, f"GET {topic}: {_words(error)}")
            return
        self._owner.answered(topic, response.payload if response.code.is_successful() else None)

    async def _observe(self, topic: str) -> None:
        while True:
            try:
                await self._observe_once(topic)
            except (aiocoap.error.Error, TimeoutError) as error:
                self._owner.unanswered(None, f"observing {topic}: {_words(error)}")
                await asyncio.sleep(RETRY_S)

    async def _observe_once(self, topic: str) -> None:
        """Observe until it is time to ask again. Raises aiocoap's errors, TimeoutError, and when the server ends it."""
        message = self._message(Code.GET, topic)
        message.opt.observe = 0
        request = self._context.request(message)
        assert request.observation is not None
        try:
            response = await asyncio.wait_for(request.response, ANSWER_S)
            if not response.code.is_successful():
                raise aiocoap.error.ResponseWrappingError(response)
            self._owner.subscribed(topic)
            self._deliver(topic, response.payload, stored=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    async for notification in request.observation:
                        self._deliver(topic, notification.payload, stored=False)
                    raise aiocoap.error.ObservationCancelled
        finally:
            if not request.observation.cancelled:
                request.observation.cancel()

    # ---- Small parts

    def _deliver(self, topic: str, payload: bytes, stored: bool) -> None:
        if payload:  # an observation of a topic without a value begins with nothing
            self._owner.delivered(Delivery(topic, payload, qos=1, repeat=False, stored=stored))

    def _message(self, code: Code, topic: str, payload: bytes = b"") -> aiocoap.Message:
        message = aiocoap.Message(code=code, uri=self._base, payload=payload)
        message.opt.uri_path = ("ps", "data", *topic.split("/"))
        if payload:
            message.opt.content_format = JSON
        return message

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task


def _host(address: Endpoint) -> str:
    return f"[{address.host}]" if ":" in address.host else address.host


def _words(error: Exception) -> str:
    """What went wrong, for a person: aiocoap's own texts are names of its classes."""
    match error:
        case aiocoap.error.ResponseWrappingError(coapmessage=response):
            return f"the answer is {response.code}"
        case aiocoap.error.TimeoutError() | TimeoutError():
            return "no answer"
        case aiocoap.error.ResolutionError():
            return "the host's name leads to no address"
        case aiocoap.error.ObservationCancelled():
            return "the server ended the observation"
        case aiocoap.error.NetworkError(__cause__=OSError(errno=int(number))):
            return os.strerror(number)
        case aiocoap.error.MessageError():
            return "the peer refused the message (RST)"
        case aiocoap.error.NetworkError():
            return "the network failed"
    return str(error) or type(error).__name__
