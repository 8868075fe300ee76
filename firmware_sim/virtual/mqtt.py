"""A port on MQTT in virtual time: its connections are streams of the virtual network."""

from collections.abc import Sequence

from firmware_sim.devices.port import Access
from firmware_sim.ports.session import MqttSession

from .loop import Timeline
from .network import Network, Route, Stream


class MqttPort(MqttSession[Route]):
    """See `firmware_sim.devices.port.Port`; to the network it is a `Caller` and an `Ear`."""

    __slots__ = ("_is_stalled", "_network", "_stream")

    def __init__(
        self, network: Network, timeline: Timeline, access: Access, routes: Sequence[Route], seed: int
    ) -> None:
        super().__init__(timeline, access, routes, seed)
        self._network = network
        self._stream: Stream | None = None
        self._is_stalled = False

    def stall(self, stalled: bool) -> None:
        """See `Port`."""
        self._is_stalled = stalled
        if self._stream is not None:
            self._stream.stall(stalled)

    def _dial(self, address: Route) -> None:
        self._network.dial(address, self, self._attempt)

    def dialled(self, stream: Stream | None, attempt: int, reason: str = "") -> None:
        """See `Caller`. A connection that nobody waits for any more is ended."""
        if attempt != self._attempt:
            if stream is not None:
                stream.abort()
        elif stream is None:
            self._lost(reason)
        else:
            self._stream = stream
            stream.stall(self._is_stalled)
            self._opened()

    def ended(self) -> None:
        """See `Ear`."""
        self._lost("the server closed the connection")

    def drained(self, unsent: int) -> None:
        """See `Ear`. Everything that is written is taken."""

    def _write(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.write(data)

    def _hang_up(self, silently: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            if silently:
                stream.vanish()
            else:
                stream.end()
