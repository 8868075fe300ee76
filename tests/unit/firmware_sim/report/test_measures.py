"""Each measure on a small run whose figures can be counted by hand."""

from typing import get_args

import pytest

from firmware_sim.devices.port import Delivery
from firmware_sim.devices.stamp import Stamp
from firmware_sim.report.accounts import close_books
from firmware_sim.report.ledger import Ledger, Message
from firmware_sim.report.measures import Judgement, Measures, State, tally
from firmware_sim.report.story import Cut
from firmware_sim.scenario.expectation import NARROWED, Expectation, Measure

MS = 1_000_000


class Run:
    """Lamps at an edge, a phone beside the centre, a watch far away."""

    def __init__(self) -> None:
        self.ledger = Ledger("run")
        self.numbers: dict[str, int] = {}

    def send(self, publisher: str, leaf: str, of: str, at_ms: float, way: str, qos: int = 1) -> Message:
        topic = f"fleet/home/{leaf}"
        self.numbers[topic] = number = self.numbers.get(topic, 0) + 1
        message = Message(publisher, topic, number, round(at_ms * MS), qos, False, of, b"{}", way)
        self.ledger.sent(message)
        return message

    def arrive(self, name: str, way: str, message: Message, after_ms: float, away: bool = False) -> None:
        stamp = Stamp("run", message.publisher, message.number, message.at_ns)
        delivery = Delivery(message.topic, message.payload, 1, repeat=False, stored=False)
        self.ledger.received(name, way, delivery, stamp, message.at_ns + round(after_ms * MS), away)


@pytest.fixture
def measures() -> Measures:
    run = Run()
    run.ledger.listens("phone-1", "fleet/home/+/state", 1, "centre", latest_only=False, now_ns=0)
    run.ledger.listens("watch-1", "fleet/home/+/news", 1, "away", latest_only=False, now_ns=0)
    run.ledger.listens("lamp-1", "fleet/home/lamp-1/set", 1, "edge", latest_only=False, now_ns=0)
    for number in range(10):  # ten states: nine arrive after 10, 20, ... ms, the last is lost
        state = run.send("lamp-1", "lamp-1/state", "state", number * 100, "edge")
        if number < 9:
            run.arrive("phone-1", "centre", state, (number + 1) * 10)
    news = [run.send("herald-1", "all/news", "news", at_ms, "centre") for at_ms in (100, 1500)]
    run.arrive("watch-1", "away", news[0], 3000)
    run.arrive("watch-1", "away", news[1], 1700, away=True)
    orders = [run.send("phone-1", "lamp-1/set", "order", at_ms, "centre") for at_ms in (0, 500, 900)]
    run.arrive("lamp-1", "edge", orders[0], 5)
    run.arrive("lamp-1", "edge", orders[2], 6)
    run.arrive("lamp-1", "edge", orders[1], 600)
    run.ledger.confirmed("phone-1", "fleet/home/lamp-1/set", 1, 40 * MS)
    run.ledger.refused(10 + 2 + 0, "never mind")  # the first order, which arrived
    run.ledger.updated("lamp-1", "1.1", 0)
    return Measures(
        ledger=run.ledger,
        accounts=close_books(run.ledger, late_ms=1000),
        cuts=[Cut("dsl", 1000 * MS, 3000 * MS), Cut("dsl", 9000 * MS, 9500 * MS)],
        planned_updates=4,
        batteries={"lamp-1": 30.0, "lamp-2": 20.0, "watch-1": 5.0},
        economy={"edge": 3.5, "away": 9.0},
    )


@pytest.mark.parametrize(
    ("measure", "of", "value"),
    [
        ("lost", {}, 1),
        ("lost", {"of": "state"}, 1),
        ("lost", {"population": "watch"}, 0),
        ("lost", {"way": "edge -> centre"}, 1),
        ("lost", {"way": "edge → centre"}, 1),
        ("lost", {"way": "centre -> edge"}, 0),
        ("lost", {"way": "nowhere -> edge"}, None),
        ("lost", {"population": "nobody"}, None),
        ("doubled", {}, 0),
        ("out_of_order", {}, 1),
        ("delivered_share", {"of": "state"}, 0.9),
        ("late_share", {"of": "news"}, 0.5),
        ("confirmed_share", {}, 1 / 3),
        ("updated_share", {}, 0.25),
        ("latency_p50_ms", {"of": "state"}, 50),
        ("latency_max_ms", {"of": "state"}, 90),
        ("latency_max_ms", {"population": "watch"}, None),  # asleep, or through a cut link: that is `recovery_ms`
        ("latency_max_ms", {"population": "lamp"}, 6),
        ("latency_max_ms", {"of": "alarm"}, None),
        ("round_trip_p99_ms", {}, 40),
        ("recovery_ms", {"of": "state"}, None),
        ("battery_days", {}, 5),
        ("battery_days", {"population": "lamp"}, 20),
        ("battery_days", {"population": "phone"}, None),
        ("link_bytes_per_byte", {}, 9),
        ("link_bytes_per_byte", {"way": "edge"}, 3.5),
        ("link_bytes_per_byte", {"way": "centre"}, None),
        ("refused", {}, 0),
        ("queued", {}, 0),
        ("expired", {}, 0),
        ("dropped", {}, 0),
        ("lost_qos0", {}, 0),
    ],
)  # fmt: skip
def test_measures(measures: Measures, measure: str, of: dict[str, str], value: float | None) -> None:
    judgement = measures.judge(Expectation(measure=measure, at_least=0, **of))  # type: ignore[arg-type]
    assert judgement.value == (value if value is None else pytest.approx(value))
    assert judgement.state is (State.MISSED if value is None else State.MET), "what cannot be measured meets nothing"


