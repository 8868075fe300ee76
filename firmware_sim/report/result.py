"""What a run comes to, as one value: printed, drawn and written as JSON from here."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from firmware_sim.links.link import Counters

from .accounts import Accounts, way_name
from .latency import Latency, Window, split, summarise
from .ledger import Ledger

MAX_FAIR_LAG_MS = 20.0


class Economy(msgspec.Struct, frozen=True):
    """What crossed the links of devices of one kind of connection, and what these devices received."""

    link_bytes: int
    delivered_bytes: int

    @property
    def ratio(self) -> float:
        """Bytes over the link for each byte delivered; 0 when nothing was."""
        return self.link_bytes / self.delivered_bytes if self.delivered_bytes else 0.0


class Result(msgspec.Struct):
    """The figures of one run. Ways are named `publisher's connection → subscriber's connection`."""

    scenario: str
    about: str
    seed: int
    run: str
    seconds: float
    devices: dict[str, int]
    """How many of each kind."""
    accounts: Accounts
    latency: dict[str, Latency]
    """By way: messages to subscribers that were awake, while every link carried."""
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
    lag: Latency
    """How late the fleet's own planned actions began."""
    notes: dict[str, int]
    """Events that are no messages, counted: connections and their ends, requests without an answer."""

    @property
    def is_lag_fair(self) -> bool:
        """Whether the fleet kept its own schedule well enough to judge others by."""
        return self.lag.p99_ms <= MAX_FAIR_LAG_MS

    @property
    def verdict(self) -> str:
        """Two lines: what became of the messages, and whether the clock can be believed."""
        total = self.accounts.total
        books = f"{total.due} messages due: {total.delivered} delivered, {total.replaced} replaced by a newer state, "
        books += f"{total.refused} refused, {total.lost} lost, {total.doubled} doubled, {total.repeated} repeats"
        if total.lost_qos0:
            books += f", {total.lost_qos0} lost QoS 0"
        if not self.accounts.adds_up:
            books += "; THE BOOKS DO NOT ADD UP"
        lag = f"the fleet's own lag was {self.lag.p99_ms:.1f} ms at p99"
        return f"{books}\n{lag}{'' if self.is_lag_fair else ': too slow to blame anybody else for the latencies'}"


def make_result(
    *,
    scenario: tuple[str, str],
    seed: int,
    seconds: float,
    kinds: Sequence[str],
    ledger: Ledger,
    accounts: Accounts,
    windows: Sequence[Window],
    links: dict[str, Counters],
    carriers: dict[str, list[str]],
    lag: Latency,
) -> Result:
    """Sum up a run that is over. `carriers`: the links that lie between each kind of connection and the centre."""
    calm, met_cut = {}, {}
    for key, way in sorted(ledger.ways.items()):
        undisturbed, disturbed = split(way.samples, windows)
        calm[way_name(*key)] = summarise(took for _, took in undisturbed)
        met_cut[way_name(*key)] = summarise(took for _, took in disturbed)
    answers: defaultdict[str, list[int]] = defaultdict(list)
    for way_, _, took_ns, found in ledger.answers:
        if found:
            answers[way_].append(took_ns)
    sent_ns = {(message.publisher, message.topic, message.number): message.at_ns for message in ledger.messages}
    return Result(
        scenario=scenario[0],
        about=scenario[1],
        seed=seed,
        run=ledger.run,
        seconds=seconds,
        devices=dict(Counter(kinds)),
        accounts=accounts,
        latency=calm,
        in_a_cut={way_: latency for way_, latency in met_cut.items() if latency.count},
        answers={way_: summarise(times) for way_, times in answers.items()},
        answers_without_value=sum(not found for _, _, _, found in ledger.answers),
        round_trips=summarise(at_ns - sent_ns[order] for order, at_ns in ledger.confirmed_ns.items()),
        links=links,
        economy={
            way_: Economy(sum(links[link].total_bytes for link in its if link in links), ledger.delivered_bytes[way_])
            for way_, its in carriers.items()
        },
        lag=lag,
        notes=dict(ledger.notes),
    )
