"""Scenario files: those that come along are sound, each mistake is named by key and line, and compression is fair."""

import contextlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.links.model import LinkModel
from firmware_sim.scenario.file import Scenario, load
from firmware_sim.scenario.population import Profile
from firmware_sim.scenario.schema import schema
from firmware_sim.scenario.values import Duration, plain
from oriole import typed_yaml
from oriole.typed_yaml import ConfigError

SHIPPED = sorted(Path(str(resources.files("firmware_sim") / "scenarios")).glob("*.yaml"))
DOCS = Path(__file__).parents[4] / "docs"

GOOD = """
name: test
length: 10m
nodes:
  centre: {data: true}
  house: {kind: edge, uplink: centre, link: dsl}
  office: {kind: edge, uplink: centre}
  old: {kind: foreign, addresses: ["mqtt://example.org", "serial:///dev/ttyS0"]}
links:
  dsl: {delay_ms: 40}
profiles:
  bulb: {kind: lamp, every: 20s}
populations:
  lamp: {profile: bulb, at: house, count: 3}
  walker: {profile: watch, at: [house, office]}
  relay: {profile: relay, at: house, count: 2}
  phone: {profile: remote, at: centre, link: dsl, commands: [lamp, relay]}
  maker: {profile: updater, at: centre, commands: [lamp]}
schedule:
  - {at: 5m, power_off: lamp}
  - {at: 6m, update: lamp}
  - {at: 7m, roam: walker}
faults:
  - {at: 1m, cut: dsl, lasts: 10s}
  - {every: 2m, kill: house, lasts: 5s}
  - {at: 3m, fill_disk: centre, lasts: 5s}
  - {at: 4m, noise: relay, lasts: 5s}
expectations:
  - {measure: lost, at_most: 0}
  - {measure: latency_p99_ms, way: centre -> house, at_most: 90}
"""


def read(text: str) -> Scenario:
    return typed_yaml.decode(text, Scenario, "file.yaml")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_comes_along_is_sound(file: Path) -> None:
    scenario = load(file)
    assert scenario.about
    scenario.compressed()


