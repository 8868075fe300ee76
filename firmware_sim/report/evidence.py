"""How a message ended for a subscriber who did not get it: its trail, from node to node, to where it is lost sight of.

A message leaves its publisher, is taken by a node, and owed there to the next on the way: a node above or below, at
last the subscriber. `statements.py` has what nodes say of each step. Where a trail ends, something that was seen has to
explain it: the node's own word; that the node was killed while it owed the message; that the subscription was not there
because a session had been lost; and, for what is sent without a promise, that the connection failed just then. Nothing
else excuses a message, however much went wrong elsewhere in the run: it is lost.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path

from .ledger import Failure, Ledger, Listener, Message
from .statements import MS_NS, Statement, Statements

SLACK_NS = 1_000_000_000
"""So far apart may be what belongs together: a kill and the end of its process, a cut and the last packet before it."""
TRAVEL_NS = 2_000_000_000
"""So long may a subscription need from an edge to the nodes above."""
REFRESH_NS = 60_000_000_000
"""Within this time an observer registers again: it cannot know that its node has forgotten it."""

HAS_IT = ("repeat", "superseded", "came back to a node it had passed")
"""Why a node does not take, or send, what is there already."""


class End(StrEnum):
    """How a message that was due and not delivered ended."""

    EXPIRED = "expired"
    REPLACED = "replaced"
    DROPPED = "dropped"
    REFUSED = "refused"
    QUEUED = "queued"
    LOST = "lost"
    """Nobody can say: a fault of the system, or of these books."""


@dataclass(slots=True, frozen=True)
class Fate:
    """An end, and why or where, in words."""

    end: End
    reason: str = ""


LOST = Fate(End.LOST)
FAILED = Fate(End.DROPPED, "sent into a connection that had failed (QoS 0)")
OUTDATED = Fate(End.REPLACED, "by a newer state")
ASTRAY = Fate(End.DROPPED, "lost on the way to it, where nobody acknowledges")


@dataclass(slots=True)
class Paths:
    """Which nodes a message may pass."""

    above: Mapping[str, str]
    """Each node and the one above it; empty for the topmost."""
    nodes: Mapping[str, Sequence[str]]
    """Each device and its nodes."""
    links: Mapping[str, str]
    """Each device and each node, and the link between it and what is above it; empty for none."""
    moves_ns: Mapping[str, Sequence[int]]
    """When a device went over to the next of its nodes."""
    _chains: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def node_of(self, device: str, at_ns: int) -> str:
        """Where a device was."""
        nodes = self.nodes[device]
        return nodes[sum(move_ns <= at_ns for move_ns in self.moves_ns.get(device, ())) % len(nodes)]

    def chain(self, node: str) -> tuple[str, ...]:
        """The node and all above it."""
        if node not in self._chains:
            above = self.above[node]
            self._chains[node] = (node, *self.chain(above)) if above else (node,)
        return self._chains[node]

    def between(self, publisher: str, subscriber: str) -> tuple[str, ...]:
        """All nodes that a message between two devices may pass."""
        ends = (*self.nodes.get(publisher, ()), *self.nodes.get(subscriber, ()))
        return tuple(dict.fromkeys(node for end in ends for node in self.chain(end)))

    def onward(self, node: str, subscriber: str) -> Iterator[str]:
        """Where a message at `node` has to go next: to a node, or, as "", to the subscriber itself."""
        for end in self.nodes.get(subscriber, ()):
            chain = self.chain(end)
            if node in chain:
                index = chain.index(node)
                yield chain[index - 1] if index else ""
            else:
                yield self.above[node]


class Evidence:
    """What nodes wrote, and what happened to whom.

    Args:
        ledger: what devices saw.
        files: of each node, its settlements.
        paths: which nodes lie between whom.
        failures: kills and power cuts, of nodes and of devices, in order.
        disturbed_ns: when something was done to a device, a node or a link, by name.
        lossy: devices to which single messages may get lost that nobody acknowledges: datagrams, a noisy line.
    """

    def __init__(
        self,
        ledger: Ledger,
        files: Mapping[str, Path],
        paths: Paths,
        failures: Sequence[Failure],
        disturbed_ns: Mapping[str, Sequence[int]],
        lossy: Iterable[str] = (),
    ) -> None:
        self._ledger = ledger
        self._statements = Statements(files)
        self._paths = paths
        self._disturbed_ns = disturbed_ns
        self._lossy = frozenset(lossy)
        self._failures: defaultdict[str, list[Failure]] = defaultdict(list)
        for failure in failures:
            self._failures[failure.who].append(failure)
        self._journeys: dict[str, list[tuple[int, int, int, int]]] | None = None

    def gather(self, messages: Iterable[Message]) -> None:
        """Read what the nodes said of `messages`."""
        self._statements.read(messages)

    def fate(self, message: Message, listener: Listener, has_newer: bool) -> Fate:
        """How a message ended for a subscriber who did not get it. `has_newer`: it got a newer one of the topic."""
        if message.refused:
            return Fate(End.REFUSED, message.refused)
        fate = self._fate(message, listener)
        if listener.latest_only and has_newer and fate in (LOST, FAILED, ASTRAY):
            return OUTDATED  # it asked for the newest, and has it
        return LOST if fate is OUTDATED and not has_newer else fate

    def may_repeat(self, message: Message, subscriber: str) -> bool:
        """Whether more than one copy is nobody's fault: a node took it again after it had lost its memory, or had kept
        it for who asks, and was asked; or one of both devices went over to another node, and two had it.
        """
        if any(failure.at_ns >= message.at_ns and not failure.keeps_state for failure in self._failures[subscriber]):
            return True  # what it had taken, and which packet identifiers, it forgot
        said = self._statements.of(message)
        coap = f"coap:{message.publisher}-{self._ledger.run}"
        if any(coap in statement.publishers for statement in said.values()) and self._was_disturbed(
            (self._paths.links[message.publisher],), message.at_ns, message.accepted_ns or inf
        ):
            return True  # sent again from another address, a CoAP request is another one (RFC 7252 §4.5)
        if any(
            said[node].was_taken_before for node in self._paths.between(message.publisher, subscriber) if node in said
        ):
            return True
        from_it = self._said_of(message.publisher, said)
        to_it = self._said_of(subscriber, said)
        if any(label in statement.kept for label, statement in to_it):
            return True
        has_sent = sum(label in statement.publishers for label, statement in from_it)
        has_got = sum(label in statement.ends and label in statement.owed for label, statement in to_it)
        return has_sent > 1 or has_got > 1

    def _said_of(self, device: str, said: Mapping[str, Statement]) -> list[tuple[str, Statement]]:
        """What a device's own nodes say, with what each calls it; only the first of them, if it never went over."""
        nodes = self._paths.nodes[device]
        if not self._paths.moves_ns.get(device):
            nodes = nodes[:1]
        return [(label, said[node]) for node in nodes if node in said for label in self._labels(device)]

    def _labels(self, device: str) -> tuple[str, ...]:
        """What nodes call a device, by what it speaks."""
        run = self._ledger.run
        return f"client:{device}-{run}", f"coap:{device}-{run}", f"serial:{device}"

    def _fate(self, message: Message, listener: Listener) -> Fate:
        statements = self._statements.of(message)
        said = {
            node: statements[node]
            for node in self._paths.between(message.publisher, listener.name)
            if node in statements
        }
        if all(statement.accepted_ns is None for statement in said.values()):
            return self._never_taken(message, said)
        owed: list[Fate] = []
        elsewhere: list[Fate] = []  # a device that roams is known at some of its nodes only
        for node, statement in said.items():
            if statement.accepted_ns is None:
                continue
            for onward in dict.fromkeys(self._paths.onward(node, listener.name)):
                label = self._label(node, onward, statement, listener)
                if statement.speaks_of(label):
                    if fate := self._step(node, onward, label, said, listener):
                        owed.append(fate)
                elif not onward or label not in statement.publishers:  # else it came from there
                    elsewhere.append(self._not_owed(node, onward, statement.accepted_ns, listener))
        if owed:
            return LOST if LOST in owed else owed[0]
        return next((fate for fate in elsewhere if fate is not LOST), LOST)

    def _label(self, node: str, onward: str, statement: Statement, listener: Listener) -> str:
        """What `node` calls whoever is next."""
        if onward:
            return "uplink" if onward == self._paths.above[node] else f"node:{onward}"
        labels = self._labels(listener.name)
        return next((label for label in labels if statement.speaks_of(label)), labels[0])

    # ---- A step of the way

    def _step(
        self, node: str, onward: str, label: str, said: Mapping[str, Statement], listener: Listener
    ) -> Fate | None:
        """What became of what `node` owed; None where the trail goes on at the next node."""
        statement = said[node]
        end = statement.ends.get(label)
        if end is None:
            if label in statement.queued:
                return Fate(End.QUEUED, f"at {node}")
            return (
                Fate(End.DROPPED, f"{node} was killed") if self._was_killed(node, onward, statement, listener) else LOST
            )
        if self._ledger.closed_ns is not None and end.at_ns + MS_NS > self._ledger.closed_ns:
            return Fate(End.QUEUED, "on its way when the run ended")
        match end.outcome:
            case "expired":
                return Fate(End.EXPIRED, f"at {node}")
            case "collapsed":
                return Fate(End.REPLACED, f"at {node}")
            case "dropped" if end.reason not in HAS_IT:
                return Fate(End.DROPPED, end.reason)
        if not onward:
            return self._sent(node, listener, end.at_ns) if end.outcome == "sent" else LOST
        there = said.get(onward)
        if there is not None and there.accepted_ns is not None:
            return None
        if there is not None and (reason := _refusal(there)):
            return Fate(End.REFUSED, reason)
        if there is not None and "superseded" in there.refused:
            return OUTDATED
        return FAILED if end.outcome == "sent" and self._broke_between(node, onward, end.at_ns) else LOST

    def _was_killed(self, node: str, onward: str, statement: Statement, listener: Listener) -> bool:
        """Whether the life that owed it was cut off, by nobody but the scenario, and before something later came."""
        lives = self._statements.lives[node]
        accepted_ns = statement.accepted_ns
        assert accepted_ns is not None
        if lives[statement.life - 1].stopped:
            return False
        overtaken_ns = inf
        if not onward and len(self._paths.nodes[listener.name]) == 1:
            _, overtaken_ns = self._around(f"to {listener.name}", accepted_ns, least_qos=1)
        next_ns = lives[statement.life].began_ns if statement.life < len(lives) else inf
        return any(
            accepted_ns - SLACK_NS <= failure.at_ns <= min(next_ns + MS_NS, overtaken_ns)
            for failure in self._failures[node]
        )

    def _not_owed(self, node: str, onward: str, at_ns: int, listener: Listener) -> Fate:
        """`node` took it, and knew nothing of the subscription: a session had been lost, here or further on."""
        neighbour = f"node:{onward}"
        if onward:
            if onward == self._paths.above[node]:
                return LOST  # what is above is always owed
            if at_ns <= self._statements.next_heard_ns(node, neighbour, listener.since_ns) + TRAVEL_NS:
                return Fate(End.DROPPED, "its subscription was still under way")
        for gap in self._ledger.gaps.get(listener.name, ()):
            until_ns: float = inf if gap.until_ns is None else gap.until_ns
            if onward:
                until_ns = self._statements.next_heard_ns(node, neighbour, until_ns) + TRAVEL_NS
            if gap.from_ns - MS_NS <= at_ns <= until_ns:
                return Fate(End.DROPPED, "its session had been lost")
        ends_ns = self._ledger.ends.get(listener.name)
        if listener.latest_only and ends_ns and ends_ns[-1] <= at_ns:
            return Fate(End.DROPPED, "nobody observed any more")  # a session would have waited
        for other in self._down_to(node, listener):
            for failure in self._failures[other]:
                if failure.at_ns <= at_ns <= self._known_again_ns(node, onward, other, failure.at_ns, listener):
                    return Fate(End.DROPPED, "a node on the way had lost its memory")
        return LOST

    def _known_again_ns(self, node: str, onward: str, failed: str, failed_ns: int, listener: Listener) -> float:
        """Until when `node` may not know of a subscription after a failure on the way."""
        again_ns: float = failed_ns
        if failed in self._paths.nodes[listener.name]:
            again_ns = self._asked_again_ns(failed, failed_ns, listener)
        if onward:
            again_ns = self._statements.next_heard_ns(node, f"node:{onward}", again_ns) + TRAVEL_NS
        return again_ns

    def _asked_again_ns(self, node: str, failed_ns: int, listener: Listener) -> float:
        """When a subscriber had subscribed anew at its own node, which had failed. It may have noticed late."""
        if listener.latest_only:
            began = (life.began_ns for life in self._statements.lives[node] if life.began_ns >= failed_ns - MS_NS)
            return next(began, inf) + REFRESH_NS
        gaps = (gap.until_ns or inf for gap in self._ledger.gaps.get(listener.name, ()))
        asked_ns = next((until_ns for until_ns in gaps if until_ns > failed_ns), inf)
        _, served_ns = self._around(f"to {listener.name}", failed_ns + SLACK_NS)
        return min(asked_ns, served_ns)

    def _down_to(self, node: str, listener: Listener) -> list[str]:
        """`node` and the nodes from there to the subscriber."""
        chains = (self._paths.chain(end) for end in self._paths.nodes.get(listener.name, ()))
        return [other for chain in chains if node in chain for other in chain[: chain.index(node) + 1]]

    # ---- Without a promise

    def _sent(self, node: str, listener: Listener, at_ns: int) -> Fate:
        """It was sent to the subscriber, who need not acknowledge it."""
        if node != self._paths.node_of(listener.name, at_ns):
            return FAILED  # it had left for another node without a word
        if self._broke(listener.name, f"to {listener.name}", at_ns):
            return FAILED
        if any(abs(end_ns - at_ns) <= SLACK_NS for end_ns in self._ledger.ends.get(listener.name, ())):
            return FAILED  # it ended the connection itself while this was on its way
        if listener.name in self._lossy:
            return ASTRAY
        return LOST

    def _broke_between(self, node: str, onward: str, at_ns: int) -> bool:
        """Whether the connection between two nodes failed: between what went over it before and what went after."""
        is_up = onward == self._paths.above[node]
        label = f"node:{node}" if is_up else "uplink"
        before_ns = self._statements.last_heard_ns(onward, label, at_ns)
        after_ns = self._statements.next_heard_ns(onward, label, at_ns)
        lower, upper = (node, onward) if is_up else (onward, node)
        return self._was_disturbed((lower, upper, self._paths.links[lower]), before_ns, after_ns)

    def _never_taken(self, message: Message, said: Mapping[str, Statement]) -> Fate:
        """No node has taken it: it is with its publisher, or was in a connection that failed."""
        if reason := next(filter(None, map(_refusal, said.values())), ""):
            return Fate(End.REFUSED, reason)
        if message.accepted_ns is not None:
            return LOST
        failures = self._failures[message.publisher]
        if any(failure.at_ns >= message.at_ns and not failure.keeps_state for failure in failures):
            return Fate(End.DROPPED, "its publisher lost its memory")
        if message.unanswered:
            return Fate(End.DROPPED, "nobody answered its publisher")
        if message.qos:
            return Fate(End.QUEUED, "at its publisher")
        return FAILED if self._broke(message.publisher, f"from {message.publisher}", message.at_ns) else LOST

    def _broke(self, device: str, way: str, at_ns: int) -> bool:
        """Whether a device's connection failed: between what got through before `at_ns` and what did after."""
        before_ns, after_ns = self._around(way, at_ns)
        failures_ns = self._ledger.failures.get(device, ())
        if any(before_ns - SLACK_NS <= failed_ns <= after_ns + SLACK_NS for failed_ns in failures_ns):
            return True
        names = (device, self._paths.links[device], *self._paths.nodes[device])
        return self._was_disturbed(names, before_ns, after_ns)

    def _was_disturbed(self, names: Iterable[str], before_ns: float, after_ns: float) -> bool:
        return any(
            before_ns - SLACK_NS <= at_ns <= after_ns + SLACK_NS
            for name in names
            for at_ns in self._disturbed_ns.get(name, ())
        )

    def _around(self, way: str, at_ns: int, least_qos: int = 0) -> tuple[float, float]:
        """When what was sent last before, and first after `at_ns`, got through: a connection carries in order."""
        if self._journeys is None:
            self._journeys = self._read_journeys()
        before_ns, after_ns = -inf, inf
        for sent_ns, up_ns, got_ns, qos in self._journeys.get(way, ()):
            if up_ns <= at_ns:
                before_ns = max(before_ns, up_ns)
            elif sent_ns > at_ns and qos >= least_qos:
                after_ns = min(after_ns, got_ns)
        return before_ns, after_ns

    def _read_journeys(self) -> dict[str, list[tuple[int, int, int, int]]]:
        """Of all that arrived, by publisher and by subscriber: when it was sent, when its connection there was surely
        up, when it came, and its QoS. QoS 0 is written once, so its publisher's connection was up when it was sent,
        however long it waited further on.
        """
        journeys: defaultdict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
        for (name, ticket), copies in self._ledger.copies.items():
            message = self._ledger.messages[ticket]
            sent_ns, got_ns, qos = message.at_ns, copies.first_ns, message.qos
            journeys[f"to {name}"].append((sent_ns, got_ns, got_ns, qos))
            journeys[f"from {message.publisher}"].append((sent_ns, got_ns if qos else sent_ns, got_ns, qos))
        return dict(journeys)


def _refusal(statement: Statement) -> str:
    """Why a node has not taken a message; empty where it has it already."""
    return next((reason for reason in statement.refused if reason not in HAS_IT), "")
