"""Fleets in virtual time: the very engines, every protocol and fault, one trace for one seed, and books that add up."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from integration.fleets import lines, play

from broker.core.message import Message
from broker.core.router import Router
from broker.mqtt.forms import MqttForm
from broker.mqtt.session import Session
from firmware_sim.fleet.program import Wishes, replay
from firmware_sim.report.result import Result

HOUSE = """
name: house
length: 60s
settle: 1s
drain: 30s
nodes:
  centre: {}
  house: {kind: edge, uplink: centre, link: dsl}
  office: {kind: edge, uplink: centre}
links:
  dsl: {delay_ms: 20, jitter_ms: 5, loss: 0.005}
  air: {delay_ms: 10, loss: 0.01}
profiles:
  bulb: {kind: lamp, every: 7s, hears: [news], keep_alive: 5s}
  wrist: {kind: watch, every: 9s, awake: 2s}
  heating: {kind: thermostat, every: 8s, reads: home/lamp-1/state}
  desk: {kind: remote, every: 1s, qos: 2}
  paper: {kind: herald, every: 4s, announces: news, qos: 1, mqtt: "3.1.1"}
populations:
  lamp: {profile: bulb, at: house, count: 3, link: air}
  walker: {profile: bulb, at: [house, office]}
  watch: {profile: wrist, at: office}
  thermostat: {profile: heating, at: house, count: 2, link: air}
  relay: {profile: relay, at: house}
  phone: {profile: desk, at: centre, commands: [lamp, walker, watch, thermostat, relay]}
  press: {profile: paper, at: office}
"""
TROUBLE = """
schedule:
  - {at: 40s, roam: walker}
faults:
  - {at: 5s, cut: dsl, lasts: 5s}
  - {at: 15s, kill: house, lasts: 3s}
  - {at: 25s, readdress: air}
  - {at: 30s, power_cut: lamp, share: 0.5, keeps_state: false, lasts: 4s}
  - {at: 35s, kill: centre, lasts: 2s}
  - {at: 45s, noise: relay, bytes_damaged: 0.02, lasts: 4s}
  - {at: 50s, pause: centre, lasts: 3s}
  - {every: 20s, unplug: relay, lasts: 2s}
"""


def of_links_and_messages(trace: Path) -> list[bytes]:
    return [line for line in trace.read_bytes().splitlines()[1:] if b'"plan"' not in line]


# ---- Traces


def test_one_seed_one_trace_byte_for_byte_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("first", 5), ("second", 5), ("third", 6)):
        play(HOUSE + TROUBLE, seed=seed, trace=tmp_path / name)
    first, second, third = ((tmp_path / name).read_bytes() for name in ("first", "second", "third"))
    assert first == second
    assert of_links_and_messages(tmp_path / "first") != of_links_and_messages(tmp_path / "third")
    assert first.count(b"\n") > 500
    assert {"lost", "cut"} & {line["fate"] for line in lines(tmp_path / "first", "fate")}
    assert third.startswith(b'{"oriole_trace":1,')


def test_the_hash_seed_makes_no_difference(tmp_path: Path) -> None:
    file = tmp_path / "house.yaml"
    file.write_text(HOUSE + TROUBLE)
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "oriole", "fleet", "run", file, "--virtual", "--trace", tmp_path / hash_seed]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_trace_is_played_back(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    play(HOUSE + TROUBLE, seed=5, trace=first)
    assert replay(first, Wishes(virtual=True, quiet=True, trace_file=again)) == 0
    assert lines(first, "plan") == lines(again, "plan")
    assert of_links_and_messages(first) == of_links_and_messages(again)


def test_a_trace_that_was_changed_is_played_back_as_it_is_now(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    play(HOUSE, seed=5, trace=first)
    kept = [line for line in first.read_bytes().splitlines() if b'"phone-1","do":"order"' not in line]
    first.write_bytes(b"\n".join(kept) + b"\n")
    assert replay(first, Wishes(virtual=True, quiet=True, trace_file=again)) == 0
    assert lines(first, "plan") == lines(again, "plan")
    assert not [line for line in lines(again, "topic") if str(line["topic"]).endswith("/set")]


# ---- Each client, each fault


def check(result: Result, *, delivered: float = 0.0) -> None:
    """Nothing is lost or doubled, the books add up, and enough arrived."""
    total = result.accounts.total
    assert result.accounts.is_clean, result.accounts.faults
    assert total.due > 20
    assert total.delivered >= delivered * total.due, result.accounts.reasons


def test_without_trouble_everything_arrives() -> None:
    _, result = play(HOUSE.replace("loss: 0.0", "loss: 0.0000"))
    check(result, delivered=1)
    assert result.accounts.orders == result.accounts.orders_confirmed > 50
    assert result.answers_without_value == 0
    assert len(result.answers) == 1
    assert result.accounts.out_of_order == 0
    assert result.lag.count == 0
    assert result.usage == {}
    assert result.run.virtual


def test_with_all_trouble_at_once_everything_is_accounted_for() -> None:
    for seed in range(3):
        _, result = play(HOUSE + TROUBLE, seed=seed)
        check(result, delivered=0.8)
        assert result.incidents["kill"] == 2
        assert {
            "cut",
            "heal",
            "readdress",
            "power_cut",
            "pause",
            "go_on",
            "noise",
            "calm",
            "unplug",
            "plug",
            "roam",
        } <= {*result.incidents}


PAIR = """
name: pair
length: 60s
settle: 200ms
drain: 60s
nodes: {{centre: {{}}, edge: {{kind: edge, uplink: centre}}}}
links: {{line: {{delay_ms: 10}}}}
profiles:
  device: {{{device}}}
  desk: {{kind: remote, every: 1s{desk}}}