MISTAKES = [
    # keys and types
    ("name: test", "name: test\ncolour: red", r"line 3: unknown key `colour`; there are name, about, length"),
    ("kind: lamp,", "kind: lamp, colour: red,", r"line 12: unknown key `profiles\.bulb\.colour`"),
    ("delay_ms: 40", "delay: 40", r"line 10: unknown key `links\.dsl\.delay`; did you mean `delay_ms`\?"),
    ("name: test", "seed: 1", r"line 2: `name` is missing"),
    ("name: test", "name: 5", r"line 2: `name`: expected a text, got a whole number \(put it in quotes\)"),
    (
        "  lamp: {profile: bulb",
        "  Lamp: {profile: bulb",
        r"line 14: `populations\.Lamp`: expected a name of lower-case letters",
    ),
    ("length: 10m", "length: 10 m", r"line 3: `length`: `10 m` is no duration: write it like"),
    ("length: 10m", "length: true", r"line 3: `length`: expected a text or a number, got true or false"),
    ("length: 10m", "length: -5", r"line 3: `length`: a duration is not negative"),
    ("length: 10m", "length: .inf", r"line 3: `length`: a duration is not negative and at most a year: inf"),
    ("length: 10m", "length: [1]", r"line 3: `length`: expected .*got a list"),
    ("length: 10m", "length: 10m\ncompress: 0.5", r"line 4: `compress`: expected a number of at least 1"),
    ("length: 10m", "length: 10m\nlate_ms: .nan", r"line 4: `late_ms`: expected a number above 0"),
    ("name: test", "name: test\ntopics: a/#", r"line 3: `topics`: a topic name has no wildcards"),
    # nodes
    (
        "kind: edge, uplink: centre, link: dsl",
        "kind: cloud",
        r"line 6: `nodes\.house\.kind`: `cloud` is no choice; there are broker, edge, foreign",
    ),
    ("uplink: centre, link: dsl", "uplink: house", r"line 6: `nodes\.house\.uplink`: .*in a circle: house -> house"),
    ("uplink: centre}", "uplink: centre2}", r"line 7: `nodes\.office\.uplink`: no node `centre2`; there are centre,"),
    ("uplink: centre, link: dsl", "uplink: centre, link: adsl", r"line 6: `nodes\.house\.link`: no link `adsl`"),
    ("uplink: centre, link: dsl", "link: dsl", r"line 6: `nodes\.house`: `link` is the link to `uplink`"),
    ("{data: true}", "{uplink: house}", r"line 5: `nodes\.centre`: only an edge has an uplink"),
    ("{data: true}", "{addresses: ['mqtt://a']}", r"line 5: `nodes\.centre`: where a broker listens is chosen"),
    ("{data: true}", "{config: {listen: x}}", r"line 5: `nodes\.centre`: `config.listen` is decided"),
    (
        "{data: true}",
        "{config: {limits: {x: 1}}}",
        r"line 5: unknown key `nodes\.centre\.config\.limits\.x`; there are max_conn",
    ),
    ("{data: true}", "{config: {limits: 3}}", r"line 5: `nodes\.centre\.config\.limits`: expected a mapping, got"),
    ('addresses: ["mqtt://example.org", ', "addresses: [example, ", r"line 8: `nodes\.old`: `example`: no URL"),
    ('addresses: ["mqtt://example.org", "serial:///dev/ttyS0"]', "data: true", r"line 8: .*node needs `addresses`"),
    # profiles
    (
        "kind: lamp",
        "kind: lampe",
        r"line 12: `profiles\.bulb`: there is no kind `lampe`; there are lamp,.*; did you mean `lamp`\?",
    ),
    ("kind: lamp", "kind: lamp, over: serial", r"line 12: `profiles\.bulb`: a lamp speaks .*, not serial"),
    ("every: 20s", "every: 0", r"line 12: `profiles\.bulb`: `every` is at least 1 ms"),
    ("every: 20s", "qos: 3", r"line 12: `profiles\.bulb\.qos`: `3` is no choice; there are 0, 1, 2"),
    ("every: 20s", "radio: valve", r"line 12: `profiles\.bulb`: there is no radio `valve`; there are mains"),
    (
        "every: 20s",
        "radio: ble_nrf52840",
        r"line 12: .*there is no radio `ble_nrf52840`; .*did you mean `ble_nrf52832`\?",
    ),
    (
        "every: 20s",
        "over: mqt",
        r"line 12: `profiles\.bulb\.over`: `mqt` is no choice; there are coap, .*; did you mean `mqtt`",
    ),
    ("every: 20s", "hears: ['a/#/b']", r"line 12: `profiles\.bulb`: '#' is only allowed as the last level"),
    ("every: 20s", "reads: a/b", r"line 12: `profiles\.bulb`: a lamp cannot read over mqtt"),
    ("every: 20s", "mqtt: 3.1.1.1", r"line 12: `profiles\.bulb\.mqtt`: .*did you mean `3.1.1`\?"),
    ("kind: lamp", "kind: herald", r"line 12: `profiles\.bulb`: a herald needs `announces`"),
    ("kind: lamp", "kind: dashboard", r"line 12: `profiles\.bulb`: a dashboard needs `hears`"),
    ("kind: lamp", "kind: thermostat, hears: ['+']", r"line 12: .*on CoAP a device hears single topics"),
    # populations that cannot be
    (
        "profile: bulb, at: house",
        "profile: glow, at: house",
        r"line 14: .*no profile or kind `glow`; there are bulb, lamp,",
    ),
    ("profile: bulb, at: house", "profile: bulb, at: flat", r"line 14: `populations\.lamp\.at`: no node `flat`"),
    ("profile: bulb, at: house", "profile: bulb, at: []", r"line 14: `populations\.lamp`: `at` names no node"),
    ("relay, at: house", "relay, at: centre", r"line 16: `populations\.relay\.at`: `centre` is a broker: serial lines"),
    ("relay, at: house, count: 2", "relay, at: old, count: 2", r"line 16: .*count`: 2 devices need a serial line each"),
    ("relay, at: house", "relay, at: [house, office]", r"line 16: .*a device on a serial line cannot roam"),
    ("relay, at: house", "relay, at: house, link: dsl", r"line 16: .*link`: a serial line has no `link`"),
    ("relay, at: house", "relay, at: house, link: adsl", r"line 16: `populations\.relay\.link`: no link `adsl`"),
    ("profile: bulb, at: house", "profile: thermostat, at: old", r"line 14: .*`old` does not listen for coap://"),
    (
        "at: house, count: 3",
        "at: house, count: 0",
        r"line 14: `populations\.lamp\.count`: expected a whole number of at least 1",
    ),
    ("at: house, count: 3", "at: house, count: 2001", r"line 14: `populations`: more than 2000 devices.*`bulk`"),
    ("at: house, count: 3", "at: house, spread: 1s", r"line 14: `populations\.lamp`: `spread` needs `starts`"),
    (
        "at: house, count: 3",
        "at: house, starts: 11m",
        r"line 14: .*starts`: .*after the scenario's end: `length` is 10m",
    ),
    ("at: house, count: 3", "at: house, place: a//b", r"line 14: `populations\.lamp`: an empty topic level"),
    ("at: house, count: 3", "at: house, commands: [relay]", r"line 14: .*commands`: a lamp gives no orders"),
    ("relay, at: house", "relay, at: house, bulk: true", r"line 16: .*bulk`: the load generator speaks MQTT alone"),
    ("commands: [lamp, relay]", "commands: [lamp, lock]", r"line 17: .*commands`: no population `lock`"),
    ("commands: [lamp, relay]", "commands: [maker]", r"line 17: .*commands\[0\]`: `maker` takes no orders"),
    (", commands: [lamp, relay]", "", r"line 17: `populations\.phone`: a remote needs `commands`"),
    ("  lamp: {profile: bulb", "  house: {profile: bulb", r"line 14: `populations\.house`: a node is called the same"),
    # what happens
    ("at: 5m", "at: 11m", r"line 20: `schedule\[0\]\.at`: 11m is after the scenario's end: `length` is 10m"),
    ("power_off: lamp", "power_off: lamb", r"line 20: `schedule\[0\]\.power_off`: no population `lamb`"),
    ("power_off: lamp", "power_off: lamp, roam: walker", r"line 20: `schedule\[0\]`: an event has exactly one of"),
    ("power_off: lamp", "spread: 1s", r"line 20: `schedule\[0\]`: an event has exactly one of"),
    ("update: lamp", "update: relay", r"line 21: .*no updater has `relay` among its `commands`"),
    ("roam: walker", "roam: lamp", r"line 22: `schedule\[2\]\.roam`: `lamp` has only one node"),
    ("cut: dsl", "cut: adsl", r"line 24: `faults\[0\]\.cut`: no link `adsl`; there are dsl; did you mean `dsl`\?"),
    ("cut: dsl", "cutt: dsl", r"line 24: unknown key `faults\[0\]\.cutt`; did you mean `cut`\?"),
    ("cut: dsl", "cut: dsl, kill: house", r"line 24: `faults\[0\]`: a fault has exactly one of"),
    ("cut: dsl, lasts: 10s", "lasts: 10s", r"line 24: `faults\[0\]`: a fault has exactly one of"),
    ("at: 1m, cut: dsl", "cut: dsl", r"line 24: `faults\[0\]`: a fault has either `at` or `every`"),
    ("at: 1m, cut: dsl", "at: 1m, every: 1m, cut: dsl", r"line 24: `faults\[0\]`: a fault has either `at` or `every`"),
    ("at: 1m, cut: dsl", "at: 11m, cut: dsl", r"line 24: `faults\[0\]\.at`: 11m is after the scenario's end"),
    ("cut: dsl, lasts", "change: dsl, lasts", r"line 24: `faults\[0\]`: `change` and `to` go together"),
    ("cut: dsl, lasts", "cut: dsl, to: {loss: 0.1}, lasts", r"line 24: .*`change` and `to` go together"),
    ("every: 2m", "every: 0s", r"line 25: `faults\[1\]`: `every` is longer than nothing"),
    ("every: 2m", "every: 1e-10", r"line 25: "),
    ("kill: house, lasts: 5s", "pause: house", r"line 25: `faults\[1\]`: `pause` needs `lasts`"),
    ("kill: house", "kill: old", r"line 25: `faults\[1\]\.kill`: `old` is foreign: it is not ours to harm"),
    ("kill: house", "kill: dsl", r"line 25: `faults\[1\]\.kill`: no node or population `dsl`"),
    ("fill_disk: centre", "fill_disk: house", r"line 26: .*`house` has no data folder: it needs `data: true`"),
    ("fill_disk: centre", "fill_disk: lamp", r"line 26: `faults\[2\]\.fill_disk`: no node `lamp`"),
    ("fill_disk: centre", "jump_clock: centre", r"line 26: `faults\[2\]`: `jump_clock` and `by`, .* go together"),
    (
        "fill_disk: centre",
        "jump_clock: centre, by: .nan",
        r"line 26: `faults\[2\]\.by`: expected a number of at least -1",
    ),
    (
        "fill_disk: centre",
        "jump_clock: centre, by: .inf",
        r"line 26: `faults\[2\]\.by`: expected a number of at most 1",
    ),
    ("noise: relay", "noise: lamp", r"line 27: `faults\[3\]\.noise`: `lamp` has no serial lines"),
    ("noise: relay", "noise: relay, share: 1.5", r"line 27: `faults\[3\]\.share`: expected a number of at most 1"),
    ("noise: relay", "noise: relay, share: 0", r"line 27: `faults\[3\]\.share`: expected a number above 0"),
    # expectations
    ("measure: lost, at_most: 0", "measure: lost", r"line 29: `expectations\[0\]`: an expectation has `at_most`"),
    (
        "measure: lost, at_most: 0",
        "measure: lots, at_most: 0",
        r"line 29: .*measure`: `lots` is no choice; there are .*; did you mean `lost`\?",
    ),
    ("at_most: 0}", "at_most: 0, at_least: 1}", r"line 29: .*`at_most` is below `at_least`: nothing could be both"),
    ("at_most: 0}", "at_most: .nan}", r"line 29: `expectations\[0\]`: a bound is a number"),
    ("at_most: 0}", "at_most: 0, population: locks}", r"line 29: .*population`: no population `locks`"),
    ("at_most: 0}", "at_most: 0, of: sate}", r"line 29: `expectations\[0\]\.of`: no class of messages `sate`; .*state"),
    ("way: centre -> house", "way: centre -> flat", r"line 30: `expectations\[1\]\.way`: no connection `flat`"),
    ("way: centre -> house", "way: centre", r"line 30: `expectations\[1\]\.way`: a way is written"),
    *(
        (
            "measure: lost, at_most: 0",
            f"measure: {measure}, at_most: 0, {key}: {value}",
            rf"line 29: `expectations\[0\]\.{key}`: {measure} knows no `{key}`: that is for {those}$",
        )
        for measure, key, value, those in (
            ("out_of_order", "way", "centre -> house", r"lost, lost_qos0, .*, recovery_ms, link_bytes_per_byte"),
            ("confirmed_share", "of", "order", r"lost, lost_qos0, .*, recovery_ms"),
            ("updated_share", "population", "lamp", r"lost, lost_qos0, .*, recovery_ms, battery_days"),
            ("round_trip_p99_ms", "population", "lamp", r"lost, lost_qos0, .*, recovery_ms, battery_days"),
            ("battery_days", "of", "state", r"lost, lost_qos0, .*, recovery_ms"),
            ("link_bytes_per_byte", "of", "state", r"lost, lost_qos0, .*, recovery_ms"),
        )
    ),
    (
        "measure: lost, at_most: 0",
        "measure: battery_days, at_least: 9, population: lamp",
        r"line 29: `expectations\[0\]\.population`: `lamp` has no battery: it needs `radio` and `battery_mwh`",
    ),
    (
        "measure: lost, at_most: 0",
        "measure: link_bytes_per_byte, at_most: 9, way: office",
        r"line 29: `expectations\[0\]\.way`: no connection over links `office`; there are house, centre",
    ),
]


