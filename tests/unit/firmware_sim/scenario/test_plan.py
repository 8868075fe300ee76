"""What a run will do: it follows from the file and the seed, is in order, and every fault has its end."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.happenings import FAULTS
from firmware_sim.scenario.plan import BEGINNINGS, ENDS, Action, plan
from firmware_sim.scenario.roster import roster
from oriole import typed_yaml

SECOND = 1_000_000_000

SCENARIO = """
name: test
length: 10m
nodes:
  centre: {data: true}
  house: {kind: edge, uplink: centre, link: dsl}
links: {dsl: {delay_ms: 40}}
populations:
  lamp: {profile: lamp, at: centre, count: 20}
  button: {profile: button, at: centre, count: 2}
  thermostat: {profile: thermostat, at: house, count: 3}
  late: {profile: meter, at: centre, count: 5, starts: 2m, spread: 1m}
  relay: {profile: relay, at: house, count: 2}
  phone: {profile: remote, at: centre, commands: [lamp, relay]}
  maker: {profile: updater, at: centre, commands: [relay, lamp]}
schedule:
  - {at: 4m, spread: 30s, power_off: lamp}
  - {at: 5m, power_on: lamp}
  - {at: 6m, update: lamp, firmware_kib: 3}
faults:
  - {at: 1m, cut: dsl, lasts: 10s}
  - {at: 1m, change: dsl, to: {loss: 0.5}, lasts: 10s}
  - {every: 30s, kill: [house, lamp], lasts: 5s, share: 0.25, keeps_state: false}
  - {every: 1m, power_cut: thermostat}
  - {at: 3m, fill_disk: centre, lasts: 5s}
  - {at: 4m, noise: relay, lasts: 5s, bytes_damaged: 0.1}
  - {at: 4m, jump_clock: centre, by: -60}
  - {at: 9m55s, pause: house, lasts: 10s}
"""


def read(text: str = SCENARIO) -> Scenario:
    return typed_yaml.decode(text, Scenario, "file.yaml")


def planned(scenario: Scenario, seed: int = 1) -> Iterator[Action]:
    return plan(scenario, roster(scenario), seed)


def test_one_seed_one_plan_another_seed_another() -> None:
    first = list(planned(read(), 1))
    assert first == list(planned(read(), 1))
    assert first != list(planned(read(), 2))


@given(st.integers())
def test_it_is_in_order_and_within_the_length(seed: int) -> None:
    times = [action.at_ns for action in planned(read(), seed)]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times[-1] <= 600 * SECOND
    assert times[0] >= 0


def test_who_it_is_for_exists() -> None:
    names = {member.name for member in roster(read())} | {"centre", "house", "dsl"}
    assert {action.to for action in planned(read())} <= names


def test_every_fault_that_lasts_has_its_end() -> None:
    ends = {"heal": ["cut"], "restore": ["change"], "free_disk": ["fill_disk"], "calm": ["noise"]}
    actions = list(planned(read()))
    for end, begins in ends.items():
        begun = [action for action in actions if action.do in begins]
        over = [action for action in actions if action.do == end]
        assert [(each.to, each.at_ns) for each in over] == [
            (each.to, each.at_ns + (10 if begins[0] in ("cut", "change") else 5) * SECOND) for each in begun
        ]
        assert begun
    assert not any(action.do == "go_on" for action in actions), "it would be after the end; the fleet repairs it"
    assert {BEGINNINGS.get(fault, fault) for fault in ENDS} == {BEGINNINGS.get(fault, fault) for fault in FAULTS} - {
        "readdress", "jump_clock",
    }, "what stays so, and what is a moment"  # fmt: skip


def test_a_fault_that_comes_again_and_again_is_over_before_it_comes_again() -> None:
    house = [action for action in planned(read()) if action.to == "house" and action.do in ("fail", "power_on")]
    assert len(house) > 10
    assert [action.do for action in house] == ["fail", "power_on"] * (len(house) // 2) + ["fail"] * (len(house) % 2)
    for failed, back in zip(house[::2], house[1::2], strict=False):
        assert back.at_ns - failed.at_ns == 5 * SECOND


def of_faults(faults: str) -> list[tuple[float, str, str]]:
    """When, to whom and what a plan of these faults alone is."""
    text = f"""
