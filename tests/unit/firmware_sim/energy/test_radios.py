"""Every radio that a scenario can name: complete, plausible, and with a word on where each number is from."""

import math

import msgspec
import pytest

from firmware_sim.energy import HANDSHAKES, RADIOS, new_radio
from firmware_sim.energy.parameter import Parameter, Provenance
from firmware_sim.energy.profile import Profile

HOUR_NS = 3600 * 10**9


def provenances() -> list[tuple[str, Provenance]]:
    numbers = [
        (f"{name}: {label}", parameter.provenance)
        for name, profile in RADIOS.items()
        for label, parameter in profile.parameters()
    ]
    return numbers + [(name, handshake.provenance) for name, handshake in HANDSHAKES.items()]


def test_every_number_says_what_it_rests_on() -> None:
    assert [name for name, provenance in provenances() if not provenance.why] == []


def test_a_fit_names_its_anchors_and_nothing_else_does() -> None:
    wrong = [name for name, provenance in provenances() if (provenance.origin == "fitted") != bool(provenance.anchors)]
    assert wrong == []


def test_there_is_no_number_without() -> None:
    """Numbers stand in parameters; `parameters` finds all of them."""
    encoded = msgspec.to_builtins(RADIOS)
    for name, profile in RADIOS.items():
        assert count_values(encoded[name]) == len(list(profile.parameters()))


def count_values(node: object) -> int:
    if isinstance(node, dict):
        if "provenance" in node:
            return 1
        assert not any(isinstance(value, int | float) and not isinstance(value, bool) for value in node.values())
        return sum(count_values(value) for value in node.values())
    return sum(map(count_values, node)) if isinstance(node, list | tuple) else 0


@pytest.mark.parametrize("profile", RADIOS.values(), ids=RADIOS)
def test_only_the_last_stage_lasts(profile: Profile) -> None:
    assert [stage.lasts_ms is None for stage in profile.stages] == [False] * (len(profile.stages) - 1) + [True]
    assert all(number(parameter) for _, parameter in profile.parameters())


def number(parameter: Parameter) -> bool:
    return math.isfinite(parameter.value) and parameter.value >= 0


@pytest.mark.parametrize("name", [name for name in RADIOS if name != "mains"])
def test_talking_costs_more_than_silence(name: str) -> None:
    silent, talking = new_radio(name), new_radio(name)
    for radio in (silent, talking):
        radio.woke(0)
    for minute in range(60):
        talking.sent(100, minute * HOUR_NS // 60)
    assert talking.spent(HOUR_NS).energy_j > silent.spent(HOUR_NS).energy_j > 0
    assert talking.spent(HOUR_NS).basis == "modelled"


def test_an_unknown_radio_is_refused() -> None:
    with pytest.raises(KeyError):
        new_radio("carrier_pigeon")
