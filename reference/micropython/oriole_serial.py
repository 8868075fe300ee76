"""A device on an Oriole serial line, for MicroPython: copy this and oriole_frames.py, and write your `main.py`.

It is docs/serial.md and no more; its parts have the headings of that page. It wants a stream with `read(n)` and
`write(data)` that do not wait for long, such as `machine.UART`, and `step()` called every few milliseconds. What is
published is kept until the gateway has it, through noise, pulled cables and restarts. Prints may go to the same line.
"""

import oriole_frames as wire

try:
    from time import ticks_diff, ticks_ms
except ImportError:  # CPython, to try a device on a desk
    from operator import sub as ticks_diff
    from time import monotonic_ns

    def ticks_ms():
        return monotonic_ns() // 1000000


VERSION = 1
NO_SESSION = 1  # the reason of a BYE that asks who is there
MAX_FRAME_BYTES = 512  # what this device takes between two zeros; at least 256
WINDOW = 4  # how many numbered frames the gateway may have on the line
MAX_WAITING = 16  # how many of ours wait to be acknowledged, each in memory
FIRST_MS, LAST_MS = 500, 8000  # pauses between repeats: doubled from the first to the last
PING_MS, SILENCE_MS = 10000, 30000


def new_boot_id():
    """Names this memory; another after each reset, or the gateway would take new messages for repeats."""
    try:
        from os import urandom

        return urandom(8)
    except ImportError:
        from random import getrandbits

        return bytes([getrandbits(8) for _ in range(8)])


