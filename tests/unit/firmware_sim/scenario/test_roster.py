"""From populations to devices."""

from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.traits import Target
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.roster import Member, roster
from oriole import typed_yaml

SCENARIO = """
name: test
topics: town
nodes:
  centre: {}
  house: {kind: edge, uplink: centre}
  office: {kind: edge, uplink: centre}
profiles:
  bulb: {kind: lamp, hears: [news], padding: 7, qos: 2, every: 500ms, lifetime: 1500ms, session: 500ms, keep_alive: 0}
  heating: {kind: thermostat, reads: home/lamp-1/state}
  paper: {kind: herald, announces: news}
populations:
  lamp: {profile: bulb, at: house, count: 2}
  walker: {profile: watch, at: [house, office], count: 3, place: street, way: radio}
  stove: {profile: heating, at: house}
  phone: {profile: remote, at: centre, commands: [walker, lamp]}
  maker: {profile: updater, at: centre, commands: [lamp]}
  press: {profile: paper, at: centre}
"""


def members() -> dict[str, Member]:
    return {member.name: member for member in roster(typed_yaml.decode(SCENARIO, Scenario, "file.yaml"))}


def test_populations_become_devices_in_the_files_order() -> None:
    names = ["lamp-1", "lamp-2", "walker-1", "walker-2", "walker-3", "stove-1", "phone-1", "maker-1", "press-1"]
    assert list(members()) == names


def test_topics_are_below_that_of_the_scenario() -> None:
    all_of_them = members()
    assert all_of_them["lamp-2"].traits.topic == "town/home/lamp-2"
    assert all_of_them["lamp-2"].traits.hears == ("town/news",)
    assert all_of_them["stove-1"].traits.reads == "town/home/lamp-1/state"
    assert all_of_them["press-1"].traits.announces == "town/news"
    assert all_of_them["lamp-1"].traits.announces == ""


def test_who_commands_hears_those_commanded_once_per_place() -> None:
    phone = members()["phone-1"].traits
    assert phone.targets[0] == Target("town/street/walker-1", KINDS["watch"])
    assert [target.topic.rpartition("/")[2] for target in phone.targets] == [
        "walker-1", "walker-2", "walker-3", "lamp-1", "lamp-2",
    ]  # fmt: skip
    assert phone.hears == ("town/street/+/state", "town/home/+/state")
    assert members()["maker-1"].traits.hears == ("town/home/+/ask",)


def test_who_roams_starts_at_one_node_after_the_other() -> None:
    all_of_them = members()
    assert [all_of_them[f"walker-{number}"].nodes for number in (1, 2, 3)] == [
        ["house", "office"], ["office", "house"], ["house", "office"],
    ]  # fmt: skip
    assert all_of_them["lamp-1"].nodes == ["house"]
    assert (all_of_them["walker-1"].traits.way, all_of_them["lamp-1"].traits.way) == ("radio", "house")


def test_times_that_protocols_count_in_whole_seconds_are_not_cut_to_nothing() -> None:
    lamp = members()["lamp-1"]
    assert (lamp.traits.every_ns, lamp.traits.lifetime_s, lamp.session_s, lamp.keep_alive_s) == (500_000_000, 2, 1, 0)
    assert (lamp.traits.qos, lamp.traits.padding, lamp.mqtt_version) == (2, 7, 5)
