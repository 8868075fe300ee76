"""Scenario files: those that come along are sound, and each mistake is named by key and line."""

from importlib import resources
from pathlib import Path

import pytest

from firmware_sim.devices.device import Target
from firmware_sim.devices.kinds import KINDS
from firmware_sim.fleet.expand import expand
from firmware_sim.fleet.program import replace
from firmware_sim.fleet.scenario import Scenario, load
from oriole import typed_yaml
from oriole.typed_yaml import ConfigError

SHIPPED = sorted(Path(str(resources.files("firmware_sim") / "scenarios")).glob("*.yaml"))

GOOD = """
name: test
addresses:
  broker: mqtt://127.0.0.1:1883
  coap: coap://127.0.0.1
  lines: [serial:///dev/pts/1, serial:///dev/pts/2]
links:
  dsl: {delay_ms: 40}
populations:
  lamp: {kind: lamp, address: broker, link: dsl, count: 3}
  relay: {kind: relay, address: lines, count: 2}
  phone: {kind: remote, address: broker, commands: [lamp, relay]}
schedule:
  - {at_s: 10, cut: dsl}
  - {at_s: 20, heal: dsl}
"""


def read(text: str) -> Scenario:
    return typed_yaml.decode(text, Scenario, "file.yaml")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_comes_along_is_sound(file: Path) -> None:
    scenario = load(file)
    assert scenario.about
    names = [plan.traits.name for plan in expand(scenario, 1)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("kind: lamp", "kind: lampe", r"line 10: `populations\.lamp`: there is no kind `lampe`"),
        ("kind: lamp,", "kind: lamp, colour: red,", r"line 10: unknown key `populations\.lamp\.colour`"),
        ("kind: lamp, address: broker", "kind: lamp, address: coap", r"line 10: .*a lamp speaks mqtt://, not coap://"),
        ("kind: lamp, address: broker", "kind: lamp, address: brocker", r"line 10: .*no address `brocker`; there are"),
        ("link: dsl", "link: adsl", r"line 10: `populations\.lamp\.link`: no link `adsl`; there are dsl"),
        ("address: lines, count: 2", "address: lines, count: 3", r"line 11: .*3 devices need a serial line each"),
        ("address: lines, count: 2", "address: lines, link: dsl", r"line 11: .*not a serial line"),
        ("[lamp, relay]", "[lamp, relais]", r"line 12: `populations\.phone\.commands\[1\]`: no population `relais`"),
        ("[lamp, relay]", "[phone]", r"line 12: .*`phone` takes no orders"),
        ("commands: [lamp, relay]", "qos: 1", r"line 12: .*a remote needs `commands`"),
        ("lamp, address: broker", "thermostat, address: coap, hears: [+]", r"line 10: .*CoAP has no wildcards"),
        ("cut: dsl", "cut: adsl", r"line 14: `schedule\[0\]`: no link `adsl`"),
        ("cut: dsl", "cut: dsl, heal: dsl", r"line 14: .*either `cut` or `heal`"),
        ("delay_ms: 40", "delay_ms: -40", r"line 8: .*cannot be negative"),
        ("delay_ms: 40", "delay_ms: .inf", r"line 8: .*at most 3600000 ms"),
        ("delay_ms: 40", "delay_ms: .nan", r"line 8: .*at most 3600000 ms"),
        ("at_s: 20", "at_s: 80", r"line 15: `schedule\[1\]\.at_s`: 80 s is after .*`seconds` is 60"),
        ("kind: lamp,", "kind: lamp, every_s: 0,", r"line 10: `populations\.lamp\.every_s`: .*>= 0\.001"),
        ("kind: lamp,", "kind: lamp, every_s: 0.0001,", r"line 10: .*every_s`: .*>= 0\.001"),
        ("kind: lamp,", "kind: lamp, every_s: .nan,", r"line 10: .*every_s`: .*>= 0\.001"),
        ("kind: lamp,", "kind: lamp, every_s: .inf,", r"line 10: .*every_s`: .*<= 86400"),
        ("name: test", "name: test\nseconds: 0", r"line 3: `seconds`: .*> 0"),
        ("kind: lamp,", "kind: lamp, place: a//b,", r"line 10: `populations\.lamp`: an empty topic level"),
        ("name: test", "name: test\ntopics: a/#", r"line 3: `topics`: a topic name has no wildcards"),
        ("count: 3", "count: 3000", r"line 10: .*<= 2000"),
        ("broker: mqtt://127.0.0.1:1883", "broker: mqtt://", r"line 4: `addresses\.broker`"),
    ],
)
def test_a_mistake_is_named_by_key_and_line(change: str, to: str, message: str) -> None:
    read(GOOD)
    assert GOOD.count(change) == 1
    with pytest.raises(ConfigError, match=message):
        read(GOOD.replace(change, to))


def test_populations_become_devices() -> None:
    plans = {plan.traits.name: plan for plan in expand(read(GOOD), seed=7)}
    assert list(plans) == ["lamp-1", "lamp-2", "lamp-3", "relay-1", "relay-2", "phone-1"]
    assert str(plans["relay-2"].address).startswith("serial:///dev/pts/2")
    phone = plans["phone-1"].traits
    assert phone.targets[0] == Target("fleet/home/lamp-1/set", KINDS["lamp"])
    assert len(phone.targets) == 5
    assert phone.hears == ("fleet/home/+/state",), "one filter for all confirmations of a place"
    assert phone.way == "broker"


def test_another_length_squeezes_the_schedule() -> None:
    scenario = replace(read(GOOD), seconds=6)
    assert [event.at_s for event in scenario.schedule] == [1.0, 2.0]


def test_an_event_at_the_very_end_stays_in_time() -> None:
    ending = read(GOOD.replace("at_s: 20", "at_s: 60"))
    for seconds in (0.1, 7, 49, 1e-3):
        assert replace(ending, seconds=seconds).schedule[-1].at_s == pytest.approx(seconds)


def test_another_address_is_checked_like_the_files() -> None:
    assert replace(read(GOOD), addresses={"broker": "mqtt://example.org"}).urls("broker") == ["mqtt://example.org"]
    with pytest.raises(ConfigError, match="only broker, coap, lines"):
        replace(read(GOOD), addresses={"brocker": "mqtt://example.org"})
    with pytest.raises(ConfigError, match=r"`populations\.lamp\.address`: a lamp speaks mqtt://"):
        replace(read(GOOD), addresses={"broker": "coap://example.org"})