class Device:
    """One device on one line.

    on_message(topic, payload) is called with what matches a subscription, which is acknowledged thereby, and
    on_refused(number, reason, text) with what the gateway did not obey. Both may publish.
    """

    def __init__(self, stream, name, kind="", on_message=None, on_refused=None, baud=115200, clock=ticks_ms):
        self.name = name
        self.kind = kind
        self.up = False  # there is a session: what is published goes now
        self.filters = {}
        self._on_message = on_message
        self._on_refused = on_refused
        self._bytes_per_s = baud // 10
        self._clock = clock
        self._boot_id = new_boot_id()
        self._waiting = []  # our frames, until they are acknowledged
        self._oldest = 1  # the number of the first of them
        self._sent = 0  # how many of them are on the line
        self._has = 0  # the gateway has received them up to this number
        self._limit = 0  # and has room up to this number
        self._max_bytes = MAX_FRAME_BYTES  # for frames as long as this
        self._gateway = b""  # its boot id: whose numbers we count
        self._received = 0  # up to here: obeyed at once, so acknowledged too
        self._nak_behind = -1
        self.plug(stream)

    def plug(self, stream):
        """This is the line from now on. A UART stays the same; a USB port that was away comes back as another."""
        self._stream = stream
        self._in = self._out = b""
        self._now = self._clock()
        self._greet(0)

    def step(self):
        """Reads, obeys, repeats what is missing, writes. Waits no longer than the stream does."""
        self._now = self._clock()
        data = self._stream.read(256)
        if data:
            self._receive(data)
        self._look_at_the_clock()
        if not self._out:
            frames = self._due()
            if frames:
                self._out = b"\0" + b"".join(frames)  # the zero ends whatever was on the line before
        if self._out:
            self._out = self._out[self._stream.write(self._out) or 0 :]

    # ---- Messages

    def publish(self, topic, payload, retain=False):
        """Sends a message, which arrives exactly once. Its number, or 0 when too many wait: try again later.

        ValueError when the gateway takes no frames of this length.
        """
        return self._keep(wire.PUBLISH, topic, payload, retain) if len(self._waiting) < MAX_WAITING else 0

    def subscribe(self, filter, qos=1):
        """Asks for what matches, now and of every gateway that does not know us."""
        self.filters[filter] = qos
        if self._gateway:
            self._keep(wire.SUBSCRIBE, filter, qos)

    def settled(self):
        """Whether everything has arrived: a good moment to switch off."""
        return not self._waiting

    def _keep(self, kind, *fields):
        number = self._oldest + len(self._waiting)
        frame = wire.encode_frame(kind, number, *fields)
        if len(frame) > self._max_bytes + 1:
            raise ValueError("frame too long")
        if not self._waiting:
            self._expect_news(FIRST_MS)
        self._waiting.append(frame)
        return number

    # ---- Finding each other

    def _greet(self, wait_ms):
        """No session: HELLO goes after `wait_ms`, and again until WELCOME comes."""
        self.up = False
        self._answer = self._ping = 0
        self._hello_at = self._now
        self._hello_ms = wait_ms

    def _hello(self):
        self._hello_at = self._now
        self._hello_ms = min(max(FIRST_MS, 2 * self._hello_ms), LAST_MS)
        fields = [VERSION, self._boot_id, self._gateway, self._received, self._oldest, WINDOW, MAX_FRAME_BYTES]
        fields += [self.name, self.kind]
        return wire.encode_frame(wire.HELLO, 0, *fields)

    def _welcome(self, version, boot_id, peer_boot_id, acknowledged, oldest, credit, max_frame_bytes, name, kind):
        if peer_boot_id != self._boot_id or (self.up and boot_id == self._gateway):
            return  # it answers somebody else, or a HELLO that was said twice
        if version != VERSION:
            self._greet(LAST_MS)
            return
        known = boot_id == self._gateway
        self._gateway = boot_id
        self._received = max(self._received, oldest - 1) if known else oldest - 1
        self._nak_behind = -1
        self._forget(acknowledged)
        self._has = self._oldest - 1
        self._sent = 0  # whatever is not acknowledged goes again
        self._limit = acknowledged + credit
        self._max_bytes = max_frame_bytes
        for index, frame in enumerate(self._waiting):
            if len(frame) > max_frame_bytes + 1:
                self._waiting[index] = wire.encode_frame(wire.SKIP, self._oldest + index)
        self.up = True
        self._heard_at = self._asked_at = self._now
        self._expect_news(FIRST_MS)
        if not known:
            for filter, qos in self.filters.items():
                self._keep(wire.SUBSCRIBE, filter, qos)

    # ---- Numbers, acknowledgement, credits

    def _receive(self, data):
        *chunks, rest = (self._in + data).split(b"\0")
        self._in = rest[: MAX_FRAME_BYTES + 1]  # enough to see that it is too long
        for chunk in chunks:
            frame = wire.decode_frame(chunk) if len(chunk) <= MAX_FRAME_BYTES else None
            if frame:
                self._heard_at = self._asked_at = self._now
                self._obey(*frame)
            elif chunk:
                self._missed()  # noise, or a frame that was damaged

    def _obey(self, kind, number, *fields):
        if kind == wire.WELCOME:
            self._welcome(*fields)
        elif kind == wire.BYE:
            self._greet(100 if fields[0] == NO_SESSION else LAST_MS)
        elif not self.up:
            pass  # it comes again after WELCOME
        elif kind == wire.PING:
            self._answer = self._answer or wire.ACK
        elif kind in (wire.ACK, wire.NAK):
            self._acknowledged(kind, *fields)
        elif number == 0 or self._is_next(number):
            if kind == wire.DELIVER and self._on_message:
                self._on_message(fields[0], fields[1])
            elif kind == wire.ERROR and self._on_refused:
                self._on_refused(*fields)

    def _is_next(self, number):
        """Receives a number. A lower one is a repeat, a higher one means that something was lost."""
        if number > self._received + 1:
            self._missed()
            return False
        self._answer = self._answer or wire.ACK
        if number <= self._received:
            return False
        self._received = number
        return True

    def _missed(self):
        """Asks for what was lost, once until the next frame gets through."""
        if self.up and self._nak_behind != self._received:
            self._nak_behind = self._received
            self._answer = wire.NAK

    def _acknowledged(self, kind, received, acknowledged, credit):
        if self._forget(acknowledged) or received > self._has:
            self._expect_news(FIRST_MS)
        self._has = min(max(self._has, received), self._oldest + len(self._waiting) - 1)
        missing = self._has + 1 - self._oldest
        self._sent = missing if kind == wire.NAK else max(self._sent, missing)
        self._limit = max(self._limit, acknowledged + credit)

    def _forget(self, acknowledged):
        """Lets go of what is settled; how many frames that were."""
        settled = min(max(0, acknowledged + 1 - self._oldest), len(self._waiting))
        self._waiting = self._waiting[settled:]
        self._oldest += settled
        self._sent = max(0, self._sent - settled)
        return settled

    def _expect_news(self, wait_ms):
        """Whatever waits is sent again when the gateway says nothing about it for so long."""
        self._news_at = self._clock()
        self._news_ms = self._retry_ms = wait_ms

    def _look_at_the_clock(self):
        if self.up and ticks_diff(self._now, self._heard_at) >= SILENCE_MS:
            self._greet(0)
        elif self.up and ticks_diff(self._now, self._asked_at) >= PING_MS:
            self._ping = 1
        elif self.up and self._waiting and ticks_diff(self._now, self._news_at) >= self._news_ms:
            self._expect_news(min(2 * self._retry_ms, LAST_MS))
            self._sent = self._has + 1 - self._oldest
            self._ping = 1

    def _due(self):
        """The frames to write now."""
        if not self.up:
            return [self._hello()] if ticks_diff(self._now, self._hello_at) >= self._hello_ms else []
        frames = []
        if self._answer:
            frames.append(wire.encode_frame(self._answer, 0, self._received, self._received, WINDOW))
            self._answer = 0
        end = min(len(self._waiting), self._limit + 1 - self._oldest)
        if end > self._sent:
            frames += self._waiting[self._sent : end]
            self._sent = end
            self._news_at = self._now
            self._news_ms = self._retry_ms + sum([len(frame) for frame in frames]) * 1000 // self._bytes_per_s
        if self._ping:
            frames.append(wire.encode_frame(wire.PING, 0))
            self._ping = 0
            self._asked_at = self._now
        return frames
