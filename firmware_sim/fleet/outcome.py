"""What a fleet that has run comes to: its figures put together, its expectations judged."""

import math
from collections import Counter, defaultdict

from firmware_sim.report.accounts import population_of
from firmware_sim.report.measures import Measures
from firmware_sim.report.result import Economy, Result, Run, Spending, make_result

from .fleet import Fleet

CAUSES = ("rest", "poll", "wake", "transmit", "receive", "tail", "handshake")
"""What a radio spends charge on, as `firmware_sim.energy.Charge` has it."""


def result_of(fleet: Fleet, carrier: str, took_s: float) -> Result:
    """The figures of `fleet`; `carrier` is what carried bytes, `took_s` what all of it took on the wall's clock."""
    assert fleet.books is not None
    scenario = fleet.scenario
    seconds = max(1e-9, (fleet.ended_ns - fleet.began_ns) / 1e9) if fleet.began_ns else 0.0
    links = fleet.looks[-1].links if fleet.looks else {}
    economy = {
        way: Economy(sum(links[link].total_bytes for link in its if link in links), fleet.ledger.delivered_bytes[way])
        for way, its in scenario.carriers().items()
    }
    batteries = _batteries(fleet)
    measures = Measures(
        ledger=fleet.ledger,
        accounts=fleet.books,
        cuts=fleet.cuts(),
        planned_updates=fleet.offered,
        batteries=batteries,
        economy={way: each.ratio for way, each in economy.items()},
        was_stopped=fleet.was_stopped,
    )
    return make_result(
        run=Run(
            scenario=scenario.name,
            about=scenario.about,
            seed=fleet.seed,
            run=fleet.ledger.run,
            virtual=fleet.world.is_virtual,
            carrier=carrier,
            compress=scenario.compress,
            seconds=seconds,
            took_s=took_s,
            stopped=fleet.was_stopped,
            bulk=len(fleet.crowd.names),
        ),
        kinds=[member.kind.kind for member in fleet.members],
        ledger=fleet.ledger,
        accounts=fleet.books,
        judgements=[measures.judge(expectation) for expectation in scenario.expectations],
        windows=[(cut.start_ns, cut.end_ns) for cut in fleet.cuts()],
        links=links,
        economy=economy,
        energy=_energy(fleet, batteries or {}),
        lag=fleet.lag(),
        crowds=fleet.crowd.result,
        incidents=dict(Counter(happening.what for happening in fleet.happenings)),
        usage={name: [usage.cpu_s, usage.resident_mib] for name, usage in fleet.usage.items()},
    )


def _batteries(fleet: Fleet) -> dict[str, float] | None:
    """How many days the battery of each device lasts; None where time is compressed."""
    if fleet.scenario.compress != 1:
        return None
    days: dict[str, float] = {}
    for member in fleet.members:
        radio = fleet.radios.get(member.name)
        if radio is not None and member.profile.battery_mwh:
            days[member.name] = radio.spent(fleet.ended_ns).battery_days(member.profile.battery_mwh)
    return days


def _energy(fleet: Fleet, batteries: dict[str, float]) -> dict[str, Spending]:
    populations: defaultdict[str, list[str]] = defaultdict(list)
    for name in fleet.radios:
        populations[population_of(name)].append(name)
    spending = {}
    for population, names in populations.items():
        charges = [fleet.radios[name].spent(fleet.ended_ns) for name in names]
        lives = [batteries[name] for name in names if name in batteries and math.isfinite(batteries[name])]
        spending[population] = Spending(
            radio=fleet.scenario.profile(population).radio,
            basis=charges[0].basis,
            devices=len(names),
            microcoulombs={
                cause: round(sum(getattr(charge, f"{cause}_uc") for charge in charges) / len(charges), 3)
                for cause in CAUSES
            },
            joules=sum(charge.energy_j for charge in charges) / len(charges),
            battery_days=min(lives, default=0.0),
        )
    return spending