name: test
length: 1h
nodes: {{centre: {{}}, house: {{kind: edge, uplink: centre, link: dsl}}}}
links: {{dsl: {{}}, lan: {{}}}}
populations: {{relay: {{profile: relay, at: house, count: 3}}, phone: {{profile: button, at: centre}}}}
schedule: [{{at: 31m, power_on: relay}}]
faults: {faults}
"""
    actions = [action for action in planned(read(text)) if action.do not in ("report", "press")]
    return [
        (action.at_ns / SECOND / 60, action.to, action.do) for action in actions if action.at_ns != 31 * 60 * SECOND
    ]


@pytest.mark.parametrize(
    ("first", "second", "end", "ends_at"),
    [
        ("at: 30m, cut: dsl, lasts: 10m", "at: 35m, cut: [dsl, lan], lasts: 10m", "heal", [45, 45]),
        ("at: 30m, cut: dsl, lasts: 10m", "at: 35m, cut: [lan, dsl], lasts: 1m", "heal", [36, 40]),
        ("at: 30m, cut: dsl, lasts: 10m", "at: 40m, cut: dsl, lasts: 10m", "heal", [40, 50]),
        ("at: 40m, cut: dsl, lasts: 10m", "at: 30m, cut: dsl, lasts: 10m", "heal", [50]),
        ("at: 30m, cut: dsl", "at: 35m, cut: dsl, lasts: 1m", "heal", []),
        ("at: 30m, kill: house, lasts: 10m", "at: 35m, power_cut: house, lasts: 1m", "power_on", [40]),
        ("at: 30m, pause: relay, lasts: 10m", "at: 35m, pause: relay, lasts: 10m", "go_on", [45, 45, 45]),
        ("at: 30m, pause: house, lasts: 10m", "at: 35m, pause: relay, lasts: 1m", "go_on", [36, 36, 36, 40]),
    ],
)
def test_where_faults_overlap_on_one_target_the_last_end_counts(
    first: str, second: str, end: str, ends_at: list[int]
) -> None:
    assert [at for at, _, what in of_faults(f"[{{{first}}}, {{{second}}}]") if what == end] == ends_at


def test_what_a_link_becomes_meanwhile_is_what_the_last_that_stands_makes_of_it() -> None:
    fault = "{{at: {}m, change: dsl, to: {{delay_ms: {}}}, lasts: {}m}}"
    nested = [fault.format(*each) for each in ((30, 1, 20), (35, 2, 5), (45, 3, 10))]
    assert of_faults(f"[{', '.join(nested)}]") == [
        (30, "dsl", "change"),
        (35, "dsl", "change"),
        (40, "dsl", "change"),  # again as from minute 30
        (45, "dsl", "change"),
        (55, "dsl", "restore"),
    ]


def test_a_share_of_the_devices_is_hit_drawn_anew_each_time() -> None:
    kills = Counter(action.at_ns for action in planned(read()) if action.do == "fail" and action.to.startswith("lamp"))
    assert set(kills.values()) == {5}, "a quarter of twenty"
    hit = {action.to for action in planned(read()) if action.do == "fail" and action.to.startswith("lamp")}
    assert len(hit) > 5


def test_what_verbs_need() -> None:
    by_verb = {action.do: action for action in planned(read())}
    assert by_verb["jump_clock"].values == {"by_s": -60}
    assert by_verb["change"].values["to"]["loss"] == 0.5
    assert by_verb["noise"].values["share"] == 0.1
    kills = [action.values for action in planned(read()) if action.do == "fail" and action.to == "house"]
    assert kills[0] == {"keeps_state": False, "silently": False}
    cuts = [action.values for action in planned(read()) if action.do == "fail" and action.to.startswith("therm")]
    assert cuts[0] == {"keeps_state": True, "silently": True}


def test_an_update_names_each_device_by_its_position() -> None:
    updates = [action for action in planned(read()) if action.do == "update"]
    assert [action.to for action in updates] == ["maker-1"] * 20
    assert [action.values["target"] for action in updates] == list(range(2, 22)), "behind the two relays"
    assert updates[0].values == {"target": 2, "version": "1.3", "size": 3072}


def test_events_are_spread_within_their_time() -> None:
    off = [action.at_ns / SECOND for action in planned(read()) if action.do == "power_off"]
    assert len(off) == 20
    assert min(off) >= 240
    assert 250 < max(off) <= 270


def test_who_starts_later_does_nothing_before() -> None:
    late = [action for action in planned(read()) if action.to.startswith("late")]
    for number in range(1, 6):
        own = [action for action in late if action.to == f"late-{number}"]
        assert own[0].do == "power_on"
        assert 120 * SECOND <= own[0].at_ns <= 180 * SECOND
        assert all(action.do != "power_on" for action in own[1:])


def test_a_compressed_plan_is_the_same_plan_faster() -> None:
    """Not to the last draw: what falls beyond the end may differ by rounding."""
    scenario = msgspec.structs.replace(read(), compress=100.0)
    whole, compressed = list(planned(scenario)), list(planned(scenario.compressed()))
    assert [(action.to, action.do) for action in whole] == [(action.to, action.do) for action in compressed]
    for slow, fast in zip(whole, compressed, strict=True):
        assert fast.at_ns == pytest.approx(slow.at_ns / 100, abs=100_000)
        assert fast.values == slow.values


def test_a_week_of_a_thousand_devices_is_not_held_at_once() -> None:
    big = SCENARIO.replace("length: 10m", "length: 7d").replace("count: 20", "count: 1000")
    actions = planned(read(big.replace("share: 0.25", "share: 0.01")))
    next(actions)
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(actions, 50_000)) == 50_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@given(
    st.integers(1, 60),
    st.integers(1, 20).map(lambda n: n / 20),
    st.sampled_from(["kill", "power_cut", "slow", "pause"]),
)
def test_any_share_hits_somebody_and_not_twice(count: int, share: float, verb: str) -> None:
    scenario = read(
        f"""
name: test
nodes: {{centre: {{}}}}
populations: {{lamp: {{profile: lamp, at: centre, count: {count}}}}}
faults: [{{at: 1s, {verb}: lamp, lasts: 1s, share: {share}}}]
"""
    )
    hit = [action.to for action in planned(scenario, Random(share).getrandbits(32)) if action.do in ("fail", verb)]
    assert len(hit) == len(set(hit)) == max(1, round(share * count))
