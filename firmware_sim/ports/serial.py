"""A port on a serial line: pyserial moves the bytes, `oriole.link.serial` keeps the conversation (docs/serial.md).

The line may vanish (a pulled plug reads as an error); it is opened again until it is back, and the session resumes.
"""

import asyncio
import errno
import os
import termios
import time
from collections import deque

import serial

from oriole.link.serial import (
    Acknowledged,
    Connected,
    DeviceEndpoint,
    Disconnected,
    Event,
    QueueFull,
    Received,
    TooLargeError,
)
from oriole.urls import SerialPort as Line
from oriole.wire.serial import Deliver, Error

from .port import Delivery, Owner

RETRY_S = 0.5


class SerialPort:
    """The device's end of a line. The gateway knows it by its name, and by a boot id that is new with its memory."""

    latest_only = False

    def __init__(self, line: Line, device_id: str, boot_id: bytes, kind: str) -> None:
        self._line = line
        self._endpoint = DeviceEndpoint(device_id, boot_id, kind)
        self._loop = asyncio.get_running_loop()
        self._serial: serial.Serial | None = None
        self._unwritten = b""
        self._timer: asyncio.TimerHandle | None = None
        self._tickets: deque[tuple[int, int]] = deque()  # number on the line, ticket
        self._filters: deque[tuple[int, str]] = deque()  # number on the line, topic filter
        self._is_wanted = False

    # ---- What the device asks for: see `Port`

    def open(self, owner: Owner) -> None:
        self._owner = owner
        self._is_wanted = True
        if self._serial is None:
            self._plug()

    def sleep(self) -> None:
        raise NotImplementedError("a serial device has mains power")

    async def close(self) -> None:
        self._is_wanted = False
        self._unplug("closed")

    def subscribe(self, topic_filter: str, qos: int) -> None:
        number = self._endpoint.subscribe(topic_filter, _now_ms(), qos)
        self._filters.append((number, topic_filter))
        self._advance([])

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int) -> None:
        try:
            number = self._endpoint.publish(topic, payload, _now_ms(), min(qos, 1), retain)
        except (QueueFull, TooLargeError) as error:
            self._owner.refused(ticket, str(error))
            return
        if number:
            self._tickets.append((number, ticket))
        self._advance([])

    def forget(self, topic: str) -> None:
        self._endpoint.publish(topic, b"", _now_ms(), 0, retain=True)
        self._advance([])

    def read(self, topic: str) -> None:
        raise NotImplementedError("a serial device has no question: it subscribes")

    # ---- The line

    def _plug(self) -> None:
        if not self._is_wanted:
            return
        try:
            self._serial = serial.Serial(self._line.device, self._line.baud, timeout=0, write_timeout=0)
        except (OSError, ValueError) as error:  # SerialException is an OSError; ValueError: a speed that it cannot have
            self._owner.disconnected(f"cannot open {self._line.device}: {_words(error)}")
            self._loop.call_later(RETRY_S, self._plug)
            return
        self._loop.add_reader(self._serial.fileno(), self._readable)
        self._endpoint.opened(_now_ms())
        self._advance([])

    def _unplug(self, reason: str) -> None:
        if self._serial is None:
            return
        self._loop.remove_reader(self._serial.fileno())
        self._loop.remove_writer(self._serial.fileno())
        self._serial.close()
        self._serial = None
        self._unwritten = b""
        if self._timer is not None:
            self._timer.cancel()
        self._endpoint.closed(_now_ms())
        if self._is_wanted:
            self._owner.disconnected(reason)
            self._loop.call_later(RETRY_S, self._plug)

    def _readable(self) -> None:
        assert self._serial is not None
        try:
            data = self._serial.read(max(1, self._serial.in_waiting))
        except OSError as error:
            self._unplug(f"{self._line.device}: {_words(error)}")
            return
        self._advance(self._endpoint.receive(data, _now_ms()))

    def _advance(self, events: list[Event]) -> None:
        """Tell the device what happened, write what is to be written, and set the one timer."""
        for event in events:
            self._tell(event)
        if self._serial is None:
            return
        self._write()
        if self._timer is not None:
            self._timer.cancel()
        deadline_ms = self._endpoint.deadline()
        self._timer = None if deadline_ms is None else self._loop.call_at(deadline_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._advance(self._endpoint.tick(_now_ms()))

    def _write(self) -> None:
        assert self._serial is not None
        if not self._unwritten:
            self._unwritten = self._endpoint.outgoing()
        if not self._unwritten:
            self._loop.remove_writer(self._serial.fileno())
            return
        try:
            written = self._serial.write(self._unwritten) or 0
        except serial.SerialTimeoutException:
            written = 0
        except OSError as error:
            self._loop.call_soon(self._unplug, f"{self._line.device}: {_words(error)}")
            return
        self._unwritten = self._unwritten[written:]
        if self._unwritten:
            self._loop.add_writer(self._serial.fileno(), self._write)

    def _tell(self, event: Event) -> None:
        match event:
            case Connected(resumed=resumed):
                self._owner.connected(resumed)
            case Disconnected(text=text):
                self._owner.disconnected(text)
            case Received(frame=Deliver(sequence, topic, payload, retain)):
                self._owner.delivered(Delivery(topic, payload, min(sequence, 1), repeat=False, stored=retain))
            case Received(frame=Error() as error):
                self._owner.unanswered(None, str(error))
            case Acknowledged(sequence):
                while self._tickets and self._tickets[0][0] <= sequence:
                    self._owner.accepted(self._tickets.popleft()[1])
                while self._filters and self._filters[0][0] <= sequence:
                    self._owner.subscribed(self._filters.popleft()[1])


def _words(error: OSError | ValueError) -> str:
    """What went wrong, for a person: pyserial says the number of an error twice, and the words in brackets."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error.__context__, termios.error):
        number = error.__context__.args[0]
    if number == errno.ENOTTY:
        return "it is no serial line"
    return str(error) if number is None else os.strerror(number)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
