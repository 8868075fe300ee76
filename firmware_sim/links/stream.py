"""A TCP byte stream in one direction, over packets that may be lost, doubled or late: whole and in order all the same.

For carriers that end TCP connections themselves, where the kernel's TCP does not see what the link does, and for
pretended time, where there is no kernel. It does what one notices of a Linux sender with Reno's congestion control:

- Segments of at most 1448 bytes; the window begins with ten of them, doubles each round trip, then grows by one, and
  halves on a loss (RFC 5681, 6928). Nagle's algorithm is off; small writes that wait for the window share segments.
- A segment is sent again when three that were sent after it have been acknowledged (that takes a round trip), and
  otherwise at the retransmission timeout: 200 ms, or two round trips where that is more; one second before the first
  round trip was measured (RFC 6298). It doubles with each attempt, up to 120 s.
- So a stream does not go on as soon as a cut has healed, but at the sender's next attempt, which after a cut of t is
  up to another t away: real TCP makes whoever waits for it wait as long, and a pretended one must not be kinder.
- What comes later waits behind what is missing.

Acknowledgements take the way back's delay and get lost while it is cut, but no room on it, and chance spares them.
Sender and receiver are one object here: what travels through the pipe is a segment's number.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from heapq import heappop, heappush

from .pipe import SECOND_NS
from .way import Way

MAX_SEGMENT_BYTES = 1448
"""What fits into Ethernet's 1500 bytes behind the headers."""
HEADER_BYTES = 52
"""IPv4, TCP and its timestamps."""
FIRST_WINDOW = 10
LEAST_THRESHOLD = 2
SEND_BUFFER_BYTES = 256 * 1024
"""What may wait or be under way before the writer has to wait; Linux begins below and goes beyond."""
FIRST_TIMEOUT_NS = SECOND_NS
MIN_TIMEOUT_NS = SECOND_NS // 5
MAX_TIMEOUT_NS = 120 * SECOND_NS
MAX_BACKOFF = 10
LATER = 3
"""So many segments sent later and acknowledged say that one is lost."""


