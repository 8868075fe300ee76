"""All bulk devices of a process and their plan: switched on in waves, led through their steps, told what happens."""

import gc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any, Final

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.devices.device import Device
from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.port import Access

from .config import BulkConfig, Group
from .histogram import Histogram
from .ledger import BulkLedger
from .loop import Loop
from .orders import Do, Progress
from .plan import Step, planned
from .port import BulkPort

_STEPS_AT_ONCE: Final = 32
"""So many late steps are done before what has arrived gets its turn."""
_DEVICES_AT_ONCE: Final = 8
_LINGER_NS: Final = SECOND_NS // 5


class Crowd:
    """The devices of `config`, on `loop`."""

    def __init__(self, config: BulkConfig, loop: Loop) -> None:
        self._config = config
        self._loop = loop
        self._plan = planned(config)
        self._next: Step | None = next(self._plan, None)
        self.began_ns = loop.now_ns()
        self._is_quiet = False
        self._starting = 0
        names = [name for group in config.groups for name in group.device_names()]
        self.ledger = BulkLedger(config.run, names, config.ways)
        self.devices: dict[str, Device] = {}
        self.lag = Histogram()
        self.not_done = 0
        sources = cycle(config.sources or [""])
        for group in config.groups:
            self._add(group, sources)

    def _add(self, group: Group, sources: "cycle[str]") -> None:
        kind = KINDS[group.kind]
        for traits in group.traits():
            access = Access(
                name=traits.name,
                run=self._config.run,
                kind=kind.kind,
                mqtt_version=group.mqtt_version,
                session_s=group.session_s,
                keep_alive_s=group.keep_alive_s,
                will=kind.will(traits),
            )
            port = BulkPort(self._loop, access, group.addresses, next(sources), self._config.seed)
            self.devices[traits.name] = kind(traits, port, self._loop, self.ledger)

    def connect(self) -> None:
        """Switch on, in waves, whoever is there before the run begins."""
        starting = {group.name for group in self._config.groups if not group.starts_ns}
        devices = [device for device in self.devices.values() if device.traits.population in starting]
        self._starting = len(devices)
        self._spread(devices, self._config.connects_per_s, self._start)

    def _start(self, device: Device) -> None:
        self._starting -= 1
        device.power_on()

    def begin(self, at_ns: int) -> None:
        """The plan's first moment is `at_ns`; 0 for now."""
        gc.collect()
        gc.freeze()  # what start-up made need not be walked again: it would be lag
        self.began_ns = at_ns or self._loop.now_ns()
        self._act()

    def do(self, order: Do) -> None:
        """Let something happen to devices. Raises KeyError for one that is not there."""
        devices = [self.devices[name] for name in order.to] if order.to else list(self.devices.values())
        self._spread(devices, order.per_s, _action(order))

    def quiet(self) -> None:
        """Nobody says anything more by itself."""
        self._is_quiet = True
        for device in self.devices.values():
            device.quiet()

    async def close(self) -> None:
        """Disconnect everybody, and take back what they had others keep."""
        self.ledger.close()
        for number, device in enumerate(self.devices.values()):
            await device.close()
            if number % 100 == 0:
                self._loop.run(self._loop.now_ns())
        self._loop.run(self._loop.now_ns() + _LINGER_NS)

    def progress(self) -> Progress:
        """How it stands."""
        ledger = self.ledger
        is_on = [device for device in self.devices.values() if device.is_on]
        missing = [device for device in is_on if not device.is_ready]
        one = next((device for device in missing if device.trouble), missing[0]) if missing else None
        return Progress(
            at_ns=self._loop.now_ns(),
            starting=self._starting,
            on=len(is_on),
            connected=sum(device.is_connected for device in is_on),
            ready=len(is_on) - len(missing),
            sent=ledger.sent_total,
            accepted=ledger.accepted_total,
            received=ledger.received_total,
            awaited=ledger.awaited,
            lag_p99_ms=self.lag.percentile_ns(99) / 1e6,
            trouble=f"{one.traits.name}: {one.trouble or 'no answer yet'}" if one else "",
        )

    def _act(self) -> None:
        """Do what is due, and have the rest done when it is."""
        for _ in range(_STEPS_AT_ONCE):
            if self._next is None or self._is_quiet:
                return
            at_ns, name, verb, values = self._next
            due_ns, now_ns = self.began_ns + at_ns, self._loop.now_ns()
            if due_ns > now_ns:
                break
            self.lag.add(now_ns - due_ns)
            device = self.devices[name]
            if verb == "power_on":
                device.power_on()
            elif device.is_on:
                device.do(verb, values)
            else:
                self.not_done += 1
            self._next = next(self._plan, None)
        self._loop.at(due_ns, self._act)

    def _spread(self, devices: Sequence[Device], per_s: float, action: Callable[[Device], None]) -> None:
        """Let `action` happen to so many a second, or as fast as the plan allows, which goes on beside it."""
        now_ns = self._loop.now_ns()
        if per_s:
            for number, device in enumerate(devices):
                self._loop.at(now_ns + round(number / per_s * SECOND_NS), partial(action, device))
        elif devices:
            for device in devices[:_DEVICES_AT_ONCE]:
                action(device)
            self._loop.at(now_ns, partial(self._spread, devices[_DEVICES_AT_ONCE:], 0, action))


def _action(order: Do) -> Callable[[Device], Any]:
    match order.verb:
        case "fail":
            return lambda device: device.fail(**order.values)
        case "pause" | "go_on":
            return lambda device: device.pause(order.verb == "pause")
        case "slow" | "read_on":
            return lambda device: device.stall(order.verb == "slow")
        case verb:
            return lambda device: getattr(device, verb)()