@pytest.mark.parametrize("measure", get_args(Measure))
@pytest.mark.parametrize("key", ["way", "of", "population"])
def test_what_narrows_a_measure_is_heeded_or_refused(measures: Measures, measure: str, key: str) -> None:
    words = {"measure": measure, "at_least": 0, key: "nothing"}
    if measure in NARROWED[key]:
        assert measures.judge(Expectation(**words)).value is None  # type: ignore[arg-type]
    else:
        with pytest.raises(ValueError, match=f"{measure} knows no `{key}`"):
            Expectation(**words)  # type: ignore[arg-type]


def test_recovery_is_the_first_message_that_had_waited_for_the_heal() -> None:
    run = Run()
    run.ledger.listens("phone-1", "fleet/home/+/state", 1, "centre", latest_only=False, now_ns=0)
    for at_ms, took_ms in ((500, 600), (1500, 1580), (2000, 1900), (3100, 5)):
        run.arrive("phone-1", "centre", run.send("lamp-1", "lamp-1/state", "state", at_ms, "edge"), took_ms)
    measures = Measures(run.ledger, close_books(run.ledger, 1000), [Cut("dsl", 1000 * MS, 3000 * MS)], 0, {}, {})
    assert measures.judge(Expectation(measure="recovery_ms", at_most=80)).value == 80


@pytest.mark.parametrize(
    ("bounds", "state"),
    [
        ({"at_most": 1}, State.MET), ({"at_most": 0}, State.MISSED), ({"at_least": 1}, State.MET),
        ({"at_least": 2}, State.MISSED), ({"at_least": 1, "at_most": 1}, State.MET),
        ({"at_most": 5, "waits_for": "issue 7"}, State.WAITING),
        ({"at_most": 0, "waits_for": "issue 7"}, State.WAITING),
    ],
)  # fmt: skip
def test_bounds(measures: Measures, bounds: dict[str, object], state: State) -> None:
    assert measures.judge(Expectation(measure="lost", **bounds)).state is state  # type: ignore[arg-type]


def test_in_words(measures: Measures) -> None:
    judgements = [
        measures.judge(Expectation(measure="lost", of="state", at_most=0)),
        measures.judge(Expectation(measure="latency_p50_ms", of="alarm", at_most=5, at_least=1)),
        measures.judge(Expectation(measure="doubled", at_most=0, waits_for="issue 7")),
    ]
    assert [str(judgement) for judgement in judgements] == [
        "missed: lost, of state: at most 0; it was 1",
        "missed: latency_p50_ms, of alarm: at most 5, at least 1; it was nothing to measure",
        "waiting: doubled: at most 0; it was 0, waiting for issue 7",
    ]
    assert tally(judgements) == {State.MISSED: 2, State.WAITING: 1}
    assert isinstance(judgements[0], Judgement)


@pytest.mark.parametrize(
    ("measure", "bounds", "state"),
    [
        ("updated_share", {"at_least": 1}, State.UNJUDGED),
        ("updated_share", {"at_least": 0.2}, State.MET),
        ("queued", {"at_least": 1}, State.UNJUDGED),
        ("lost", {"at_most": 0}, State.MISSED),
        ("latency_max_ms", {"at_most": 1}, State.MISSED),
    ],
)
def test_ended_early_what_might_still_have_come_is_not_judged(
    measures: Measures, measure: str, bounds: dict[str, float], state: State
) -> None:
    measures.was_stopped = True
    assert measures.judge(Expectation(measure=measure, **bounds)).state is state  # type: ignore[arg-type]


def test_no_battery_is_judged_where_time_is_compressed(measures: Measures) -> None:
    measures.batteries = None
    expectations = [Expectation(measure="battery_days", at_least=3), Expectation(measure="lost", at_most=1)]
    assert [measures.judge(expectation).state for expectation in expectations] == [State.UNJUDGED, State.MET]
