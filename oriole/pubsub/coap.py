"""`oriole pub` and `oriole sub` over CoAP: topic `a/b` is the resource `/ps/data/a/b`, published by PUT, subscribed to
by GET with Observe. aiocoap is imported by whoever comes here.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable
from typing import Final

import aiocoap  # type: ignore[import-untyped]
from aiocoap.error import Error as CoapError  # type: ignore[import-untyped]

from oriole.pubsub.failure import USAGE, Failure
from oriole.pubsub.options import PubOptions, SubOptions
from oriole.pubsub.printing import Printer, Received

ROOT: Final = ("ps", "data")
RETRY_S: Final = (0.1, 1.0, 2.0, 5.0, 10.0)
"""Pauses before an observation is registered again; the last one goes on for ever."""

ANSWER_TIMEOUT_S: Final = 30
"""Longer than the first three retransmissions of a confirmable request (RFC 7252 §4.8)."""


async def publish(options: PubOptions) -> None:
    """PUT the message, confirmable with QoS 1 and 2; DELETE the value where that is asked for. Raises Failure."""
    if options.payload is None:
        raise Failure("-l publishes over mqtt:// only", USAGE)
    _quiet()
    context = await aiocoap.Context.create_client_context()
    try:
        forget = options.retain and not options.payload  # as an empty retained message does over MQTT [MQTT-3.3.1-6]
        request = _request(options, options.topic, aiocoap.DELETE if forget else aiocoap.PUT, options.qos)
        request.payload = options.payload
        response = await _answer(context.request(request).response, options)
        if not response.code.is_successful():
            raise Failure(f"{options.connection.endpoint} refused: {_refusal(response)}")
    finally:
        await context.shutdown()


async def subscribe(options: SubOptions, printer: Printer) -> None:
    """Observe each topic and print its values, until there are enough. Raises Failure, BrokenPipeError."""
    for topic in options.topic_filters:
        if "+" in topic or "#" in topic:
            raise Failure(f"CoAP has no wildcards: {topic!r}", USAGE)
    _quiet()
    context = await aiocoap.Context.create_client_context()
    observer = _Observer(options, printer, context)
    tasks = [asyncio.create_task(observer.observe(topic)) for topic in options.topic_filters]
    tasks.append(asyncio.create_task(observer.enough()))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await context.shutdown()


class _Observer:
    """Observes topics, over restarts of the server, and counts what it prints."""

    __slots__ = ("_context", "_enough", "_left", "_options", "_printer")

    def __init__(self, options: SubOptions, printer: Printer, context: aiocoap.Context) -> None:
        self._options = options
        self._printer = printer
        self._context = context
        self._left = options.count
        self._enough = asyncio.Event()

    async def enough(self) -> None:
        """Until as many are printed as were asked for."""
        await self._enough.wait()

    async def observe(self, topic: str) -> None:
        """For ever; raises Failure when the very first registration fails."""
        attempts, registered = 0, False
        while True:
            try:
                await self._observe_once(topic)
                registered, attempts = True, 0
            except Failure:
                if not registered:
                    raise
            await asyncio.sleep(RETRY_S[min(attempts, len(RETRY_S) - 1)])
            attempts += 1

    async def _observe_once(self, topic: str) -> None:
        request = _request(self._options, topic, aiocoap.GET, self._options.qos)
        request.opt.observe = 0
        exchange = self._context.request(request)
        response = await _answer(exchange.response, self._options)
        if not response.code.is_successful():
            raise Failure(f"{self._options.connection.endpoint} refused {topic!r}: {_refusal(response)}")
        if response.payload and not self._options.skip_retained:  # an empty first answer is a topic without a value
            self._print(topic, response, retain=True)
        if exchange.observation is None:
            raise Failure(f"{self._options.connection.endpoint} does not let {topic!r} be observed")
        try:
            async for notification in exchange.observation:
                if notification.code.is_successful():
                    self._print(topic, notification, retain=False)
        except CoapError:
            return  # the observation has ended: register again

    def _print(self, topic: str, message: aiocoap.Message, *, retain: bool) -> None:
        if self._left == 0:
            return
        qos = min(self._options.qos, 1)
        self._printer.write(Received(topic, message.payload, qos, retain))
        self._printer.flush()
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._enough.set()


def _request(options: PubOptions | SubOptions, topic: str, code: aiocoap.Code, qos: int) -> aiocoap.Message:
    tuning = aiocoap.Reliable if qos or code is not aiocoap.PUT else aiocoap.Unreliable
    request = aiocoap.Message(code=code, uri=str(options.connection.endpoint), transport_tuning=tuning)
    request.opt.uri_path = (*ROOT, *topic.split("/"))
    return request


async def _answer(response: Awaitable[aiocoap.Message], options: PubOptions | SubOptions) -> aiocoap.Message:
    endpoint = options.connection.endpoint
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await response
    except TimeoutError:
        raise Failure(f"{endpoint} does not answer") from None
    except (CoapError, OSError) as error:
        raise Failure(f"cannot reach {endpoint}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error  # aiocoap wraps what the system says
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, socket.gaierror):
        return os.strerror(cause.errno).lower()
    return str(cause) or type(cause).__name__


def _refusal(response: aiocoap.Message) -> str:
    diagnostic = response.payload.decode(errors="replace")
    return f"{response.code.dotted} {response.code.name_printable}" + (f": {diagnostic}" if diagnostic else "")


def _quiet() -> None:
    """What matters is reported by us; aiocoap's own warnings are for programmers."""
    logging.getLogger("coap").setLevel(logging.CRITICAL)
