"""A fleet from start to end: its world, its devices, the plan, the wait for what is under way, the books.

The fleet acts in one asyncio loop and keeps an eye on itself: how late its own planned actions were is part of the
result, so that nobody takes the generator's slowness for the broker's.
"""

import asyncio
import contextlib
import gc
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from firmware_sim.devices.device import Device
from firmware_sim.devices.perform import perform
from firmware_sim.devices.scribe import Scribe
from firmware_sim.energy import HANDSHAKES, Radio, new_radio
from firmware_sim.report.accounts import Accounts, close_books, way_name
from firmware_sim.report.evidence import Evidence, Paths
from firmware_sim.report.latency import Latency, summarise
from firmware_sim.report.ledger import Failure, Ledger
from firmware_sim.report.story import Cut, Incident, Look, Story
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import ENDS, Action, plan, starts_ns
from firmware_sim.scenario.roster import Member, roster
from firmware_sim.scenario.values import SECOND_NS
from firmware_sim.unhandled import tell

from .crowd import Crowd
from .room import shortage
from .trace import Trace
from .world import Usage, World, WorldError

OPENED_AT_ONCE = 10
LOOKS = 400
"""About so many looks at the world in a run, for the plots."""
MIN_LOOK_S = 0.5
CHECK_S = 0.1
GOODBYE_S = 0.5
"""So long may a goodbye take to a node that lives on, over a link that ends with the fleet."""
DONE_TO_LINES = frozenset(("noise", "calm", "unplug", "plug"))
DONE_TO_DEVICES = frozenset(("fail", "power_off", "roam", "pause", "slow", "noise", "unplug", *ENDS.values()))
"""What is an incident rather than a step that a device takes by itself."""


class FleetError(RuntimeError):
    """The fleet did not begin; the message says who is missing and what they last heard."""


class Happening(msgspec.Struct, frozen=True):
    """Something that was done to a node, a link or a device, as it really was."""

    at_ns: int
    what: str
    who: str


