"""`oriole pub` and `oriole sub` over MQTT: a thin asyncio shell around `oriole.link.mqtt.Client`."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from typing import BinaryIO, Final, Self

from oriole.link.mqtt import (
    Client,
    ClientConfig,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    MessageReceived,
    Published,
    QueueFull,
    Subscribed,
)
from oriole.pubsub.failure import Failure
from oriole.pubsub.lines import lines
from oriole.pubsub.options import Connection, PubOptions, SubOptions
from oriole.pubsub.printing import Printer, Received
from oriole.wire.mqtt import V311, ReasonCode, Subscription

MAX_UNSETTLED: Final = 1_000
"""Lines of standard input on the way, unacknowledged."""

RETRY_S: Final = (0.1, 1.0, 2.0, 5.0, 10.0)
"""Pauses before the attempts to connect again; the last one goes on for ever."""

CONNECT_TIMEOUT_S: Final = 20

LINGER_S: Final = 2.0
"""How long the server may take to close its side after it was told goodbye."""


class Link:
    """A client on a TCP connection: what it wants to write is written, what arrives becomes events."""

    __slots__ = ("_early", "_reader", "_writer", "client")

    def __init__(self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client = client
        self._reader = reader
        self._writer = writer
        self._early: list[Event] = []  # came with the CONNACK

    @classmethod
    async def open(cls, client: Client, connection: Connection) -> tuple[Self, Connected]:
        """Connect, and be accepted. Raises Failure."""
        endpoint = connection.endpoint
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        except TimeoutError:
            raise Failure(f"cannot connect to {endpoint}: no answer") from None
        except OSError as error:
            raise Failure(f"cannot connect to {endpoint}: {_reason(error)}") from None
        link = cls(client, reader, writer)
        client.connect(_now())
        try:
            while True:
                for position, event in enumerate(events := await link.receive()):
                    match event:
                        case Connected():
                            link._early = events[position + 1 :]
                            return link, event
                        case ConnectRefused(reason_code):
                            raise Failure(f"{endpoint} refused the connection: {_refusal(reason_code)}")
                        case Disconnected(_, text):
                            raise Failure(f"{endpoint}: {text}")
        except BaseException:
            writer.close()
            raise

    async def receive(self) -> list[Event]:
        """Write what is to be written, then wait for something to happen."""
        if self._early:
            early, self._early = self._early, []
            return early
        await self.flush()
        client = self.client
        deadline = client.deadline()
        try:
            async with asyncio.timeout(None if deadline is None else max(0, deadline - _now()) / 1000):
                data = await self._reader.read(65_536)
        except TimeoutError:
            return client.tick(_now())
        except OSError:
            data = b""
        return client.receive(data, _now()) if data else client.closed(_now())

    async def flush(self) -> None:
        """Write, and wait while the server is slow to read."""
        if data := self.client.outgoing():
            self._writer.write(data)
            try:
                await self._writer.drain()
            except OSError:
                return  # reading says that the connection is gone, and why

    async def close(self) -> None:
        """Say goodbye, then read until the server closes: to close with unread bytes in the socket resets the
        connection, and a server that meets the reset first loses the acknowledgements before it.
        """
        self.client.disconnect(_now())
        try:
            async with asyncio.timeout(LINGER_S):
                await self.flush()
                self._writer.write_eof()
                while await self._reader.read(65_536):
                    pass
        except (OSError, TimeoutError):
            pass  # gone already, or not listening
        finally:
            self.client.closed(_now())
            self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def publish(options: PubOptions, stdin: BinaryIO) -> None:
    """Publish what the options say, until everything is acknowledged. Raises Failure."""
    link, _ = await Link.open(Client(_config(options.connection)), options.connection)
    publisher = _Publisher(options, link)
    listening = asyncio.create_task(publisher.listen())
    publishing = asyncio.create_task(publisher.run(stdin))
    try:
        await asyncio.wait((listening, publishing), return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            listening.result()  # it ends only by a Failure
        publishing.result()
    finally:
        for task in (listening, publishing):
            task.cancel()
        await asyncio.gather(listening, publishing, return_exceptions=True)
        await link.close()


class _Publisher:
    """Sends on one side, listens on the other, and holds back the sender while much is unacknowledged."""

    __slots__ = ("_link", "_options", "_progress", "_refused")

    def __init__(self, options: PubOptions, link: Link) -> None:
        self._options = options
        self._link = link
        self._progress = asyncio.Event()
        self._refused: ReasonCode | None = None

    async def run(self, stdin: BinaryIO) -> None:
        if self._options.payload is not None:
            await self._send(self._options.payload)
        else:
            async for line in lines(stdin):
                await self._send(line)
        await self._settled(0)
        if self._refused is not None:
            raise Failure(f"{self._options.connection.endpoint} refused: {_refusal(self._refused)}")

    async def listen(self) -> None:
        while True:
            for event in await self._link.receive():
                match event:
                    case Published(_, reason_code) if reason_code >= ReasonCode.UNSPECIFIED_ERROR:
                        self._refused = reason_code
                    case Disconnected(_, text):
                        raise Failure(f"{self._options.connection.endpoint}: {text}")
            self._progress.set()

    async def _send(self, payload: bytes) -> None:
        options = self._options
        await self._settled(MAX_UNSETTLED)
        while True:
            try:
                self._link.client.publish(options.topic, payload, options.qos, options.retain, now=_now())
                break
            except QueueFull:
                await self._settled(self._link.client.unsettled - 1)
            except ValueError as error:
                raise Failure(str(error)) from None
        await self._link.flush()

    async def _settled(self, at_most: int) -> None:
        """Wait until no more than `at_most` messages are unacknowledged."""
        while self._link.client.unsettled > max(0, at_most):
            self._progress.clear()
            await self._progress.wait()


async def subscribe(options: SubOptions, printer: Printer) -> None:
    """Print what comes, over lost connections, until there are enough. Raises Failure, BrokenPipeError."""
    client = Client(_config(options.connection, options))
    subscriber = _Subscriber(options, printer)
    failures = 0
    while True:
        try:
            link, connected = await Link.open(client, options.connection)
        except Failure:
            if not subscriber.has_subscribed:  # what never worked is not tried again
                raise
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1
            continue
        failures = 0
        try:
            lost = await subscriber.run(link, connected)
        finally:
            await link.close()
        if lost is None:
            return
        print(f"oriole sub: {options.connection.endpoint}: {lost}; connecting again", file=sys.stderr)
        await asyncio.sleep(RETRY_S[0])


class _Subscriber:
    """Subscribes on each connection where the session is new, prints, and counts."""

    __slots__ = ("_left", "_options", "_printer", "has_subscribed")

    def __init__(self, options: SubOptions, printer: Printer) -> None:
        self._options = options
        self._printer = printer
        self._left = options.count
        self.has_subscribed = False

    async def run(self, link: Link, connected: Connected) -> str | None:
        """Until there are enough messages: None; or until the connection is lost: how."""
        options = self._options
        if not (connected.session_present and self.has_subscribed):
            wanted = [Subscription(topic_filter, options.qos) for topic_filter in options.topic_filters]
            link.client.subscribe(wanted, now=_now())
        while True:
            for event in await link.receive():
                match event:
                    case MessageReceived():
                        if self._print(event, link.client):
                            return None
                    case Subscribed(_, reason_codes):
                        self._check_subscribed(reason_codes)
                    case Disconnected(ReasonCode.SESSION_TAKEN_OVER):
                        raise Failure(f"another client uses the client identifier {link.client.client_identifier!r}")
                    case Disconnected(_, text):
                        return text
            self._printer.flush()

    def _print(self, message: MessageReceived, client: Client) -> bool:
        """Print, then acknowledge: what is acknowledged has been printed. Says whether that was the last."""
        if not (message.retain and self._options.skip_retained):
            properties = dict(message.properties.present)
            self._printer.write(Received(message.topic, message.payload, message.qos, message.retain, properties))
            if self._left is not None:
                self._left -= 1
        if message.qos or self._left == 0:
            self._printer.flush()
            client.acknowledge(message, now=_now())
        return self._left == 0

    def _check_subscribed(self, reason_codes: list[ReasonCode]) -> None:
        refused = [
            f"{topic_filter}: {_refusal(reason_code)}"
            for topic_filter, reason_code in zip(self._options.topic_filters, reason_codes, strict=True)
            if reason_code >= ReasonCode.UNSPECIFIED_ERROR
        ]
        if len(refused) == len(reason_codes):
            raise Failure(f"{self._options.connection.endpoint} refused to subscribe to {', '.join(refused)}")
        for text in refused:
            print(f"oriole sub: not subscribed to {text}", file=sys.stderr)
        self.has_subscribed = True


def _config(connection: Connection, sub: SubOptions | None = None) -> ClientConfig:
    keep_session = sub is not None and sub.keep_session
    return ClientConfig(
        client_identifier=connection.client_identifier,
        version=connection.version,
        clean_start=not keep_session,
        session_expiry_interval=0xFFFF_FFFF if keep_session and connection.version != V311 else 0,
        keep_alive=connection.keep_alive,
        username=connection.username,
        password=None if connection.password is None else connection.password.encode(),
        manual_acknowledgement=sub is not None,
    )


def _refusal(reason_code: ReasonCode) -> str:
    text = reason_code.name.lower().replace("_", " ")
    hint = "; it may speak only MQTT 3.1.1: try -V 311"
    return text + hint if reason_code is ReasonCode.UNSUPPORTED_PROTOCOL_VERSION else text


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()  # asyncio's own text names the call, not the reason


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
