"""What a run comes to, as one value: printed, drawn and written as JSON from here."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from firmware_sim.links.link import Counters

from .accounts import Accounts, way_name
from .latency import Latency, Window, split, summarise
from .ledger import Ledger
from .measures import Judgement, State, round_trips, tally

MAX_FAIR_LAG_MS = 20.0
FORMAT = 3
"""Of the JSON: grows when a field changes its meaning."""


class Economy(msgspec.Struct, frozen=True):
    """What crossed the links of devices of one kind of connection, and what these devices received."""

    link_bytes: int
    delivered_bytes: int

    @property
    def ratio(self) -> float:
        """Bytes over the link for each byte delivered; 0 when nothing was."""
        return self.link_bytes / self.delivered_bytes if self.delivered_bytes else 0.0


class Spending(msgspec.Struct, frozen=True):
    """What the radios of one population spent, modelled: the mean of its devices over the run."""

    radio: str
    basis: str
    """What the figures are: modelled, or not counted."""
    devices: int
    microcoulombs: dict[str, float]
    """By cause."""
    joules: float
    battery_days: float
    """How long the battery of the thirstiest lasts at this rate; 0 without a battery."""


class Crowds(msgspec.Struct, frozen=True):
    """What carried the devices in bulk. Their messages are in the account of all."""

    client: str
    """What a report has to say of them."""
    devices: int
    lag: Latency
    """How late the generator's own planned steps began."""
    passes: Latency
    """How long it was busy at a time: what arrived meanwhile was read so much later than it could have been."""
    cpu_s: float
    resident_mib: float


class Run(msgspec.Struct, frozen=True):
    """Which run it was."""

    scenario: str
    about: str
    seed: int
    run: str
    virtual: bool
    carrier: str
    """`virtual`, `relay` or `packets`."""
    compress: float
    """By how much the file's schedule was compressed."""
    seconds: float
    """How long the devices acted, on the run's own clock."""
    took_s: float
    """How long all of it took, on the wall's."""
    stopped: bool = False
    """Somebody ended it early."""
    bulk: int = 0
    """Devices that the load generator carried, without a full client each."""


