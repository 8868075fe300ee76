"""A pretend network between endpoints: it loses, repeats and delays datagrams by a seed, and owns the clock."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heappop, heappush
from random import Random

from oriole.link.coap import Endpoint


class Network:
    """Endpoints by address, and the datagrams on their way between them."""

    def __init__(self, seed: int = 0, loss: float = 0.0, repeats: float = 0.0, delay_ms: int = 0) -> None:
        self.now = 1_000_000
        self.random = Random(seed)
        self.loss = loss
        self.repeats = repeats
        self.delay_ms = delay_ms
        self.endpoints: dict[Hashable, Endpoint] = {}
        self.carried: list[bytes] = []
        self._flying: list[tuple[int, int, bytes, Hashable, Hashable]] = []
        self._number = 0

    def join(self, address: str, endpoint: Endpoint) -> Endpoint:
        self.endpoints[address] = endpoint
        return endpoint

    def run(self, ms: int) -> None:
        """Let time pass, from one event to the next."""
        end = self.now + ms
        while True:
            self._collect()
            times = [at for at in (e.deadline() for e in self.endpoints.values()) if at is not None]
            times += [self._flying[0][0]] if self._flying else []
            following = max(min(times, default=end + 1), self.now)
            if following > end:
                self.now = end
                return
            self.now = following
            while self._flying and self._flying[0][0] <= self.now:
                _, _, datagram, source, target = heappop(self._flying)
                if target in self.endpoints:
                    self.endpoints[target].receive(datagram, source, self.now)
            for endpoint in self.endpoints.values():
                endpoint.tick(self.now)

    def _collect(self) -> None:
        for source, endpoint in self.endpoints.items():
            outgoing, endpoint.outgoing = endpoint.outgoing, []
            for datagram, target in outgoing:
                self.carried.append(datagram)
                copies = 1 + (self.random.random() < self.repeats)
                for _ in range(copies):
                    if self.random.random() >= self.loss:
                        self._number += 1
                        at = self.now + self.random.randint(0, self.delay_ms)
                        heappush(self._flying, (at, self._number, datagram, source, target))