class Fleet:
    """One run of one scenario in one world.

    Args:
        scenario: as it is to be run: compressed, where it is to be.
        seed: what all random choices come from.
        world: where it runs.
        trace: what is written of it.
        actions: what to do instead of what the seed plans: that of an earlier run.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        world: World,
        trace: Trace | None = None,
        actions: Iterator[Action] | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.world = world
        self.clock = world.clock
        self.trace = trace or Trace()
        self.ledger = Ledger(world.run, self.trace)
        self.members = roster(scenario)
        self.devices: dict[str, Device] = {}
        self.radios: dict[str, Radio] = {}
        self.phase = "starting"
        self.began_ns = 0
        self.ended_ns = 0
        self.happenings: list[Happening] = []
        self.looks: list[Look] = []
        self._failures: list[Failure] = []  # of nodes
        self.offered = 0
        """Devices that new firmware was offered to."""
        self.endings: list[str] = []
        """Nodes that ended though nobody ended them, with their last words."""
        self.usage: dict[str, Usage] = {}
        """What each node's program had used in the end."""
        self.books: Accounts | None = None
        """The accounts, when all was over."""
        in_bulk = [] if world.is_virtual else [member for member in self.members if member.population.bulk]
        self.crowd = Crowd(world, scenario, in_bulk, seed, self.ledger)
        self._scribe: Scribe = self.crowd.journal or self.ledger
        self._alone = [member for member in self.members if member.name not in self.crowd.names]
        planned = self.members if self.trace.is_on else self._alone  # a trace has the steps of all
        self._actions = plan(scenario, planned, seed) if actions is None else actions
        self._planned = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._is_impatient = False

    async def run(self) -> None:
        """Live through the scenario; the results are in the ledger, `happenings`, `looks` and the settlements.

        Raises `FleetError` when devices do not get ready, or it is stopped before they are; `WorldError`. Whatever
        happens, no device stays connected and no node stays behind.
        """
        self.trace.begin(self.scenario, self.seed, self.world.is_virtual)
        watching: asyncio.Task[None] | None = None
        try:
            await self.world.open()
            watching = asyncio.create_task(self._watch())
            self.phase = "connecting"
            await self._open_all()
            await self._pause(self.scenario.settle)
            self.phase = "running"
            await self._act()
            self.phase = "draining"
            await self._drain()
        finally:
            await self._close(watching)
        self.phase = "done"

    async def _close(self, watching: asyncio.Task[None] | None) -> None:
        self.phase = "closing"
        self.ended_ns = self.clock.now_ns()
        gc.unfreeze()
        for task in (*self._tasks, *filter(None, (watching,))):
            task.cancel()
        try:
            await self.crowd.close(self.ended_ns)
            self.ledger.close(self.ended_ns)
            self.usage = self.world.usage()
            await self._look()
            files = await self.world.stop()
            self.endings = [*self.world.endings(), *self.crowd.endings]
            self.books = close_books(self.ledger, self.scenario.late_ms, self._evidence(files))
            if files and not self.books.is_clean and (words := shortage()):
                self.endings.append(f"what nodes could not write down is missing from the accounts; {words}")
        finally:
            nobody_listens = all(node.kind != "foreign" for node in self.scenario.nodes.values())
            if nobody_listens:  # who says goodbye would wait for an answer
                for device in self.devices.values():
                    device.fail(keeps_state=True, silently=True)
            await asyncio.gather(*(device.close() for device in self.devices.values()), return_exceptions=True)
            if not nobody_listens:
                await asyncio.sleep(GOODBYE_S)
            await self.world.close()

    def _evidence(self, files: dict[str, Path]) -> Evidence | None:
        """What can be said of messages that did not arrive; nothing where somebody else's node is in the game."""
        nodes = self.scenario.nodes
        if any(node.kind == "foreign" for node in nodes.values()):
            return None
        disturbed_ns: defaultdict[str, list[int]] = defaultdict(list)
        moves_ns: defaultdict[str, list[int]] = defaultdict(list)
        for happening in self.happenings:
            (moves_ns if happening.what == "roam" else disturbed_ns)[happening.who].append(happening.at_ns)
        paths = Paths(
            above={name: node.uplink for name, node in nodes.items()},
            nodes={member.name: member.nodes for member in self.members},
            links={name: node.link for name, node in nodes.items()}
            | {member.name: member.population.link for member in self.members},
            moves_ns=moves_ns,
        )
        failures = sorted([*self._failures, *self.ledger.broken], key=lambda failure: failure.at_ns)
        lossy = [member.name for member in self.members if self._may_lose(member)]
        return Evidence(self.ledger, files, paths, failures, disturbed_ns, lossy)

    def _may_lose(self, member: Member) -> bool:
        """Whether single messages to a device can get lost that nobody acknowledges."""
        harmed = {target for fault in self.scenario.faults for target in fault.targets}
        if member.profile.speaks == "serial":
            return member.traits.population in harmed
        if member.profile.speaks != "coap" or not member.population.link:
            return False
        link = self.scenario.links[member.population.link]
        ways = link.direction("up"), link.direction("down")
        return member.population.link in harmed or any(way.loss or way.rate_kbit for way in ways)

    def stop(self) -> None:
        """End early: what is under way is waited for, and accounted for; the second time, it is not waited for."""
        self._is_impatient = self._stop.is_set()
        self._stop.set()
        self._planned.set()

    @property
    def was_stopped(self) -> bool:
        """Somebody ended it early."""
        return self._stop.is_set()

    def cuts(self) -> list[Cut]:
        """When links were silent; a cut that has not healed ends now."""
        cut_ns: dict[str, int] = {}
        cuts: list[Cut] = []
        for happening in self.happenings:
            if happening.what == "cut":
                cut_ns.setdefault(happening.who, happening.at_ns)
            elif happening.what == "heal" and happening.who in cut_ns:
                cuts.append(Cut(happening.who, cut_ns.pop(happening.who), happening.at_ns))
        return cuts + [Cut(link, start_ns, self.clock.now_ns()) for link, start_ns in cut_ns.items()]

    def story(self) -> Story:
        """What happened when, for the plots."""
        latencies = {way_name(*key): way.samples for key, way in sorted(self.ledger.ways.items())}
        incidents = [
            Incident(each.at_ns, each.what, each.who) for each in self.happenings if each.what not in ("cut", "heal")
        ]
        awaited = self.ledger.awaited_at(look.at_ns for look in self.looks)
        return Story(self.began_ns, self.ended_ns, self.looks, self.cuts(), latencies, incidents, awaited)

    def lag(self) -> Latency:
        """How late the fleet's own planned actions began."""
        return summarise(self.world.lags_ns())

    @property
    def share_done(self) -> float:
        """How much of the scenario's length is over, from 0 to 1."""
        if not self.began_ns:
            return 0.0
        return min(1.0, max(0.0, self.clock.now_ns() - self.began_ns) / max(1, self.scenario.length.ns))

    def progress(self) -> str:
        """Where the run is, in a line."""
        if self.phase == "connecting" and (missing := self.missing() or self.crowd.missing()):
            return f"connecting: waiting for {missing}"
        if self.phase == "draining":
            hint = " (Ctrl-C again: not to wait)" if self._stop.is_set() else ""
            return f"draining, for {self.scenario.drain} at most: {self.ledger.awaited} messages are still due{hint}"
        ready = sum(device.is_ready for device in self.devices.values())
        if self.crowd.names:
            counts = self.crowd.progress()
        else:
            counts = f"{len(self.ledger.messages)} sent, {self.ledger.received_total} received"
        return f"{self.share_done:4.0%} of {self.scenario.length}  {self.phase}: {ready} devices, {counts}"

    def missing(self) -> str:
        """How many devices are not ready, one of them, and what it last heard; empty when all are."""
        missing = [device for device in self.devices.values() if device.is_on and not device.is_ready]
        if not missing:
            return ""
        one = next((device for device in missing if device.trouble), missing[0])
        why = one.trouble or "no answer yet"
        return f"{len(missing)} of {len(self.devices)} devices, {one.traits.name} among them ({why})"

    # ---- Starting

    async def _open_all(self) -> None:
        for number, member in enumerate(self._alone):
            device = self._new_device(member)
            if not starts_ns(member, self.seed):
                device.power_on()
            if number % OPENED_AT_ONCE == OPENED_AT_ONCE - 1:
                await asyncio.sleep(0)
        deadline_ns = self.clock.now_ns() + self.scenario.ready.ns
        while missing := self.missing():
            if self._stop.is_set():
                raise FleetError(f"stopped before anything began, while it waited for {missing}")
            if self.clock.now_ns() > deadline_ns:
                raise FleetError(f"waited {self.scenario.ready} in vain for {missing}")
            await asyncio.sleep(CHECK_S)
        await self._open_crowd()

    async def _open_crowd(self) -> None:
        opening, stopped = asyncio.ensure_future(self.crowd.open(self.scenario.ready)), self._stop.wait()
        stopping = asyncio.ensure_future(stopped)
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                missing = self.crowd.missing() or "devices in bulk"
                raise FleetError(f"stopped before anything began, while it waited for {missing}")
            await opening
        finally:
            stopping.cancel()
            opening.cancel()
            await asyncio.wait((opening, stopping))

    def _new_device(self, member: Member) -> Device:
        radio = None
        if member.profile.radio:
            handshake = HANDSHAKES["udp" if member.profile.speaks == "coap" else "tcp"]
            radio = self.radios[member.name] = new_radio(member.profile.radio, handshake)
        port = self.world.port(member, member.access(self.world.run, radio))
        device = self.devices[member.name] = member.kind(member.traits, port, self.clock, self._scribe)
        return device

    # ---- Acting

    async def _act(self) -> None:
        if not self.world.is_virtual:
            gc.collect()
            gc.freeze()  # what start-up made need not be walked again: 80 ms of the fleet's own would look like latency
        self.began_ns = await self.crowd.begin() or self.clock.now_ns()
        self.trace.began(self.began_ns)
        self._next()
        end_ns = self.began_ns + self.scenario.length.ns
        await self._pause((end_ns - self.clock.now_ns()) / SECOND_NS)
        await self._planned.wait()
        await self.crowd.quiet()
        for device in self.devices.values():
            device.quiet()

    def _next(self) -> None:
        """Have the next planned action done when it is due."""
        action = next(self._actions, None)
        if action is None:
            self._planned.set()
        else:
            self.clock.at(self.began_ns + action.at_ns, lambda: self._do(action))

    def _do(self, action: Action) -> None:
        if self.phase != "running" or self._stop.is_set():
            return
        self.trace.planned(action)
        try:
            self._perform(action)
        finally:
            self._next()

    def _perform(self, action: Action) -> None:
        if action.to in self.crowd.names and action.do not in DONE_TO_DEVICES:
            return  # it knows by itself what the seed plans
        device = self.devices.get(action.to)
        if device is None or action.do in DONE_TO_DEVICES:
            self._happened(action)
        self.offered += action.do == "update"
        if action.to in self.crowd.names:
            self.crowd.act(action)
        elif device is None or action.do in DONE_TO_LINES:
            self._tasks.append(task := asyncio.create_task(self._act_on_world(action)))
            task.add_done_callback(tell)
        else:
            perform(device, action.do, action.values)

    def _happened(self, action: Action) -> None:
        now_ns, what = self.clock.now_ns(), action.do
        if what == "fail":
            what = "power_cut" if action.values["silently"] else "kill"
            if action.to in self.scenario.nodes:
                self._failures.append(Failure(action.to, now_ns, keeps_state=False))
        self.happenings.append(Happening(now_ns, what, action.to))

    async def _act_on_world(self, action: Action) -> None:
        try:
            await self.world.act(action)
        except WorldError as error:
            self._scribe.note("world", str(error))

    async def _drain(self) -> None:
        """Wait until nothing is missing. Whatever went wrong is put right first, or the rest would be still queued."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for action in self._repairs():
            await self._act_on_world(action)
        for device in self.devices.values():
            device.pause(False)
            device.stall(False)
        await self.crowd.catch_up()
        deadline_ns = self.clock.now_ns() + self.scenario.drain.ns
        while (self.ledger.awaited or self.missing()) and self.clock.now_ns() < deadline_ns and not self._is_impatient:
            await asyncio.sleep(CHECK_S)
            await self.crowd.catch_up()

    def _repairs(self) -> Iterator[Action]:
        """What ends the faults that stand: links that are cut or worse than they were, nodes that stand still."""
        standing: dict[tuple[str, str], None] = {}
        ends = {
            "heal": "cut",
            "restore": "change",
            "go_on": "pause",
            "free_disk": "fill_disk",
            "calm": "noise",
            "plug": "unplug",
        }
        for happening in self.happenings:
            if happening.what in ends:
                standing.pop((ends[happening.what], happening.who), None)
            elif happening.what in ends.values() and (happening.what != "pause" or happening.who not in self.devices):
                standing[happening.what, happening.who] = None
        begins = {begin: end for end, begin in ends.items()}
        for what, who in standing:
            action = Action(self.clock.now_ns() - self.began_ns, who, begins[what])
            self.happenings.append(Happening(self.clock.now_ns(), action.do, who))
            yield action

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(0.0, seconds))

    # ---- Watching

    async def _watch(self) -> None:
        """Note the running totals now and then, for the plots."""
        every_s = max(MIN_LOOK_S, self.scenario.length / LOOKS)
        while True:
            await self._look()
            if not self.crowd.check() and not self._stop.is_set():
                self.stop()
            await asyncio.sleep(every_s)

    async def _look(self) -> None:
        glance = await self.world.look()
        self.looks.append(Look(self.clock.now_ns(), glance.links, glance.queued))
