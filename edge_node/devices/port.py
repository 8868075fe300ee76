"""A serial port of the operating system: opened by name, never waited for, opened again when it is back.

A cable that is pulled shows as an error or as end of file; the port is then closed, which lets the system give its name
to the same adapter again, and tried with growing pauses until it is there.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from broker.core.channel import Channel
from broker.listeners.host import Host
from edge_node.devices.device import SerialDevice
from edge_node.devices.line import Line
from edge_node.devices.registry import Devices
from oriole.logging import Log
from oriole.urls import SerialPort
from oriole.wire.serial import Noise, Reason

if TYPE_CHECKING:
    import serial

READ_BYTES = 4096
"""What a tty holds at most between two reads."""
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0

log = Log("serial")


def log_noise(port: object, noise: Noise) -> None:
    """Show who looks for a fault what is on a line beside frames: a device's own log, or damage."""
    log.debug("no frame", port=port, damage=noise.damage.value, data=noise.data[:200].decode(errors="backslashreplace"))


class Port(Channel):
    """A port that the configuration names: the channel of a line, and the file behind it while there is one.

    It goes on reading while it is held: a serial line has no flow control of its own, and what is not read is lost. The
    line acknowledges nothing instead, and the credits run out.
    """

    __slots__ = ("_host", "_line", "_retry", "_retry_s", "_seen", "_tty", "_unsent", "address")

    def __init__(self, host: Host, address: SerialPort, devices: Devices) -> None:
        super().__init__(host.engine, address.device)
        self.address = address
        self._host = host
        self._line = devices.open(self)
        self._tty: serial.Serial | None = None
        self._unsent = b""
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = FIRST_RETRY_S
        self._seen: SerialDevice | None = None  # whom the log last told of

    @property
    def line(self) -> Line:
        """Who is there, and what was counted."""
        return self._line

    def open(self) -> None:
        """Open the port now, or as soon as it is there."""
        import serial

        self._retry = None
        try:
            address = self.address
            self._tty = serial.Serial(address.device, address.baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:
            self._try_again(_reason(error))
            return
        os.set_blocking(self._tty.fileno(), False)
        self._host.loop.add_reader(self._tty.fileno(), self._readable)
        log.info("open", port=self.address.device)
        self._line.opened(self._host.now())
        self._host.wake()

    def _readable(self) -> None:
        assert self._tty is not None
        try:
            data = os.read(self._tty.fileno(), READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if not data:
            self._lost("end of file")
            return
        self._retry_s = FIRST_RETRY_S  # it does not only open, it works
        self._line.receive(data, self._host.now())
        self._host.wake()

    def flush(self) -> None:
        """Write what waits, as far as the system takes it."""
        self._tell()
        if self._tty is None:
            self.out.clear()
            self.size = 0
        elif not self._unsent:
            data = b"".join(self.out)
            self.out.clear()
            if data:
                self._write(self._tty.fileno(), data)
        if self.closing and not self._unsent:
            self._shut()

    def _write(self, file: int, data: bytes) -> None:
        try:
            written = os.write(file, data)
        except (BlockingIOError, InterruptedError):
            written = 0
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        waited = bool(self._unsent)
        self._unsent = data[written:]
        self.size = len(self._unsent) + sum(map(len, self.out))
        if self._unsent and not waited:
            self._host.loop.add_writer(file, self._writable)
        elif waited and not self._unsent:
            self._host.loop.remove_writer(file)
        if not self.size:
            self._line.written(self._host.now())

    def _writable(self) -> None:
        assert self._tty is not None
        self._write(self._tty.fileno(), self._unsent)
        if not self._unsent:
            self.flush()
        self._host.wake()

    def broken(self, error: Exception) -> None:
        """Close and open again: the line finds its place by itself."""
        log.error("closed for a fault of ours", error, port=self.address.device)
        self._lost(str(error))

    def resume(self) -> None:
        """No longer held: go on with what the line kept waiting."""
        self._line.resume(self._host.now())

    def close(self) -> None:
        """Tell the device, write it, close; the port is not opened again."""
        if not self.closing:
            self._line.dismiss(Reason.UNAVAILABLE, "the gateway stops", self._host.now())
        super().close()

    def _lost(self, why: str) -> None:
        self._shut()
        self._line.closed(self._host.now())
        self._tell()
        if not self.closing:
            self._try_again(why)
        self._host.wake()

    def _tell(self) -> None:
        """Whoever comes or goes is a line in the log; both make the line write something."""
        if self._line.device is not self._seen:
            if self._seen is not None:
                log.info("device gone", device=self._seen.name, port=self.address.device)
            self._seen = self._line.device
            if self._seen is not None:
                log.info("device there", device=self._seen.name, port=self.address.device)

    def _shut(self) -> None:
        """Let go of the file, so that the system can give its name to whatever is plugged in next."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._tty is not None:
            self._host.loop.remove_reader(self._tty.fileno())
            self._host.loop.remove_writer(self._tty.fileno())
            self._tty.close()
            self._tty = None
        self.out.clear()
        self._unsent = b""
        self.size = 0

    def _try_again(self, why: str) -> None:
        if self._retry_s == FIRST_RETRY_S:
            log.warning("not there, waiting for it", port=self.address.device, reason=why)
        self._retry = self._host.loop.call_later(self._retry_s, self.open)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)


def _reason(error: OSError | ValueError) -> str:
    """Why a port cannot be opened, in the system's words; pyserial's say it twice."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EAGAIN:
        return "another program uses it"
    return str(error) if number is None else os.strerror(number)
