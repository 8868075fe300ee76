"""`oriole fleet device`: one device, run by a person, that prints what it says and hears."""

import asyncio
import os
import signal
from collections.abc import Iterator
from random import Random

from firmware_sim.ports.real import Address, new_port
from firmware_sim.report.ledger import Identity, Ledger, Message, Received
from firmware_sim.scenario.nodes import parse_address
from firmware_sim.unhandled import or_raise
from oriole.urls import redacted

from .clock import SECOND_NS, Clock, RealClock
from .device import Device
from .moments import Step
from .port import Access
from .traits import Traits

EXAMPLES = {"mqtt": "mqtt://127.0.0.1:1883", "coap": "coap://127.0.0.1:5683", "serial": "serial:///dev/ttyUSB0"}


class TalkingLedger(Ledger):
    """A ledger that reads aloud what is written into it; a trouble that stays the same it says once."""

    def __init__(self, run: str) -> None:
        super().__init__(run)
        self._said: dict[tuple[str, str], None] = {}  # since something last went well

    def sent(self, message: Message) -> int:
        print(f"> {message.topic} no. {message.number}", flush=True)
        return super().sent(message)

    def received(
        self, name: str, way: str, delivery: Received, stamp: Identity | None, now_ns: int, was_away: bool
    ) -> None:
        marks = f"{' repeat' if delivery.repeat else ''}{' stored' if delivery.stored else ''}"
        print(f"< {delivery.topic} {delivery.payload.decode(errors='replace')}{marks}", flush=True)
        self._said.clear()
        super().received(name, way, delivery, stamp, now_ns, was_away)

    def accepted(self, ticket: int, now_ns: int) -> None:
        self._said.clear()
        super().accepted(ticket, now_ns)

    def refused(self, ticket: int, reason: str) -> None:
        print(f"! no. {self.messages[ticket].number} was refused: {reason}", flush=True)
        super().refused(ticket, reason)

    def note(self, what: str, detail: str) -> None:
        if what == "connected":
            self._said.clear()
        elif (what, detail) not in self._said:
            self._said[what, detail] = None
            print(f"! {what}: {detail}", flush=True)
        super().note(what, detail)


class WrongAddressError(ValueError):
    """A device cannot use such an address; the message says what it speaks."""


def run(kind: type[Device], address: str, name: str, place: str, every_s: float) -> int:
    """Run the device until Ctrl-C. Raises `UrlError`, `WrongAddressError`, and what the device's own code raises."""
    traits = Traits(name=name, place=place, every_ns=round(every_s * SECOND_NS), takes_firmware=False)
    asyncio.run(_run(kind, traits, address_for(kind, address)))
    return 0


def address_for(kind: type[Device], url: str) -> Address:
    """The address that a person gave for a device of `kind`. Raises `WrongAddressError` and `oriole.urls.UrlError`."""
    given, separator, _ = url.partition("://")
    if not separator:
        raise WrongAddressError(f"`{redacted(url)}` is no URL: write it like {EXAMPLES[kind.speaks[0]]}")
    if given.lower() not in kind.speaks:
        spoken = " or ".join(f"{name}://" for name in kind.speaks)
        raise WrongAddressError(f"a {kind.kind} speaks {spoken}, not {given}://")
    return parse_address(url)


async def _run(kind: type[Device], traits: Traits, address: Address) -> None:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    ledger = TalkingLedger(os.urandom(4).hex())
    access = Access(name=traits.name, run=ledger.run, kind=kind.kind, will=kind.will(traits))
    clock = RealClock()
    device = kind(traits, new_port(access, [address]), clock, ledger)
    device.power_on()
    _follow(device, clock, kind.plan(traits, Random(ledger.run)), clock.now_ns())
    await or_raise(_close_when(over, device))
    accepted = sum(message.accepted_ns is not None for message in ledger.messages)
    print(f"{traits.name}: sent {len(ledger.messages)}, accepted {accepted}, received {ledger.received_total}")


async def _close_when(over: asyncio.Event, device: Device) -> None:
    try:
        await over.wait()
    finally:
        await device.close()


def _follow(device: Device, clock: Clock, plan: Iterator[Step], began_ns: int) -> None:
    """Do what is planned, one step after the other."""

    def act() -> None:
        device.do(verb, values)
        _follow(device, clock, plan, began_ns)

    at_ns, verb, values = next(plan)
    clock.at(began_ns + at_ns, act)