populations:
  device: {{profile: device, at: {at}}}
  phone: {{profile: desk, at: centre, commands: [device]}}
faults:
  - {{{fault}}}
"""


def pair(device: str, fault: str, at: str = "centre, link: line", desk: str = "", seed: int = 1) -> Result:
    _, result = play(PAIR.format(device=device, fault=fault, at=at, desk=desk), seed=seed)
    return result


MQTT = [f'kind: lamp, keep_alive: 5s, qos: {qos}, mqtt: "{mqtt}"' for qos in (1, 2) for mqtt in ("5", "3.1.1")]
COAP, SERIAL = "kind: thermostat", "kind: relay"
SILENCES = (
    "at: 20s, cut: line, lasts: 5s",
    "at: 20s, cut: line, lasts: 25s",
    "at: 20s, readdress: line",
    "at: 20s, change: line, lasts: 10s, to: {delay_ms: 300, loss: 0.3}",
    "at: 20s, slow: device, lasts: 10s",
    "at: 20s, pause: device, lasts: 10s",
    "at: 20s, kill: device, lasts: 5s",
    "at: 20s, power_cut: device, lasts: 5s",
)


@pytest.mark.parametrize("fault", SILENCES)
@pytest.mark.parametrize("device", MQTT)
def test_a_session_of_mqtt_outlives_everything(device: str, fault: str) -> None:
    result = pair(device, fault)
    check(result, delivered=1)
    assert result.accounts.total.after_sleep or "change" in fault or "slow" in fault or "pause" in fault or (
        "lasts: 5s" in fault and "cut: line" in fault
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["kill", "power_cut"])
def test_a_device_that_forgets_its_session_subscribes_anew(verb: str) -> None:
    result = pair("kind: lamp", f"at: 20s, {verb}: device, lasts: 5s, keeps_state: false")
    check(result, delivered=0.8)
    total = result.accounts.total
    assert total.delivered + total.dropped == total.due
    assert set(result.accounts.reasons) <= {"dropped: session ended", "dropped: its session had been lost"}


@pytest.mark.parametrize("fault", SILENCES)
def test_an_observer_of_coap_has_the_newest_in_the_end(fault: str) -> None:
    result = pair(COAP, fault)
    check(result, delivered=0.5)
    assert result.accounts.total.delivered < result.accounts.total.due or "slow" in fault or "pause" in fault or (
        "change" in fault
    )  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        "at: 20s, unplug: device, lasts: 10s",
        "at: 20s, noise: device, lasts: 10s, bytes_damaged: 0.02",
        "at: 20s, slow: device, lasts: 10s",
        "at: 20s, pause: device, lasts: 10s",
        "at: 20s, kill: device, lasts: 5s",
        "at: 20s, power_cut: device, lasts: 5s, keeps_state: false",
    ],
)
def test_a_serial_line_resumes(fault: str) -> None:
    check(pair(SERIAL, fault, at="edge"), delivered=0.9)


@pytest.mark.parametrize("verb", ["kill", "power_cut"])
@pytest.mark.parametrize(("device", "at"), [(MQTT[0], "edge"), (COAP, "edge"), (SERIAL, "edge"), (MQTT[2], "centre")])
@pytest.mark.parametrize("node", ["centre", "edge"])
def test_a_node_comes_back_without_its_memory_and_everybody_finds_it(
    verb: str, device: str, at: str, node: str
) -> None:
    fleet, result = play(
        PAIR.format(device=device, fault=f"at: 20s, {verb}: {node}, lasts: 3s", at=at, desk=", keep_alive: 5s")
    )
    check(result, delivered=0.5)
    last_ns = max(copies.first_ns for copies in fleet.ledger.copies.values())
    assert last_ns > fleet.began_ns + 55e9, "it goes on afterwards"


def test_a_paused_node_lives_on_later() -> None:
    fleet, result = play(PAIR.format(device=MQTT[0], fault="at: 20s, pause: centre, lasts: 5s", at="edge", desk=""))
    check(result, delivered=1)
    during = [
        copies.first_ns for copies in fleet.ledger.copies.values() if 20e9 < copies.first_ns - fleet.began_ns < 25e9
    ]
    assert not during, "time stood still for it"
    assert result.accounts.total.late > 3


@pytest.mark.parametrize(
    ("verb", "length", "wills"), [("kill", 25, 1), ("power_cut", 21, 0), ("power_cut", 30, 1), ("power_off", 30, 0)]
)
def test_the_will_of_a_device_is_heard_when_its_keep_alive_is_over(verb: str, length: int, wills: int) -> None:
    text = f"""
