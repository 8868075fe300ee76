"""A fleet from start to end: links, devices, the schedule, the wait for what is under way, the books.

The fleet acts in one asyncio loop and keeps an eye on itself: how late its own planned actions were is part of the
result, so that nobody takes the generator's slowness for the broker's.
"""

import asyncio
import contextlib
import gc
import os
from typing import Literal

import msgspec

from firmware_sim.devices.clock import SECOND_NS, RealClock
from firmware_sim.devices.device import Device
from firmware_sim.devices.kinds import new_port
from firmware_sim.links.network import Network
from firmware_sim.report.accounts import Accounts, close_books, way_name
from firmware_sim.report.latency import Latency, summarise
from firmware_sim.report.ledger import Ledger
from firmware_sim.report.story import Cut, Look, Story
from oriole.urls import Endpoint

from .expand import Plan, expand
from .scenario import Event, Scenario

OPENED_AT_ONCE = 10
SAMPLE_S = 0.5
CHECK_S = 0.1
FAREWELL_S = 0.1


class FleetError(RuntimeError):
    """The fleet did not begin; the message says who is missing and what they last heard."""


class Happening(msgspec.Struct, frozen=True):
    """A link event as it really was."""

    at_ns: int
    what: str
    link: str


class Fleet:
    """One run of one scenario. `network` may already hold some of the scenario's links."""

    def __init__(self, scenario: Scenario, seed: int, network: Network) -> None:
        self.scenario = scenario
        self.seed = seed
        self.run_id = os.urandom(4).hex()
        self.clock = RealClock()
        self.ledger = Ledger(self.run_id)
        self.devices: list[Device] = []
        self.phase = "starting"
        self.began_ns = 0
        self.ended_ns = 0
        self.happenings: list[Happening] = []
        self.looks: list[Look] = []
        self.books: Accounts | None = None
        """The accounts when all was over; what devices hear while they are switched off is no part of them."""
        self._network = network
        self._ports: dict[tuple[str, Endpoint], int] = {}
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Live through the scenario; the results are in the ledger, `happenings`, `looks` and the clock's lags.

        Raises `FleetError` when devices do not get ready, or it is stopped before they are; `NetworkError` from the
        links. Whatever happens, no device stays connected.
        """
        watching = asyncio.create_task(self._watch())
        try:
            self.phase = "connecting"
            await self._open_all()
            await self._pause(self.scenario.settle_s)
            self.phase = "running"
            await self._act()
            self.phase = "draining"
            await self._drain()
        finally:
            self.phase = "closing"
            self.ended_ns = self.clock.now_ns()
            self.books = self.accounts()
            gc.unfreeze()
            watching.cancel()
            await asyncio.gather(*(device.close() for device in self.devices), return_exceptions=True)
            await asyncio.sleep(self._farewell_s())
        self.phase = "done"

    def stop(self) -> None:
        """End early: what is under way is still waited for, and accounted for."""
        self._stop.set()

    def cuts(self) -> list[Cut]:
        """When links were silent; a cut that has not healed ends now."""
        cut_ns: dict[str, int] = {}
        cuts: list[Cut] = []
        for happening in self.happenings:
            if happening.what == "cut":
                cut_ns.setdefault(happening.link, happening.at_ns)
            elif happening.link in cut_ns:
                cuts.append(Cut(happening.link, cut_ns.pop(happening.link), happening.at_ns))
        return cuts + [Cut(link, start_ns, self.clock.now_ns()) for link, start_ns in cut_ns.items()]

    def silent_links(self) -> list[str]:
        """Links that are cut now."""
        last = {happening.link: happening.what for happening in self.happenings}
        return [link for link, what in last.items() if what == "cut"]

    def story(self) -> Story:
        """What happened when, for the plots."""
        latencies = {way_name(*key): way.samples for key, way in sorted(self.ledger.ways.items())}
        return Story(self.began_ns, self.ended_ns, self.looks, self.cuts(), latencies)

    def accounts(self) -> Accounts:
        """The books as they stand."""
        return close_books(self.ledger, self.scenario.late_ms)

    def lag(self) -> Latency:
        """How late the fleet's own planned actions began."""
        return summarise(self.clock.lags_ns)

    def progress(self) -> str:
        """Where the run is, in a line."""
        if self.phase == "connecting" and (missing := self.missing()):
            return f"connecting: waiting for {missing}"
        second = max(0.0, (self.clock.now_ns() - self.began_ns) / SECOND_NS) if self.began_ns else 0.0
        ready = sum(device.is_ready for device in self.devices)
        counts = f"{len(self.ledger.messages)} sent, {self.ledger.received_total} received"
        return f"{second:5.0f} of {self.scenario.seconds:.0f} s  {self.phase}: {ready} devices, {counts}"

    def missing(self) -> str:
        """How many devices are not ready, one of them, and what it last heard; empty when all are."""
        missing = [device for device in self.devices if not device.is_ready]
        if not missing:
            return ""
        one = next((device for device in missing if device.trouble), missing[0])
        why = one.trouble or "no answer yet"
        return f"{len(missing)} of {len(self.devices)} devices, {one.traits.name} among them ({why})"

    def _farewell_s(self) -> float:
        """How long the devices' last words are under way: the network may not end before."""
        return max((model.delay_ms for model in self.scenario.links.values()), default=0.0) / 1000 + FAREWELL_S

    # ---- Starting

    async def _open_all(self) -> None:
        for number, plan in enumerate(expand(self.scenario, self.seed)):
            device = await self._new_device(plan)
            self.devices.append(device)
            device.open()
            if number % OPENED_AT_ONCE == OPENED_AT_ONCE - 1:
                await asyncio.sleep(0)
        deadline_ns = self.clock.now_ns() + round(self.scenario.ready_s * SECOND_NS)
        while missing := self.missing():
            if self._stop.is_set():
                raise FleetError(f"stopped before anything began, while it waited for {missing}")
            if self.clock.now_ns() > deadline_ns:
                raise FleetError(f"waited {self.scenario.ready_s:g} s in vain for {missing}")
            await asyncio.sleep(CHECK_S)

    async def _new_device(self, plan: Plan) -> Device:
        address = plan.address
        if plan.link and isinstance(address, Endpoint):
            address = await self._through(plan.link, address)
        port = new_port(plan.kind, plan.traits.name, address, self.run_id, plan.mqtt_version)
        return plan.kind(plan.traits, port, self.clock, self.ledger)

    async def _through(self, link: str, address: Endpoint) -> Endpoint:
        """Where to connect instead of `address`, so that `link` lies between."""
        if not any(known == link for known, _ in self._ports):
            await self._network.add(link, self.scenario.links[link])
        if (link, address) not in self._ports:
            protocol: Literal["udp", "tcp"] = "udp" if address.scheme == "coap" else "tcp"
            self._ports[link, address] = await self._network.forward(link, protocol, address.host, address.port)
        port = self._ports[link, address]
        return Endpoint(address.scheme, "127.0.0.1", port, address.username, address.password)

    # ---- Acting

    async def _act(self) -> None:
        gc.collect()
        gc.freeze()  # what start-up made need not be walked again: 80 ms of the fleet's own would look like latency
        self.began_ns = self.clock.now_ns()
        for device in self.devices:
            device.run()
        for event in sorted(self.scenario.schedule, key=lambda event: event.at_s):
            await self._pause_until(event.at_s)
            if not self._stop.is_set():
                await self._do(event)
        await self._pause_until(self.scenario.seconds)
        for device in self.devices:
            device.quiet()

    async def _do(self, event: Event) -> None:
        if event.cut:
            await self._network.cut(event.cut)
            self.happenings.append(Happening(self.clock.now_ns(), "cut", event.cut))
        else:
            await self._network.heal(event.heal)
            self.happenings.append(Happening(self.clock.now_ns(), "heal", event.heal))

    async def _drain(self) -> None:
        """Wait until nothing is missing. What is still cut heals first, or what it holds back would count as lost."""
        for link in dict.fromkeys(event.cut for event in self.scenario.schedule if event.cut):
            await self._network.heal(link)
        deadline_ns = self.clock.now_ns() + round(self.scenario.drain_s * SECOND_NS)
        while self.clock.now_ns() < deadline_ns:
            await asyncio.sleep(CHECK_S)
            total = self.accounts().total
            if not total.lost and not total.lost_qos0:
                return

    async def _pause_until(self, second: float) -> None:
        await self._pause((self.began_ns - self.clock.now_ns()) / SECOND_NS + second)

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(0.0, seconds))

    # ---- Watching

    async def _watch(self) -> None:
        """Note the running totals now and then, for the plots."""
        while True:
            counters = await self._network.count()
            self.looks.append(Look(self.clock.now_ns(), counters, dict(self.ledger.delivered_bytes)))
            await asyncio.sleep(SAMPLE_S)