class StreamPipe:
    """`deliver` gets the bytes in order, each piece with the time (ns) at which it arrived. An empty write arrives as
    an empty piece, in its place: its writer means something by it, an end mostly.
    """

    __slots__ = (
        "_acknowledgements",
        "_again",
        "_back",
        "_backoff",
        "_deliver",
        "_drained",
        "_early",
        "_expected",
        "_first_owed",
        "_flight",
        "_held_bytes",
        "_is_full",
        "_is_silent",
        "_latest",
        "_numbers",
        "_owed",
        "_reduced_at",
        "_round_trip_ns",
        "_since_ns",
        "_there",
        "_threshold",
        "_transmissions",
        "_unsent",
        "_window",
        "armed_ns",
    )

    def __init__(
        self,
        there: Way,
        back: Way,
        deliver: Callable[[bytes, int], None],
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        """`drained` is called when there is room again after there was none."""
        self._there = there
        self._back = back
        self._deliver = deliver
        self._drained = drained
        self._is_silent = False
        self.armed_ns: int | None = None
        # What the sender knows
        self._unsent: deque[bytes] = deque()  # pieces of a segment's size at most
        self._numbers = 0  # segments that were made
        self._owed: dict[int, bytes] = {}  # not known to have arrived, by number
        self._first_owed = 0  # everything before has arrived, as far as is known
        self._flight: OrderedDict[int, tuple[int, int]] = OrderedDict()  # number: transmission, and when if the first
        self._again: list[int] = []  # a heap: known to be lost
        self._transmissions = 0
        self._latest = [0] * LATER  # the highest transmissions that were acknowledged out of their turn, ascending
        self._reduced_at = 0  # the last transmission when the window was last reduced
        self._window: float = FIRST_WINDOW  # segments that may be under way
        self._threshold = math.inf  # where the window begins to grow slowly
        self._round_trip_ns = 0  # smoothed, but it follows a rise at once; 0 until the first is measured
        self._backoff = 0
        self._since_ns = 0  # since when the timeout runs
        self._held_bytes = 0
        self._is_full = False
        self._acknowledgements: deque[tuple[int, int, int]] = deque()  # heard when (ns), of which, all before which
        # What the receiver knows
        self._expected = 0
        self._early: dict[int, bytes] = {}

    def write(self, data: bytes, now_ns: int) -> None:
        """Send `data`. All of it is taken; a writer who minds the bound looks at `room` before."""
        if self._is_silent:
            return
        if self._acknowledgements:
            self._hear(now_ns)
        for start in range(0, len(data) or 1, MAX_SEGMENT_BYTES):
            piece = data[start : start + MAX_SEGMENT_BYTES]
            self._unsent.append(piece)
            self._held_bytes += len(piece)
        self._is_full = self._held_bytes >= SEND_BUFFER_BYTES
        self._send(now_ns)

    def room(self) -> int:
        """Bytes that the sender's buffer still takes."""
        return max(0, SEND_BUFFER_BYTES - self._held_bytes)

    def silence(self) -> None:
        """Nothing arrives any more, and nobody is told: one of the ends has another address now."""
        self._is_silent = True
        for waiting in (self._unsent, self._owed, self._flight, self._again, self._acknowledgements, self._early):
            waiting.clear()

    def tick(self, now_ns: int) -> None:
        """The time that was asked for has come."""
        if self._is_silent:
            return
        self._hear(now_ns)
        if self._owed and now_ns >= self._since_ns + self._timeout_ns():
            self._give_up_flight(now_ns)
        self._send(now_ns)

    # ---- The sender

    def _send(self, now_ns: int) -> None:
        """What is lost, then what is new, as far as the window goes."""
        while len(self._flight) < self._window:
            if self._again:
                number = heappop(self._again)
                if number in self._owed:
                    self._transmit(number, now_ns, is_first=False)
            elif self._unsent:
                self._transmit(self._new_segment(now_ns), now_ns, is_first=True)
            else:
                break
        self._arm(now_ns)

    def _new_segment(self, now_ns: int) -> int:
        """Number the next segment: one piece, or several small ones. An empty piece goes alone."""
        unsent = self._unsent
        data = unsent.popleft()
        if data and unsent:
            pieces, size = [data], len(data)
            while unsent and unsent[0] and size + len(unsent[0]) <= MAX_SEGMENT_BYTES:
                size += len(unsent[0])
                pieces.append(unsent.popleft())
            data = b"".join(pieces)
        if not self._owed:
            self._since_ns = now_ns
        number = self._numbers
        self._numbers += 1
        self._owed[number] = data
        return number

    def _transmit(self, number: int, now_ns: int, is_first: bool) -> None:
        self._transmissions += 1
        self._flight[number] = (self._transmissions, now_ns if is_first else -1)
        self._there.send(self._arrived, number, len(self._owed[number]) + HEADER_BYTES, now_ns)

    def _hear(self, now_ns: int) -> None:
        """Take note of the acknowledgements that have come back until now."""
        heard = self._acknowledgements
        is_limited = bool(self._unsent) or 2 * len(self._flight) >= self._window  # an idle sender learns nothing
        while heard and heard[0][0] <= now_ns:
            at_ns, number, expected = heard.popleft()
            while self._first_owed < expected:
                self._settle(self._first_owed, at_ns, is_limited)
                self._first_owed += 1
            if number >= expected:
                self._settle(number, at_ns, is_limited)
        self._find_lost(now_ns)
        if self._is_full and self._held_bytes <= SEND_BUFFER_BYTES // 2:
            self._is_full = False
            self._drained()

    def _settle(self, number: int, at_ns: int, is_limited: bool) -> None:
        """Segment `number` has arrived, as was heard `at_ns`; `is_limited`: the window keeps the sender from more."""
        data = self._owed.pop(number, None)
        if data is None:
            return
        self._held_bytes -= len(data)
        self._since_ns = at_ns
        self._backoff = 0
        if is_limited:
            self._window += 1 if self._window < self._threshold else 1 / self._window
        if (flown := self._flight.pop(number, None)) is None:
            return  # it was thought lost, wrongly
        transmission, sent_ns = flown
        if sent_ns >= 0:
            measured_ns = max(1, at_ns - sent_ns)
            self._round_trip_ns = max(measured_ns, (7 * self._round_trip_ns + measured_ns) // 8)
        if self._flight and self._oldest()[1] < transmission:
            self._latest = sorted([*self._latest, transmission])[1:]

    def _find_lost(self, now_ns: int) -> None:
        """What was overtaken by enough others is lost; the first of a window is sent at once, and halves the window."""
        while self._flight:
            number, transmission = self._oldest()
            if transmission >= self._latest[0]:
                break
            in_flight = len(self._flight)
            del self._flight[number]
            if transmission > self._reduced_at:
                self._reduced_at = self._transmissions
                self._threshold = self._window = max(in_flight // 2, LEAST_THRESHOLD)
                self._transmit(number, now_ns, is_first=False)
            else:
                heappush(self._again, number)

    def _give_up_flight(self, now_ns: int) -> None:
        """The timeout: all that is under way counts as lost, and the window begins anew with one segment."""
        self._threshold = max(len(self._flight) // 2, LEAST_THRESHOLD)
        self._window = 1
        self._reduced_at = self._transmissions
        for number in self._flight:
            heappush(self._again, number)
        self._flight.clear()
        self._backoff = min(self._backoff + 1, MAX_BACKOFF)
        self._since_ns = now_ns

    def _oldest(self) -> tuple[int, int]:
        """Of what is under way, the number and the transmission of what was sent first."""
        number = next(iter(self._flight))
        return number, self._flight[number][0]

    def _timeout_ns(self) -> int:
        timeout_ns = max(MIN_TIMEOUT_NS, 2 * self._round_trip_ns) if self._round_trip_ns else FIRST_TIMEOUT_NS
        return min(timeout_ns << self._backoff, MAX_TIMEOUT_NS)

    def _arm(self, now_ns: int) -> None:
        """Ask to be called at the timeout, and at the next acknowledgement if it makes a difference."""
        if not self._owed:
            return
        when_ns = self._since_ns + self._timeout_ns()
        is_waiting = self._unsent or self._again or self._early or self._is_full
        if self._acknowledgements and (is_waiting or self._backoff or not self._round_trip_ns):
            when_ns = min(when_ns, self._acknowledgements[0][0])
        when_ns = max(when_ns, now_ns)
        if self.armed_ns is None or when_ns < self.armed_ns:
            self._there.arm(self, when_ns)

    # ---- The receiver

    def _arrived(self, number: int, arrives_ns: int) -> None:
        if self._is_silent:
            return
        if number == self._expected:
            self._deliver_from(self._owed[number], arrives_ns)
        elif number > self._expected and number not in self._early:
            self._early[number] = self._owed[number]
        if self._back.pipe.is_cut or self._is_silent:
            return
        heard_ns = arrives_ns + self._back.pipe.delay_ns
        self._acknowledgements.append((heard_ns, number, self._expected))
        self._arm(arrives_ns)

    def _deliver_from(self, data: bytes | None, arrives_ns: int) -> None:
        """Hand out a segment and those that waited behind it."""
        while data is not None and not self._is_silent:
            self._expected += 1
            self._deliver(data, arrives_ns)
            data = self._early.pop(self._expected, None)
