"""All bulk devices of a process and their plan: switched on in waves, led through their steps, told what happens."""

import gc
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from typing import Final

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.devices.device import Device
from firmware_sim.devices.perform import perform
from firmware_sim.report.journal import Journal
from firmware_sim.scenario.plan import Action, lives, starts_ns

from .config import BulkConfig
from .histogram import Histogram
from .loop import Loop
from .orders import Do, Progress
from .port import BulkPort

_STEPS_AT_ONCE: Final = 32
"""So many late steps are done before what has arrived gets its turn."""
_LINGER_NS: Final = SECOND_NS // 5


class Crowd:
    """The devices of `config`, on `loop`, which tell `journal` what they see and connect from `sources` in turn."""

    def __init__(self, config: BulkConfig, loop: Loop, journal: Journal, sources: Sequence[str]) -> None:
        self._config = config
        self._loop = loop
        self._journal = journal
        self._members = config.members()
        self._plan = lives(config.scenario, self._members, config.seed)
        self._next: Action | None = next(self._plan, None)
        self._began_ns = 0
        self._is_quiet = False
        self._starting = 0
        self._devices: dict[str, Device] = {}
        self.lag = Histogram()
        for member, source in zip(self._members, cycle(sources)):
            doors = config.doors[member.traits.population]
            first = member.index % len(doors)
            access = member.access(config.run)
            port = BulkPort(loop, access, doors[first:] + doors[:first], source, config.seed)
            self._devices[member.name] = member.kind(member.traits, port, loop, journal)

    def connect(self) -> None:
        """Switch on, in waves, whoever is there before the run begins."""
        names = [member.name for member in self._members if not starts_ns(member, self._config.seed)]
        self._starting = len(names)
        now_ns = self._loop.now_ns()
        for number, name in enumerate(names):
            at_ns = now_ns + round(number / self._config.connects_per_s * SECOND_NS)
            self._loop.at(at_ns, partial(self._start, self._devices[name]))

    def _start(self, device: Device) -> None:
        self._starting -= 1
        device.power_on()

    def begin(self, at_ns: int) -> None:
        """The plan's first moment is `at_ns`."""
        gc.collect()
        gc.freeze()  # what start-up made need not be walked again: it would be lag
        self._began_ns = at_ns
        self._act()

    def do(self, order: Do) -> None:
        """Let something happen to a device."""
        perform(self._devices[order.to], order.verb, order.values)

    def quiet(self) -> None:
        """Nobody says anything more by itself."""
        self._is_quiet = True
        for device in self._devices.values():
            device.quiet()

    async def close(self) -> None:
        """Disconnect everybody, and take back what they had others keep."""
        for number, device in enumerate(self._devices.values()):
            await device.close()
            if number % 100 == 0:
                self._loop.run(self._loop.now_ns())
        self._loop.run(self._loop.now_ns() + _LINGER_NS)

    def progress(self) -> Progress:
        """How it stands."""
        is_on = [device for device in self._devices.values() if device.is_on]
        missing = [device for device in is_on if not device.is_ready]
        one = next((device for device in missing if device.trouble), missing[0]) if missing else None
        return Progress(
            at_ns=self._loop.now_ns(),
            starting=self._starting,
            on=len(is_on),
            ready=len(is_on) - len(missing),
            sent=self._journal.sent_total,
            received=self._journal.received_total,
            trouble=f"{one.traits.name}: {one.trouble or 'no answer yet'}" if one else "",
        )

    def _act(self) -> None:
        """Do what is due, and have the rest done when it is."""
        for _ in range(_STEPS_AT_ONCE):
            step = self._next
            if step is None or self._is_quiet:
                return
            due_ns, now_ns = self._began_ns + step.at_ns, self._loop.now_ns()
            if due_ns > now_ns:
                break
            self.lag.add(now_ns - due_ns)
            perform(self._devices[step.to], step.do, step.values)
            self._next = next(self._plan, None)
        self._loop.at(due_ns, self._act)
