"""A port on a serial line: pyserial opens and sets it up, `oriole.link.serial` keeps the conversation (docs/serial.md).

The line may vanish (a pulled plug reads as an error); it is opened again until it is back, and the session resumes. A
device that lost its memory greets with another boot id, and the gateway begins with it anew.

The bytes do not go through pyserial, whose `read` cannot use a descriptor beyond 1023.
"""

import asyncio
import errno
import hashlib
import os
import termios
import time
from collections import deque

import serial

from firmware_sim.devices.port import Access, Delivery, Owner
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

RETRY_S = 0.5
READ_BYTES = 4096  # a pseudo-terminal hands out no more at once
BOOT_ID_BYTES = 8


class SerialPort:
    """The device's end of a line. The gateway knows it by its name, and by a boot id. See `Port`."""

    latest_only = False

    def __init__(self, access: Access, line: Line) -> None:
        self._access = access
        self._line = line
        self._meter = access.meter
        self._loop = asyncio.get_running_loop()
        self._serial: serial.Serial | None = None
        self._unwritten = b""
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._boots = 0
        self._is_wanted = False
        self._is_stalled = False
        self._forget()

    def _forget(self) -> None:
        """Be as new: nothing queued, and another boot id."""
        self._boots += 1
        boot = f"{self._access.run}/{self._access.name}/{self._boots}"
        boot_id = hashlib.blake2b(boot.encode(), digest_size=BOOT_ID_BYTES).digest()
        self._endpoint = DeviceEndpoint(self._access.name, boot_id, self._access.kind)
        self._tickets: deque[tuple[int, int]] = deque()  # number on the line, ticket
        self._filters: deque[tuple[int, str]] = deque()  # number on the line, topic filter

    # ---- What the device asks for: see `Port`

    def open(self, owner: Owner) -> None:
        self._owner = owner
        if not self._is_wanted:
            self._is_wanted = True
            self._plug()

    def sleep(self) -> None:
        self._leave()

    def fail(self, keeps_state: bool, silently: bool) -> None:
        self._leave()
        if not keeps_state:
            self._forget()

    def stall(self, stalled: bool) -> None:
        self._is_stalled = stalled
        if self._serial is not None:
            self._listen(self._serial.fileno())

    def roam(self) -> None:
        raise NotImplementedError("a device on a serial line stays where it is")

    async def close(self) -> None:
        self._leave()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        number = self._endpoint.subscribe(topic_filter, _now_ms(), qos)
        self._filters.append((number, topic_filter))
        self._advance([])

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
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
        try:
            self._serial = serial.Serial(self._line.device, self._line.baud, timeout=0, write_timeout=0)
        except (OSError, ValueError) as error:  # SerialException is an OSError; ValueError: a speed that it cannot have
            self._lost(f"cannot open {self._line.device}: {_words(error)}")
            return
        os.set_blocking(self._serial.fileno(), False)
        self._listen(self._serial.fileno())
        self._endpoint.opened(_now_ms())
        self._advance([])

    def _listen(self, fd: int) -> None:
        """Read what comes, or leave it with the kernel; what that cannot hold is lost, as in a UART's buffer."""
        if self._is_stalled:
            self._loop.remove_reader(fd)
        else:
            self._loop.add_reader(fd, self._readable)

    def _lost(self, reason: str) -> None:
        """The line is gone, or was not there: look again soon."""
        self._unplug()
        self._owner.disconnected(reason)
        self._retry = self._loop.call_later(RETRY_S, self._plug)

    def _leave(self) -> None:
        """Let go of the line without a word."""
        self._is_wanted = False
        self._unplug()
        if self._retry is not None:
            self._retry.cancel()

    def _unplug(self) -> None:
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

    def _readable(self) -> None:
        assert self._serial is not None
        try:
            data = os.read(self._serial.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(f"{self._line.device}: {_words(error)}")
            return
        if not data:
            self._lost(f"{self._line.device}: the line is gone")
            return
        if self._meter is not None:
            self._meter.received(len(data), time.monotonic_ns())
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
            written = os.write(self._serial.fileno(), self._unwritten)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._loop.call_soon(self._unwritable, self._serial, f"{self._line.device}: {_words(error)}")
            return
        if self._meter is not None and written:
            self._meter.sent(written, time.monotonic_ns())
        self._unwritten = self._unwritten[written:]
        if self._unwritten:
            self._loop.add_writer(self._serial.fileno(), self._write)

    def _unwritable(self, line: serial.Serial, reason: str) -> None:
        if line is self._serial:
            self._lost(reason)

    def _tell(self, event: Event) -> None:
        match event:
            case Connected(resumed=resumed):
                if self._meter is not None:
                    self._meter.connected(time.monotonic_ns())
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