class Result(msgspec.Struct):
    """The figures of one run. Ways are named `publisher's connection → subscriber's connection`."""

    format: int
    run: Run
    devices: dict[str, int]
    """How many of each kind."""
    accounts: Accounts
    judgements: list[Judgement]
    """The scenario's expectations."""
    latency: dict[str, Latency]
    """By way: messages to subscribers that were awake, while every link carried."""
    classes: dict[str, Latency]
    """By class of message: the same."""
    in_a_cut: dict[str, Latency]
    """By way: the same for messages that met a cut link or its recovery."""
    answers: dict[str, Latency]
    """By connection: how long values took that a device asked for."""
    answers_without_value: int
    round_trips: Latency
    """From an order to the state that confirms it."""
    links: dict[str, Counters]
    economy: dict[str, Economy]
    """By connection."""
    energy: dict[str, Spending]
    """By population, modelled."""
    lag: Latency
    """How late the fleet's own planned actions began."""
    incidents: dict[str, int]
    """What was done to nodes, links and devices, counted."""
    installed: dict[str, int]
    """Devices by the firmware that they installed."""
    notes: dict[str, int]
    """Events that are no messages, counted: connections and their ends, requests without an answer."""
    crowds: Crowds | None
    """Of devices in bulk."""
    usage: dict[str, list[float]]
    """Of each node's program: seconds of CPU, MiB resident."""

    @property
    def is_lag_fair(self) -> bool:
        """Whether the fleet kept its own schedule well enough to judge others by."""
        return self._lag_ms <= MAX_FAIR_LAG_MS

    @property
    def _lag_ms(self) -> float:
        """The worse of the fleet's lag and of the load generator's, at p99."""
        return max(self.lag.p99_ms, 0.0 if self.crowds is None else self.crowds.lag.p99_ms)

    @property
    def is_well(self) -> bool:
        """Everything is accounted for, nothing was doubled, and no expectation was missed."""
        return self.accounts.is_clean and not tally(self.judgements)[State.MISSED]

    @property
    def verdict(self) -> str:
        """Two lines: what became of the messages; what of the expectations, and whether the clock can be believed."""
        return f"{self._of_messages()}\n{self._of_expectations()}"

    def _of_messages(self) -> str:
        total = self.accounts.total
        ends = ("delivered", "replaced", "expired", "dropped", "refused", "queued", "lost_qos0", "lost", "doubled")
        shown = [
            f"{getattr(total, name)} {name.replace('_qos0', ' QoS 0')}"
            for name in ends
            if getattr(total, name) or name in ("delivered", "lost", "doubled")
        ]
        shown += [
            f"{getattr(self.accounts, name)} {name}" for name in ("altered", "astray") if getattr(self.accounts, name)
        ]
        adds_up = "" if self.accounts.adds_up else "; THE BOOKS DO NOT ADD UP"
        return f"{total.due} messages due: {', '.join(shown)}{adds_up}"

    def _of_expectations(self) -> str:
        counts = tally(self.judgements)
        parts = [f"{counts[state]} {state.value}" for state in State if counts[state]]
        expectations = f"expectations: {', '.join(parts)}" if parts else "no expectations"
        if self.run.stopped:
            expectations = f"stopped early, after {self.run.seconds:.0f} s; {expectations}"
        if self.run.virtual:
            return f"{expectations}; virtual time, {self.run.seconds:.0f} s in {self.run.took_s:.1f} s"
        lag = f"the fleet's own lag was {self._lag_ms:.1f} ms at p99"
        return (
            f"{expectations}; {lag}{'' if self.is_lag_fair else ': too slow to blame anybody else for the latencies'}"
        )


def make_result(
    *,
    run: Run,
    kinds: Sequence[str],
    ledger: Ledger,
    accounts: Accounts,
    judgements: list[Judgement],
    windows: Sequence[Window],
    links: dict[str, Counters],
    economy: dict[str, Economy],
    energy: dict[str, Spending],
    lag: Latency,
    crowds: Crowds | None = None,
    incidents: dict[str, int],
    usage: Mapping[str, list[float]],
) -> Result:
    """Sum up a run that is over."""
    calm, met_cut = {}, {}
    for key, way in sorted(ledger.ways.items()):
        undisturbed, disturbed = split(way.samples, windows)
        calm[way_name(*key)] = summarise(took for _, took in undisturbed)
        met_cut[way_name(*key)] = summarise(took for _, took in disturbed)
    answers: defaultdict[str, list[int]] = defaultdict(list)
    for way_, _, took_ns, found in ledger.answers:
        if found:
            answers[way_].append(took_ns)
    return Result(
        format=FORMAT,
        run=run,
        devices=dict(Counter(kinds)),
        accounts=accounts,
        judgements=judgements,
        latency=calm,
        classes=_by_class(ledger, windows),
        in_a_cut={way_: latency for way_, latency in met_cut.items() if latency.count},
        answers={way_: summarise(times) for way_, times in answers.items()},
        answers_without_value=sum(not found for _, _, _, found in ledger.answers),
        round_trips=round_trips(ledger),
        links=links,
        economy=economy,
        energy=energy,
        lag=lag,
        incidents=incidents,
        installed=dict(ledger.installed),
        notes=dict(ledger.notes),
        crowds=crowds,
        usage=dict(usage),
    )


def _by_class(ledger: Ledger, windows: Sequence[Window]) -> dict[str, Latency]:
    samples: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for (_, ticket), copies in ledger.copies.items():
        message = ledger.messages[ticket]
        if copies.is_due and not copies.was_away:
            samples[message.of].append((message.at_ns, copies.first_ns - message.at_ns))
    return {of: summarise(took for _, took in split(each, windows)[0]) for of, each in sorted(samples.items())}
