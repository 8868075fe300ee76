"""How a message that did not arrive ended: every end by its evidence, and that nothing else excuses a message.

A lamp at edge `a` reports to a phone at edge `b`, over the centre. Times are milliseconds.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from firmware_sim.devices.port import Delivery
from firmware_sim.devices.stamp import Stamp
from firmware_sim.report.evidence import End, Evidence, Failure, Fate, Paths
from firmware_sim.report.ledger import Ledger, Message
from oriole.settlements import Accepted, Ended, Line, Queued, Refused, Start, Stop

MS = 1_000_000
TOPIC = "fleet/home/lamp-1/state"
PHONE, LAMP = "client:phone-1-run", "client:lamp-1-run"
ABOVE = {"centre": "", "a": "centre", "b": "centre"}
WALL = datetime(2026, 1, 1, tzinfo=UTC)
LOST = Fate(End.LOST)
KILLED = Fate(End.DROPPED, "centre was killed")
FORGOTTEN = Fate(End.DROPPED, "a node on the way had lost its memory")
GAP = Fate(End.DROPPED, "its session had been lost")
FAILED = Fate(End.DROPPED, "sent into a connection that had failed (QoS 0)")


class Scene:
    """What devices saw, what nodes wrote and what was done, before the books are closed."""

    def __init__(self, folder: Path, qos: int = 1, latest_only: bool = False, at: tuple[str, ...] = ("b",)) -> None:
        self.folder = folder
        self.ledger = Ledger("run")
        self.qos = qos
        self.latest_only = latest_only
        self.nodes = {"lamp-1": ("a",), "phone-1": at}
        self.lines: dict[str, list[Line]] = {node: [] for node in ABOVE}
        self.failures: list[Failure] = []
        self.disturbed: dict[str, list[int]] = {}
        self.moves: dict[str, list[int]] = {}
        self.lossy: list[str] = []
        self._lives = 0
        self._sent = 0
        for node in ABOVE:
            self.start(node, 0)
        self.ledger.listens("phone-1", TOPIC, qos, "b", latest_only, now_ns=0)
        self.hears("centre", "node:b", 10)
        self.hears("centre", "node:a", 10)
        self.message = self.send(20_000)

    # ---- Devices

    def send(self, at_ms: int) -> Message:
        self._sent += 1
        payload = f"{self._sent}".encode()
        message = Message("lamp-1", TOPIC, self._sent, at_ms * MS, self.qos, True, "state", payload, "a")
        self.ledger.sent(message)
        return message

    def arrives(self, message: Message, at_ms: int) -> None:
        """The phone gets another message."""
        stamp = Stamp("run", message.publisher, message.number, message.at_ns)
        delivery = Delivery(message.topic, message.payload, message.qos, repeat=False, stored=False)
        self.ledger.received("phone-1", "b", delivery, stamp, at_ms * MS, was_away=False)

    def fails(self, who: str, at_ms: int, keeps_state: bool = False) -> None:
        self.failures.append(Failure(who, at_ms * MS, keeps_state))
        self.disturbed.setdefault(who, []).append(at_ms * MS)

    # ---- Nodes

    def start(self, node: str, at_ms: int) -> None:
        self._lives += 1
        self.lines[node].append(Start(at=at_ms, wall=WALL, node=node, kind="broker", epoch=f"{self._lives}"))

    def stop(self, node: str, at_ms: int) -> None:
        self.lines[node].append(Stop(at=at_ms, wall=WALL, queued=0))

    def hears(self, node: str, neighbour: str, at_ms: int) -> None:
        """Something else comes from a neighbour."""
        self.lines[node].append(Accepted(at=at_ms, topic="other", digest="0", qos=1, publisher=neighbour))

    def takes(self, node: str, publisher: str, *owed: str, at_ms: int = 20_000) -> None:
        message = self.message
        self.lines[node].append(
            Accepted(at=at_ms, topic=TOPIC, digest=message.digest, qos=self.qos, publisher=publisher, owed=list(owed))
        )

    def ends(self, node: str, to: str, outcome: str, reason: str = "", at_ms: int = 20_000) -> None:
        self.lines[node].append(
            Ended(at=at_ms, topic=TOPIC, digest=self.message.digest, to=to, outcome=outcome, reason=reason)
        )

    def keeps(self, node: str, to: str) -> None:
        self.lines[node].append(Queued(at=90_000, topic=TOPIC, digest=self.message.digest, to=to))

    def refuses(self, node: str, reason: str) -> None:
        self.lines[node].append(Refused(at=20_000, topic=TOPIC, digest=self.message.digest, qos=1, reason=reason))

    def goes(self, *steps: str) -> None:
        """It goes well as far as that."""
        if "a" in steps:
            self.takes("a", LAMP, "uplink")
            self.ends("a", "uplink", "acknowledged" if self.qos else "sent")
        if "centre" in steps:
            self.takes("centre", "node:a", "node:b")
            self.ends("centre", "node:b", "acknowledged" if self.qos else "sent")
        if "b" in steps:
            self.takes("b", "uplink", PHONE)
            self.ends("b", PHONE, "acknowledged" if self.qos else "sent")

    # ---- The question

    def evidence(self) -> Evidence:
        encoder = msgspec.json.Encoder()
        files = {node: self.folder / node for node in ABOVE}
        for node, file in files.items():
            lines = sorted(self.lines[node], key=lambda line: line.at)
            file.write_bytes(b"".join(encoder.encode(line) + b"\n" for line in lines))
        paths = Paths(
            above=ABOVE,
            nodes=self.nodes,
            links={"a": "dsl", "b": "", "centre": "", "lamp-1": "", "phone-1": "wifi"},
            moves_ns=self.moves,
        )
        evidence = Evidence(self.ledger, files, paths, self.failures, self.disturbed, self.lossy)
        evidence.gather([self.message])
        return evidence

    def fate(self, has_newer: bool = False) -> Fate:
        return self.evidence().fate(self.message, self.message.due["phone-1"], has_newer)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def careless(tmp_path: Path) -> Scene:
    """The same with QoS 0."""
    return Scene(tmp_path, qos=0)


# ---- Nodes say so


@pytest.mark.parametrize(
    ("outcome", "reason", "fate"),
    [
        ("expired", "", Fate(End.EXPIRED, "at b")),
        ("collapsed", "", Fate(End.REPLACED, "at b")),
        ("dropped", "queue full", Fate(End.DROPPED, "queue full")),
        ("acknowledged", "", LOST),
        ("sent", "", LOST),
    ],
)
def test_the_last_node_says_so(scene: Scene, outcome: str, reason: str, fate: Fate) -> None:
    scene.goes("a", "centre")
    scene.takes("b", "uplink", PHONE)
    scene.ends("b", PHONE, outcome, reason)
    assert scene.fate() == fate


@pytest.mark.parametrize("outcome", ["expired", "collapsed"])
def test_a_node_on_the_way_says_so(scene: Scene, outcome: str) -> None:
    scene.takes("a", LAMP, "uplink")
    scene.ends("a", "uplink", outcome)
    assert scene.fate() == Fate(End.EXPIRED if outcome == "expired" else End.REPLACED, "at a")


def test_what_one_says_of_somebody_else_excuses_nobody(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.takes("b", "uplink", PHONE, "client:tablet-1-run", "uplink")
    for other in ("client:tablet-1-run", "uplink", "retained", "client:phone-1-yesterday"):
        scene.ends("b", other, "expired")
        scene.keeps("b", other)
    assert scene.fate() == LOST


def test_queued(scene: Scene) -> None:
    scene.goes("a")
    scene.takes("centre", "node:a", "node:b")
    scene.keeps("centre", "node:b")
    assert scene.fate() == Fate(End.QUEUED, "at centre")


def test_refused_by_the_next_node_unless_it_has_it(scene: Scene) -> None:
    scene.goes("a")
    scene.refuses("centre", "repeat")
    assert scene.fate() == LOST
    scene.refuses("centre", "queue full")
    assert scene.fate() == Fate(End.REFUSED, "queue full")


def test_a_refusal_before_it_was_taken_excuses_nothing(scene: Scene) -> None:
    scene.refuses("a", "queue full")
    scene.goes("a", "centre", "b")
    assert scene.fate() == LOST


def test_the_trail_is_lost_between_two_nodes(scene: Scene) -> None:
    scene.goes("a")
    assert scene.fate() == LOST


def test_refused_because_a_newer_state_stands_there(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.refuses("b", "superseded")
    assert scene.fate(has_newer=True) == Fate(End.REPLACED, "by a newer state")
    assert scene.fate() == LOST, "the phone never heard of a newer one"


def test_on_its_way_when_the_run_ended(scene: Scene) -> None:
    scene.goes("a", "centre", "b")
    scene.ledger.close(20_500 * MS)
    assert scene.fate() == LOST
    scene.ledger.close(20_000 * MS)
    assert scene.fate() == Fate(End.QUEUED, "on its way when the run ended")


# ---- Kills


def test_owed_by_a_node_that_was_killed(scene: Scene) -> None:
    scene.goes("a")
    scene.takes("centre", "node:a", "node:b")
    scene.fails("centre", 20_010)
    scene.start("centre", 21_000)
    assert scene.fate() == KILLED


def test_a_kill_long_after_it_had_passed_excuses_nothing(scene: Scene) -> None:
    scene.goes("a", "centre", "b")
    for node in ABOVE:
        scene.fails(node, 60_000)
        scene.start(node, 61_000)
    assert scene.fate() == LOST


def test_a_kill_before_it_was_taken_excuses_nothing(scene: Scene) -> None:
    scene.fails("centre", 5_000)
    scene.goes("a")
    scene.takes("centre", "node:a", "node:b")
    assert scene.fate() == LOST


def test_a_node_that_ended_in_order_has_no_excuse(scene: Scene) -> None:
    scene.goes("a")
    scene.takes("centre", "node:a", "node:b")
    scene.fails("centre", 60_000)
    scene.stop("centre", 59_000)
    assert scene.fate() == LOST


def test_a_crash_of_its_own_excuses_nothing(scene: Scene) -> None:
    scene.goes("a")
    scene.takes("centre", "node:a", "node:b")
    scene.start("centre", 21_000)
    scene.fails("centre", 60_000)
    scene.start("centre", 61_000)
    assert scene.fate() == LOST, "the scenario killed a later life"


def test_a_kill_after_something_later_had_come_excuses_nothing(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.takes("b", "uplink", PHONE)
    scene.arrives(scene.send(30_000), 30_010)
    scene.fails("b", 40_000)
    assert scene.fate() == LOST, "what came later overtook it: it was not in the queue any more"


def test_a_second_life_that_took_it_again_answers_for_it(scene: Scene) -> None:
    scene.takes("a", LAMP, "uplink")
    scene.fails("a", 20_010)
    scene.start("a", 21_000)
    scene.takes("a", LAMP, "uplink", at_ms=22_000)
    assert scene.fate() == LOST


# ---- Subscriptions that were not there


def test_not_owed_is_lost_whatever_happens_elsewhere(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.takes("b", "uplink")
    scene.fails("a", 5_000)
    scene.fails("lamp-1", 5_000)
    scene.ledger.left("phone-1", 70_000 * MS)
    assert scene.fate() == LOST


def test_not_owed_in_a_gap(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.takes("b", "uplink")
    scene.ledger.left("phone-1", 19_000 * MS)
    scene.ledger.forgotten("phone-1", 20_500 * MS)
    assert scene.fate() == GAP
    scene.ledger.listens("phone-1", TOPIC, 1, "b", False, 20_600 * MS)
    assert scene.fate() == GAP


@pytest.mark.parametrize(("left_ms", "again_ms"), [(10_000, 19_000), (21_000, 30_000)])
def test_not_owed_outside_of_a_gap(scene: Scene, left_ms: int, again_ms: int) -> None:
    scene.goes("a", "centre")
    scene.takes("b", "uplink")
    scene.ledger.left("phone-1", left_ms * MS)
    scene.ledger.forgotten("phone-1", again_ms * MS)
    scene.ledger.listens("phone-1", TOPIC, 1, "b", False, again_ms * MS)
    assert scene.fate() == LOST


def test_the_centre_was_not_told_yet_after_it_had_been_started_again(scene: Scene) -> None:
    scene.goes("a")
    scene.fails("centre", 18_000)
    scene.start("centre", 19_000)
    scene.takes("centre", "node:a")
    assert scene.fate() == FORGOTTEN
    scene.hears("centre", "node:b", 21_000)
    assert scene.fate() == FORGOTTEN


def test_the_centre_had_been_told_again_long_before(scene: Scene) -> None:
    scene.goes("a")
    scene.fails("centre", 10_000)
    scene.start("centre", 11_000)
    scene.hears("centre", "node:b", 12_000)
    scene.takes("centre", "node:a")
    assert scene.fate() == LOST


def test_the_edge_was_started_again_and_the_phone_has_not_noticed(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.fails("b", 10_000)
    scene.start("b", 11_000)
    scene.takes("b", "uplink")
    assert scene.fate() == FORGOTTEN


def test_the_edge_was_started_again_and_had_served_the_phone_since(scene: Scene) -> None:
    scene.goes("a", "centre")
    scene.fails("b", 10_000)
    scene.start("b", 11_000)
    scene.arrives(scene.send(15_000), 15_010)
    scene.takes("b", "uplink")
    assert scene.fate() == LOST


def test_the_way_up_is_always_open(scene: Scene) -> None:
    scene.fails("centre", 18_000)
    scene.takes("a", LAMP)
    assert scene.fate() == LOST


def test_a_new_subscription_travels_to_the_nodes_above(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.lines["centre"] = scene.lines["centre"][:1]
    scene.goes("a")
    scene.takes("centre", "node:a")
    scene.hears("centre", "node:b", 19_000)
    assert scene.fate() == Fate(End.DROPPED, "its subscription was still under way")
    scene.lines["centre"].pop()
    scene.hears("centre", "node:b", 10_000)
    assert scene.fate() == LOST


# ---- QoS 0


def test_sent_without_a_promise_and_the_connection_carried_on(careless: Scene) -> None:
    careless.goes("a", "centre", "b")
    careless.ledger.disconnected("phone-1", "reset", 70_000 * MS)
    careless.arrives(careless.send(25_000), 25_010)
    assert careless.fate() == LOST, "what came after it came by the same connection"


def test_sent_without_a_promise_into_a_dead_connection(careless: Scene) -> None:
    careless.goes("a", "centre", "b")
    careless.ledger.disconnected("phone-1", "keep alive", 60_000 * MS)
    assert careless.fate() == FAILED


def test_sent_without_a_promise_to_one_who_said_goodbye_much_later(careless: Scene) -> None:
    careless.goes("a", "centre", "b")
    careless.ledger.left("phone-1", 60_000 * MS)
    assert careless.fate() == LOST
    careless.ledger.left("phone-1", 20_500 * MS)
    assert careless.fate() == FAILED


@pytest.mark.parametrize("who", ["dsl", "a", "centre"])
def test_sent_without_a_promise_to_the_next_node(careless: Scene, who: str) -> None:
    careless.goes("a")
    assert careless.fate() == LOST
    careless.disturbed[who] = [19_000 * MS]
    assert careless.fate() == FAILED
    careless.hears("centre", "node:a", 19_999)
    careless.disturbed[who] = [15_000 * MS]
    assert careless.fate() == LOST, "it had carried since"
    careless.disturbed[who] = [40_000 * MS]
    careless.hears("centre", "node:a", 30_000)
    assert careless.fate() == LOST, "it carried on"


def test_never_taken_and_the_publishers_connection_carried_on(careless: Scene) -> None:
    assert careless.fate() == LOST
    careless.ledger.left("lamp-1", 20_500 * MS)
    assert careless.fate() == LOST, "who says goodbye is heard to the end"
    careless.ledger.disconnected("lamp-1", "reset", 60_000 * MS)
    assert careless.fate() == FAILED
    careless.arrives(careless.send(30_000), 30_010)
    assert careless.fate() == LOST


def test_a_notification_may_be_lost_where_packets_are(tmp_path: Path) -> None:
    scene = Scene(tmp_path, latest_only=True)
    scene.goes("a", "centre")
    scene.takes("b", "uplink", "coap:phone-1-run")
    scene.ends("b", "coap:phone-1-run", "sent")
    assert scene.fate() == LOST
    assert scene.fate(has_newer=True) == Fate(End.REPLACED, "by a newer state")
    scene.lossy.append("phone-1")
    assert scene.fate() == Fate(End.DROPPED, "lost on the way to it, where nobody acknowledges")


def test_who_wants_every_message_is_not_content_with_a_newer_one(scene: Scene) -> None:
    scene.goes("a", "centre", "b")
    assert scene.fate(has_newer=True) == LOST


# ---- At the publisher


def test_with_its_publisher(scene: Scene) -> None:
    assert scene.fate() == Fate(End.QUEUED, "at its publisher")
    scene.message.unanswered = "no answer"
    assert scene.fate() == Fate(End.DROPPED, "nobody answered its publisher")
    scene.fails("lamp-1", 30_000)
    assert scene.fate() == Fate(End.DROPPED, "its publisher lost its memory")


def test_acknowledged_to_its_publisher_and_taken_by_nobody(scene: Scene) -> None:
    scene.message.accepted_ns = 20_001 * MS
    scene.message.unanswered = "no answer"
    scene.fails("lamp-1", 30_000)
    scene.fails("a", 30_000)
    assert scene.fate() == LOST


def test_refused_to_its_publisher(scene: Scene) -> None:
    scene.ledger.refused(0, "quota exceeded")
    assert scene.fate() == Fate(End.REFUSED, "quota exceeded")


# ---- Roaming


def test_who_roams_is_known_at_some_of_its_nodes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, at=("b", "a"))
    scene.moves["phone-1"] = [10_000 * MS]
    scene.takes("a", LAMP, "uplink", PHONE)
    scene.ends("a", "uplink", "acknowledged")
    scene.takes("centre", "node:a")
    scene.keeps("a", PHONE)
    assert scene.fate() == Fate(End.QUEUED, "at a")
    scene.ends("a", PHONE, "acknowledged")
    assert scene.fate() == LOST


def test_a_loss_at_one_node_is_not_excused_by_the_other(tmp_path: Path) -> None:
    scene = Scene(tmp_path, at=("b", "a"))
    scene.takes("a", LAMP, "uplink", PHONE)
    scene.ends("a", "uplink", "acknowledged")
    scene.takes("centre", "node:a", "node:b")
    scene.ends("centre", "node:b", "expired")
    assert scene.fate() == LOST


def test_a_loss_further_on_is_not_excused_by_what_a_node_before_says(tmp_path: Path) -> None:
    scene = Scene(tmp_path, at=("b", "a"))
    scene.takes("a", LAMP, "uplink", PHONE)
    scene.ends("a", PHONE, "expired")
    scene.ends("a", "uplink", "acknowledged")
    scene.takes("centre", "node:a", "node:b")
    assert scene.fate() == LOST


def test_the_node_above_two_neighbours_is_not_on_their_way(tmp_path: Path) -> None:
    scene = Scene(tmp_path, at=("a",))
    scene.takes("a", LAMP, "uplink")
    scene.fails("centre", 18_000)
    scene.start("centre", 19_000)
    scene.takes("centre", "node:a")
    assert scene.fate() == LOST, "whatever the centre had forgotten"


def test_sent_to_where_it_had_been(tmp_path: Path) -> None:
    scene = Scene(tmp_path, qos=0, at=("a", "b"))
    scene.takes("a", LAMP, "uplink", PHONE)
    scene.ends("a", PHONE, "sent")
    scene.ends("a", "uplink", "sent")
    scene.takes("centre", "node:a")
    assert scene.fate() == LOST
    scene.moves["phone-1"] = [10_000 * MS]
    assert scene.fate() == FAILED


def test_copies_that_are_nobodys_fault(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.goes("a", "centre", "b")
    assert not scene.evidence().may_repeat(scene.message, "phone-1")
    scene.fails("centre", 30_000)
    scene.start("centre", 31_000)
    scene.takes("centre", "node:a", "node:b", at_ms=32_000)
    assert scene.evidence().may_repeat(scene.message, "phone-1")


def test_a_copy_to_one_who_has_forgotten_what_it_had_taken(scene: Scene) -> None:
    scene.goes("a", "centre", "b")
    scene.fails("phone-1", 25_000, keeps_state=True)
    assert not scene.evidence().may_repeat(scene.message, "phone-1")
    scene.fails("phone-1", 26_000, keeps_state=False)
    assert scene.evidence().may_repeat(scene.message, "phone-1")


def test_copies_from_two_of_a_roaming_devices_nodes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, at=("a", "b"))
    scene.goes("centre", "b")
    scene.takes("a", LAMP, "uplink", PHONE)
    scene.ends("a", PHONE, "acknowledged")
    assert not scene.evidence().may_repeat(scene.message, "phone-1"), "it did not roam"
    scene.moves["phone-1"] = [10_000 * MS]
    assert scene.evidence().may_repeat(scene.message, "phone-1")


def test_copies_by_two_of_a_roaming_publishers_nodes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.nodes["lamp-1"] = ("a", "b")
    scene.goes("a", "centre")
    scene.takes("b", LAMP, "uplink", PHONE)
    scene.ends("b", PHONE, "acknowledged")
    assert not scene.evidence().may_repeat(scene.message, "phone-1"), "it did not roam"
    scene.moves["lamp-1"] = [10_000 * MS]
    assert scene.evidence().may_repeat(scene.message, "phone-1")


def test_copies_of_what_was_kept_for_who_asks(scene: Scene) -> None:
    scene.goes("a", "centre", "b")
    kept = Ended(
        at=30_000, topic=TOPIC, digest=scene.message.digest, to="client:tablet-1-run", outcome="sent", stored=True
    )
    scene.lines["b"].append(kept)
    assert not scene.evidence().may_repeat(scene.message, "phone-1"), "for somebody else"
    scene.lines["b"].append(msgspec.structs.replace(kept, to=PHONE))
    assert scene.evidence().may_repeat(scene.message, "phone-1")


# ---- Files


def test_a_line_that_was_cut_off_and_a_missing_file(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.goes("a", "centre")
    scene.takes("b", "uplink", PHONE)
    scene.ends("b", PHONE, "expired")
    evidence = scene.evidence()
    assert evidence.fate(scene.message, scene.message.due["phone-1"], False).end is End.EXPIRED
    file = tmp_path / "b"
    file.write_bytes(file.read_bytes()[:-20])
    again = Evidence(scene.ledger, {"b": file, "a": tmp_path / "nothing"}, evidence._paths, [], {})
    again.gather([scene.message])
    assert again.fate(scene.message, scene.message.due["phone-1"], False) == LOST
