"""Resident memory of a node that has just started and has nothing to do, against its bound."""

from typing import Final

import msgspec

from firmware_sim.bench.brokers import EDGE, Broker, BrokerError
from firmware_sim.bench.measure import idle_memory_kib
from firmware_sim.bench.verdict import Bound

_MOST_MIB: Final = {"oriole": 40.0, "oriole edge": 45.0}


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `resident_mib` is None when it did not start, for the reason in `problem`."""

    node: str
    resident_mib: float | None = None
    bounds: list[Bound] = msgspec.field(default_factory=list)
    problem: str = ""


def measure_memory(brokers: list[Broker], repeat: int) -> list[Memory]:
    """The brokers, and the edge when Oriole is among them."""
    edge = [EDGE] if any(broker.name == "oriole" for broker in brokers) else []
    return [_measure(broker, repeat) for broker in [*brokers, *edge]]


def _measure(broker: Broker, repeat: int) -> Memory:
    try:
        resident_mib = idle_memory_kib(broker, repeat) / 1024
    except BrokerError as error:
        return Memory(node=broker.name, problem=str(error))
    most_mib = _MOST_MIB.get(broker.name)
    bounds = [] if most_mib is None else [Bound(f"<= {most_mib:g} MiB", resident_mib <= most_mib)]
    return Memory(node=broker.name, resident_mib=resident_mib, bounds=bounds)