@pytest.mark.parametrize(("change", "to", "message"), MISTAKES)
def test_a_mistake_is_named_by_key_and_line(change: str, to: str, message: str) -> None:
    read(GOOD)
    assert GOOD.count(change) == 1
    with pytest.raises(ConfigError, match=f"^file.yaml, {message}"):
        read(GOOD.replace(change, to))


def test_of_several_mistakes_the_first_is_named_where_it_is() -> None:
    text = GOOD.replace("  bulb: {kind: lamp", "  good: {kind: lamp}\n  bulb: {kind: lampe")
    with pytest.raises(ConfigError, match=r"line 13: `profiles\.bulb`: there is no kind `lampe`"):
        read(text.replace("count: 3", "count: -3").replace("measure: lost,", "measure: lots,"))


def test_a_circle_of_uplinks_is_drawn() -> None:
    circle = GOOD.replace("{data: true}", "{kind: edge, uplink: office, data: true}")
    with pytest.raises(ConfigError, match=r"the uplinks lead in a circle: centre -> office -> centre"):
        read(circle)


KEYS = st.sampled_from(
    [
        "name", "nodes", "links", "profiles", "populations", "schedule", "faults", "expectations", "length", "compress",
        "kind", "uplink", "link", "at", "count", "profile", "every", "lasts", "cut", "kill", "to", "loss", "up", "way",
        "measure", "at_most", "commands", "config", "limits", "centre", "lamp", "watch", "remote", "dsl", "by", "share",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | KEYS | st.just("5s"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(st.text(max_size=60) | VALUES.map(yaml.safe_dump))
def test_no_text_makes_it_stumble(text: str) -> None:
    with contextlib.suppress(ConfigError):
        read(text)


@given(st.sampled_from(GOOD.split("\n")), VALUES)
def test_no_value_makes_it_stumble(line: str, value: object) -> None:
    """A line's key with another value."""
    key, colon, _ = line.partition(":")
    if colon and not key.lstrip().startswith("-"):
        rest = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
        with contextlib.suppress(ConfigError):
            read(GOOD.replace(line, f"{key}: {rest}"))


def durations(part: object) -> dict[str, Duration]:
    """Every duration in a scenario, by its place."""
    match part:
        case msgspec.Struct():
            return durations({field: getattr(part, field) for field in part.__struct_fields__})
        case dict():
            return {f"{key}.{place}": each for key, value in part.items() for place, each in durations(value).items()}
        case list():
            return durations(dict(enumerate(part)))
        case Duration():
            return {"": part}
    return {}


def test_compression_divides_every_duration_but_those_of_the_run_itself() -> None:
    scenario = read(GOOD.replace("name: test", "name: test\ncompress: 50\nseed: 3"))
    whole, compressed = durations(scenario), durations(scenario.compressed())
    kept = {"ready.", "settle.", "drain."}
    added = {place for place in compressed if place.startswith(("profiles.watch", "profiles.relay"))}
    added |= {place for place in compressed if place.startswith(("profiles.remote", "profiles.updater"))}
    assert compressed.keys() - added == whole.keys(), "profiles by default are written out, so that they can be divided"
    for place, duration in whole.items():
        assert compressed[place] == (duration if place in kept else duration / 50), place
    assert compressed["profiles.watch.keep_alive."] == Profile(kind="watch").keep_alive / 50


def test_compression_leaves_everything_else() -> None:
    scenario = read(GOOD.replace("name: test", "name: test\ncompress: 50"))
    compressed = scenario.compressed()
    assert compressed.links == {"dsl": LinkModel(delay_ms=40)}
    assert compressed.nodes == scenario.nodes
    assert compressed.expectations == scenario.expectations
    assert compressed.late_ms == scenario.late_ms
    assert read(GOOD).compressed() == read(GOOD)


def test_what_gets_too_short_by_compression_is_refused() -> None:
    too_much = msgspec.structs.replace(read(GOOD), compress=100_000.0)
    with pytest.raises(ConfigError, match=r"compressed by 100000: `every` is at least 1 ms"):
        too_much.compressed()


def test_a_scenario_can_be_written_and_read_again() -> None:
    scenario = read(GOOD)
    assert typed_yaml.convert(json.loads(json.dumps(plain(scenario))), Scenario) == scenario


def test_ways_and_carriers() -> None:
    scenario = read(GOOD.replace("profile: bulb, at: house", "profile: bulb, at: house, way: light"))
    assert scenario.way("lamp") == "light"
    assert scenario.carriers() == {"light": ["dsl"], "house": ["dsl"], "centre": ["dsl"]}


# ---- The JSON Schema


def validate(scenario: Any) -> None:
    jsonschema.validate(scenario, schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_comes_along_keeps_to_the_schema(file: Path) -> None:
    validate(yaml.safe_load(file.read_text()))


def test_the_schema_is_sound_and_knows_every_key() -> None:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    validate(yaml.safe_load(GOOD))
    for name, definition in made["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key} has no sentence"


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("name: test", "name: test\ncolour: red"),
        ("kind: lamp", "kind: lampe"),
        ("at: 1m", "at: 1 m"),
        ("at: 1m", "at: -1"),
        ("delay_ms: 40", "delay_ms: -1"),
        ("measure: lost", "measure: lots"),
        ("  lamp: {profile: bulb", "  Lamp: {profile: bulb"),
    ],
)
def test_an_editor_sees_mistakes_by_the_schema(change: str, to: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(yaml.safe_load(GOOD.replace(change, to)))


def test_the_schema_in_docs_is_the_one_that_is_made() -> None:
    assert json.loads((DOCS / "scenario.schema.json").read_text()) == schema(), "`make docs` writes it anew"
