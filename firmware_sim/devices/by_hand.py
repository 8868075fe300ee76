"""`oriole fleet device`: one device, run by a person, that prints what it says and hears."""

import asyncio
import os
import signal

from firmware_sim.report.ledger import Identity, Ledger, Message, Received

from .clock import RealClock
from .device import Device, Traits
from .kinds import Address, address_for, new_port


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


def run(kind: type[Device], address: str, name: str, place: str, every_s: float) -> int:
    """Run the device until Ctrl-C. Raises `UrlError` and `WrongAddressError`."""
    asyncio.run(_run(kind, address_for(kind, address), Traits(name=name, place=place, every_s=every_s)))
    return 0


async def _run(kind: type[Device], address: Address, traits: Traits) -> None:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    ledger = TalkingLedger(os.urandom(4).hex())
    device = kind(traits, new_port(kind, traits.name, address, ledger.run), RealClock(), ledger)
    device.open()
    device.run()
    await over.wait()
    await device.close()
    accepted = sum(message.accepted_ns is not None for message in ledger.messages)
    print(f"{traits.name}: sent {len(ledger.messages)}, accepted {accepted}, received {ledger.received_total}")
