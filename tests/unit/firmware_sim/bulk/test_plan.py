"""What bulk devices do by themselves: the same in every run, and what the same devices would do in a fleet."""

from itertools import islice, pairwise

import pytest

from firmware_sim.bulk.config import BulkConfig, Group, TargetOf
from firmware_sim.bulk.plan import Step, planned
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import plan
from firmware_sim.scenario.roster import roster
from oriole.typed_yaml import convert

HERE = [("127.0.0.1", 1883)]


def config(seed: int = 1, **changes: object) -> BulkConfig:
    meters = {"name": "meter", "kind": "meter", "count": 3, "place": "f/home", "addresses": HERE, "every_ns": 10**9}
    remote = Group(
        name="phone",
        kind="remote",
        count=1,
        place="f/home",
        addresses=HERE,
        every_ns=7 * 10**8,
        targets=[TargetOf(f"f/home/meter-{number}", "meter") for number in (1, 2, 3)],
    )
    return BulkConfig(run="r", seed=seed, groups=[Group(**{**meters, **changes}), remote])  # type: ignore[arg-type]


def first(steps: int, of: BulkConfig) -> list[Step]:
    return list(islice(planned(of), steps))


def test_one_seed_plans_one_life_and_another_a_different_one() -> None:
    assert first(300, config()) == first(300, config())
    assert first(300, config()) != first(300, config(seed=2))


def test_the_steps_are_in_order_and_of_everybody() -> None:
    steps = first(300, config())
    assert all(one[0] <= other[0] for one, other in pairwise(steps))
    assert {name for _, name, _, _ in steps} == {"meter-1", "meter-2", "meter-3", "phone-1"}


def test_a_device_plans_the_same_whoever_else_is_there() -> None:
    alone = [step for step in first(300, config()) if step[1] == "meter-2"]
    among_many = [step for step in first(3000, config(count=30)) if step[1] == "meter-2"]
    assert len(among_many) > 20
    assert alone[: len(among_many)] == among_many[: len(alone)]


def test_those_that_come_later_are_switched_on_within_the_time_given() -> None:
    steps = first(300, config(starts_ns=5 * 10**9, spread_ns=10**9))
    on = {name: at_ns for at_ns, name, verb, _ in steps if verb == "power_on"}
    assert on.keys() == {"meter-1", "meter-2", "meter-3"}
    assert all(5 * 10**9 <= at_ns <= 6 * 10**9 for at_ns in on.values())
    assert len(set(on.values())) == 3
    assert all(at_ns >= on[name] for at_ns, name, _, _ in steps if name in on)


def test_it_is_the_plan_of_a_fleet() -> None:
    scenario = convert(
        {
            "name": "x",
            "topics": "f",
            "length": "20s",
            "nodes": {"centre": {"kind": "broker"}},
            "profiles": {"meter": {"kind": "meter", "every": "1s"}, "remote": {"kind": "remote", "every": "700ms"}},
            "populations": {
                "meter": {"profile": "meter", "at": "centre", "count": 3, "starts": "5s", "spread": "1s"},
                "phone": {"profile": "remote", "at": "centre", "commands": ["meter"]},
            },
        },
        Scenario,
    )
    actions = [(each.at_ns, each.to, each.do, each.values) for each in plan(scenario, roster(scenario), 9)]
    assert first(len(actions), config(9, starts_ns=5 * 10**9, spread_ns=10**9)) == actions


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "teapot"}, "no kind `teapot` speaks MQTT"),
        ({"kind": "relay"}, "no kind `relay` speaks MQTT"),
        ({"kind": "remote"}, "needs `targets`"),
        ({"addresses": []}, "no address"),
        ({"targets": [TargetOf("a", "teapot")]}, "no kind `teapot`"),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        config(**changes)
