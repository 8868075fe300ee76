"""A port on CoAP: aiocoap as the client of a topic server, `a/b` at `/ps/data/a/b`.

Publishing is a confirmable PUT, subscribing an observation, reading a GET; each says whose it is. An observation is
asked for again at the device's keep-alive, because a server may have dropped it and a client cannot know. aiocoap hands
on the newest notification when several wait, as RFC 7641 §1.3 allows: observers see states.

There is no session: a device that slept, failed or went elsewhere begins with a new socket, and observes anew. One that
goes to sleep waits a moment for the answers to what it said last.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

import aiocoap  # type: ignore[import-untyped]
import aiocoap.error  # type: ignore[import-untyped]
from aiocoap.numbers.codes import Code  # type: ignore[import-untyped]
from aiocoap.numbers.types import Type  # type: ignore[import-untyped]

from firmware_sim.devices.port import Access, Delivery, Owner
from firmware_sim.unhandled import tell
from oriole.urls import Endpoint

from .datagrams import Datagrams, connect
from .real import Inside

JSON = 50
ENDPOINT_NAME = "ep"
"""The query that names the device (RFC 9176 §5); a server that does not know it ignores it."""
RETRY_S = 1.0
ANSWER_S = 10.0
CLOSE_S = 1.0
MAX_UNDER_WAY = 100  # requests; one is on the way at a time (NSTART), the others wait for it


class CoapPort:
    """An endpoint of its own (one UDP socket), as a device has. See `Port`."""

    latest_only = True

    def __init__(self, access: Access, addresses: Sequence[Endpoint], inside: Inside) -> None:
        self._access = access
        self._addresses = deque(addresses)
        self._inside = inside
        self._query = f"{ENDPOINT_NAME}={access.client_id}"
        self._loop = asyncio.get_running_loop()
        self._datagrams: Datagrams | None = None
        self._silent: Datagrams | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._endless: list[asyncio.Task[None]] = []  # connecting, observing
        self._is_wanted = False
        self._is_stalled = False
        logging.getLogger("coap").setLevel(logging.CRITICAL)  # what goes wrong comes back as an exception, too

    # ---- What the device asks for: see `Port`

    def open(self, owner: Owner) -> None:
        self._owner = owner
        if not self._is_wanted:
            self._is_wanted = True
            if self._access.meter is not None:
                self._access.meter.woke(time.monotonic_ns())
            self._endless.append(self._begin(self._connect()))

    def sleep(self) -> None:
        self._is_wanted = False
        under_way, datagrams = [*self._tasks], self._datagrams
        for task in self._endless:
            task.cancel()
        self._endless.clear()
        self._datagrams = None
        self._begin(_end_of(under_way)).add_done_callback(lambda _: self._left(datagrams, under_way))

    def fail(self, keeps_state: bool, silently: bool) -> None:
        self._shut(silently)
        self._rest()

    def stall(self, stalled: bool) -> None:
        self._is_stalled = stalled
        if self._datagrams is not None:
            self._datagrams.read(not stalled)

    def roam(self) -> None:
        self._addresses.rotate(-1)
        if self._is_wanted:
            self._shut(silently=True)
            self._owner.disconnected("went over to another node")
            self.open(self._owner)

    async def close(self) -> None:
        self.sleep()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._silent is not None:
            self._silent.end()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        if self._datagrams is not None:
            self._endless.append(self._begin(self._observe(self._datagrams, topic_filter)))

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        if self._datagrams is None:
            self._owner.refused(ticket, "the device is not connected")
        elif len(self._tasks) >= MAX_UNDER_WAY:
            self._owner.refused(ticket, "the device's own queue is full")
        else:
            self._begin(self._put(self._datagrams, topic, payload, ticket))

    def forget(self, topic: str) -> None:
        if self._datagrams is not None:
            self._begin(self._delete(self._datagrams, topic))

    def read(self, topic: str) -> None:
        if self._datagrams is not None:
            self._begin(self._get(self._datagrams, topic))

    # ---- Its socket

    async def _connect(self) -> None:
        while self._datagrams is None:
            try:
                self._datagrams = await connect(self._addresses[0], self._inside, self._access.meter)
            except OSError as error:
                self._owner.disconnected(f"{self._addresses[0]}: {error.strerror}")
                await asyncio.sleep(RETRY_S)
        self._datagrams.read(not self._is_stalled)
        if self._access.meter is not None:
            self._access.meter.connected(time.monotonic_ns())
        self._owner.connected(resumed=False)

    def _left(self, datagrams: Datagrams | None, under_way: list[asyncio.Task[None]]) -> None:
        """What was not answered soon never is: a radio that is off hears nothing, and refuses nothing."""
        for task in under_way:
            task.cancel()
        if datagrams is not None:
            self._drop(datagrams, silently=True)
        if not self._is_wanted:
            self._rest()

    def _rest(self) -> None:
        if self._access.meter is not None:
            self._access.meter.slept(time.monotonic_ns())

    def _shut(self, silently: bool) -> None:
        """Stop everything now, without a word."""
        self._is_wanted = False
        self._endless.clear()
        for task in self._tasks:
            task.cancel()
        if self._datagrams is not None:
            self._drop(self._datagrams, silently)
            self._datagrams = None

    def _drop(self, datagrams: Datagrams, silently: bool) -> None:
        datagrams.close(silently)
        if silently:
            if self._silent is not None:
                self._silent.end()
            self._silent = datagrams
        self._begin(datagrams.context.shutdown())

    # ---- Requests

    async def _put(self, datagrams: Datagrams, topic: str, payload: bytes, ticket: int) -> None:
        try:
            response = await datagrams.context.request(self._message(datagrams, Code.PUT, topic, payload)).response
        except aiocoap.error.Error as error:
            self._owner.unanswered(ticket, f"PUT {topic}: {_words(error)}")
            return
        except asyncio.CancelledError:
            self._owner.unanswered(ticket, f"PUT {topic}: the device was gone before an answer came")
            raise
        if response.code.is_successful():
            self._owner.accepted(ticket)
        else:
            self._owner.refused(ticket, str(response.code))

    async def _delete(self, datagrams: Datagrams, topic: str) -> None:
        with contextlib.suppress(aiocoap.error.Error):
            await datagrams.context.request(self._message(datagrams, Code.DELETE, topic)).response

    async def _get(self, datagrams: Datagrams, topic: str) -> None:
        try:
            response = await datagrams.context.request(self._message(datagrams, Code.GET, topic)).response
        except aiocoap.error.Error as error:
            self._owner.unanswered(None, f"GET {topic}: {_words(error)}")
            return
        self._owner.answered(topic, response.payload if response.code.is_successful() else None)

    async def _observe(self, datagrams: Datagrams, topic: str) -> None:
        while True:
            try:
                await self._observe_once(datagrams, topic)
            except (aiocoap.error.Error, TimeoutError) as error:
                self._owner.unanswered(None, f"observing {topic}: {_words(error)}")
                await asyncio.sleep(RETRY_S)

    async def _observe_once(self, datagrams: Datagrams, topic: str) -> None:
        """Observe until it ends: raises aiocoap's errors, and TimeoutError."""
        message = self._message(datagrams, Code.GET, topic, observe=True)
        request = datagrams.context.request(message)
        assert request.observation is not None
        try:
            response = await asyncio.wait_for(request.response, ANSWER_S)
            if not response.code.is_successful():
                raise aiocoap.error.ResponseWrappingError(response)
            self._owner.subscribed(topic)
            self._deliver(topic, response.payload, stored=True)
            refreshing = self._begin(self._refresh(datagrams, topic, message.token, request.observation))
            try:
                async for notification in request.observation:
                    # what comes with an acknowledgement is the answer to a refresh
                    self._deliver(topic, notification.payload, stored=notification.mtype is Type.ACK)
            finally:
                refreshing.cancel()
            raise aiocoap.error.ObservationCancelled
        finally:
            if not request.observation.cancelled:
                request.observation.cancel()

    async def _refresh(self, datagrams: Datagrams, topic: str, token: bytes, observation: Any) -> None:
        while every_s := self._access.keep_alive_s:
            await asyncio.sleep(every_s)
            message = self._message(datagrams, Code.GET, topic, observe=True)
            message.token = token
            datagrams.send_again(message, observation)

    # ---- Small parts

    def _deliver(self, topic: str, payload: bytes, stored: bool) -> None:
        if payload:  # an observation of a topic without a value begins with nothing
            self._owner.delivered(Delivery(topic, payload, qos=1, repeat=False, stored=stored))

    def _message(
        self, datagrams: Datagrams, code: Code, topic: str, payload: bytes = b"", observe: bool = False
    ) -> aiocoap.Message:
        message = aiocoap.Message(code=code, payload=payload)
        message.remote = datagrams.server
        message.opt.uri_path = ("ps", "data", *topic.split("/"))
        message.opt.uri_query = (self._query,)
        if payload:
            message.opt.content_format = JSON
        if observe:
            message.opt.observe = 0
        return message

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        task.add_done_callback(tell)
        return task


async def _end_of(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for it, for a bounded time."""
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_S)


def _words(error: Exception) -> str:
    """What went wrong, for a person: aiocoap's own texts are names of its classes."""
    match error:
        case aiocoap.error.ResponseWrappingError(coapmessage=response):
            return f"the answer is {response.code}"
        case aiocoap.error.TimeoutError() | TimeoutError():
            return "no answer"
        case aiocoap.error.ObservationCancelled():
            return "the server ended the observation"
        case aiocoap.error.NetworkError(__cause__=OSError(errno=int(number))):
            return os.strerror(number)
        case aiocoap.error.MessageError():
            return "the peer refused the message (RST)"
        case aiocoap.error.NetworkError():
            return "the network failed"
    return str(error) or type(error).__name__