name: will
length: {length}s
drain: 0
nodes: {{centre: {{}}}}
links: {{line: {{delay_ms: 10}}}}
profiles: {{brief: {{kind: lamp, keep_alive: 4s}}, ear: {{kind: lamp, hears: [home/lamp-1/online]}}}}
populations: {{lamp: {{profile: brief, at: centre, link: line}}, ear: {{profile: ear, at: centre}}}}
{"schedule" if verb == "power_off" else "faults"}: [{{at: 20s, {verb}: lamp}}]
"""
    fleet, result = play(text)
    assert result.accounts.is_clean
    assert fleet.ledger.foreign == wills, "it has no identity: nobody published it"


# ---- Every end


ENDS: list[tuple[str, str, str, str]] = [
    # what, the end, device, scenario's faults
    ("expired", "expired: at centre", "kind: lamp", "at: 20s, kill: device, lasts: 30s"),
    ("queued", "queued: at centre", "kind: lamp", "at: 20s, kill: device"),
    ("dropped", "dropped: session ended", "kind: lamp, session: 2s", "at: 20s, kill: device, lasts: 10s"),
    ("dropped", "dropped: offline", "kind: lamp, qos: 0", "at: 20s, kill: device, lasts: 10s"),
    ("dropped", "dropped: centre was killed", "kind: lamp", "at: 20s, slow: device, lasts: 20s"),
    ("replaced", "replaced: by a newer state", "kind: thermostat", "at: 20s, cut: line, lasts: 10s"),
]


@pytest.mark.parametrize(("end", "reason", "device", "fault"), ENDS)
def test_every_end_is_seen(end: str, reason: str, device: str, fault: str) -> None:
    desk = ", lifetime: 5s" if end == "expired" else ""
    text = PAIR.format(device=device, fault=fault, at="centre, link: line", desk=desk)
    if "was killed" in reason:
        text += "  - {at: 30s, kill: centre, lasts: 1s}\n  - {at: 15s, kill: device, lasts: 18s}\n"
    _, result = play(text.replace("drain: 60s", "drain: 5s"))
    check(result)
    assert result.accounts.reasons.get(reason, 0) > 1, result.accounts.reasons
    assert getattr(result.accounts.total, end) >= result.accounts.reasons[reason]


def test_what_a_full_queue_refuses_is_accounted_for() -> None:
    limited = PAIR.format(device="kind: lamp", fault="at: 5s, kill: device", at="centre", desk="")
    _, result = play(limited.replace("{centre: {}", "{centre: {config: {limits: {max_queue_messages: 10}}}"))
    check(result)
    assert result.accounts.total.refused + result.accounts.total.dropped > 10, result.accounts.reasons


# ---- What is taken away by force is lost


def forget(monkeypatch: pytest.MonkeyPatch, random: Random, share: float, lie: bool) -> list[tuple[str, bytes, str]]:
    """Have nodes owe messages and then forget them, without a word or with a lie."""
    deliver = MqttForm.deliver
    taken: list[tuple[str, bytes, str]] = []

    def tampered(self: MqttForm, message: Message, sinks: Sequence[Session], now: int) -> None:
        left = []
        for session in sinks:
            if message.topic.startswith(b"fleet") and not message.replayed and random.random() < share:
                taken.append((message.topic.decode(), bytes(message.payload), session.label))
                if lie and min(message.qos, self.qos):
                    session.settlement.acknowledge(message, session, now)
                elif lie:
                    session.settlement.send(message, [session], now)
            else:
                left.append(session)
        if left:
            deliver(self, message, left, now)

    def one_by_one(self: MqttForm, messages: Sequence[Message], sinks: Sequence[Session], now: int) -> None:
        for message in messages:
            self.deliver(message, sinks, now)

    monkeypatch.setattr(MqttForm, "deliver", tampered)
    monkeypatch.setattr(MqttForm, "deliver_all", one_by_one)
    return taken


def swallow(monkeypatch: pytest.MonkeyPatch, random: Random, share: float) -> list[tuple[str, bytes, str]]:
    """Have nodes acknowledge messages that they throw away."""
    deliver = Router.deliver
    taken: list[tuple[str, bytes, str]] = []

    def tampered(self: Router, message: Message, route: Any, now: int) -> None:
        if message.topic.startswith(b"fleet") and not message.replayed and random.random() < share:
            taken.append((message.topic.decode(), bytes(message.payload), ""))
        else:
            deliver(self, message, route, now)

    def one_by_one(self: Router, messages: Sequence[Message], route: Any, now: int) -> None:
        for message in messages:
            self.deliver(message, route, now)

    monkeypatch.setattr(Router, "deliver", tampered)
    monkeypatch.setattr(Router, "deliver_all", one_by_one)
    return taken


@pytest.mark.parametrize("how", ["forget", "lie", "swallow"])
@pytest.mark.parametrize("trouble", ["", TROUBLE], ids=["calm", "beside kills and cuts"])
def test_what_is_taken_out_of_the_engine_by_force_is_lost(
    monkeypatch: pytest.MonkeyPatch, how: str, trouble: str
) -> None:
    taken = swallow(monkeypatch, Random(1), 0.03) if how == "swallow" else forget(
        monkeypatch, Random(1), 0.03, how == "lie"
    )  # fmt: skip
    fleet, result = play(HOUSE.replace("kind: remote, every: 1s", "kind: remote, every: 500ms") + trouble)
    taken_away = {(topic, payload) for topic, payload, _ in taken}
    missing = [
        (message, name)
        for ticket, message in enumerate(fleet.ledger.messages)
        for name, listener in message.due.items()
        if (name, ticket) not in fleet.ledger.copies
        and (message.topic, message.payload) in taken_away
        and not listener.latest_only
    ]
    assert len(missing) > 5
    assert not result.is_well
    assert result.accounts.adds_up
    if not trouble:
        assert result.accounts.total.lost == len(missing)
    assert result.accounts.total.lost >= (0.6 if how == "forget" and trouble else 0.9) * len(missing), (
        result.accounts.reasons
    )
    assert any(fault.startswith("lost: no. ") for fault in result.accounts.faults)


# ---- Whatever happens


DURATIONS = st.sampled_from(["1s", "3s", "8s"])
FAULTS = st.one_of(
    st.builds("{{at: {}s, cut: {}, lasts: {}}}".format, st.integers(2, 25), st.sampled_from(["dsl", "air"]), DURATIONS),
    st.builds("{{at: {}s, readdress: {}}}".format, st.integers(2, 25), st.sampled_from(["dsl", "air"])),
    st.builds(
        "{{at: {}s, {}: {}, lasts: {}, keeps_state: {}}}".format,
        st.integers(2, 25),
        st.sampled_from(["kill", "power_cut"]),
        st.sampled_from(["centre", "house", "office", "lamp", "watch", "thermostat", "relay", "phone", "press"]),
        DURATIONS,
        st.sampled_from(["true", "false"]),
    ),
    st.builds(
        "{{at: {}s, {}, lasts: {}}}".format,
        st.integers(2, 25),
        st.sampled_from(
            [
                "pause: centre",
                "pause: house",
                "pause: lamp",
                "slow: lamp",
                "noise: relay",
                "unplug: relay",
                "slow: phone",
            ]
        ),
        DURATIONS,
    ),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FAULTS, max_size=4), st.integers(0, 1000), st.sampled_from([0, 1, 2]), st.sampled_from([5, 30]))
@example(["{at: 16s, cut: dsl, lasts: 8s}", "{at: 23s, readdress: air}"], 1, 0, 30)  # held up after it got through
@example(["{at: 3s, readdress: air}"], 302, 0, 5)  # sent again from another address
def test_the_books_add_up_whatever_goes_wrong(faults: list[str], seed: int, qos: int, keep_alive: int) -> None:
    text = HOUSE.replace("length: 60s", "length: 30s").replace(
        "keep_alive: 5s", f"keep_alive: {keep_alive}s, qos: {qos}"
    )
    text = text.replace("  walker: {profile: bulb, at: [house, office]}\n", "").replace("walker, ", "")
    _, result = play(text + f"faults: [{', '.join(faults)}]\n", seed=seed)
    assert result.accounts.is_clean, (faults, result.accounts.faults)


def test_json_of_two_equal_runs_is_equal() -> None:
    first, second = (json.loads(msgspec.json.encode(play(HOUSE + TROUBLE)[1])) for _ in range(2))
    for result in (first, second):
        result["run"].pop("took_s")
    assert first == second
