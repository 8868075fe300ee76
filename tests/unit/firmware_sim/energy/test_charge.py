"""Charge added up, as energy, and as the life of a battery."""

import math

import pytest

from firmware_sim.energy import Charge
from firmware_sim.energy.charge import DAY_NS


def test_energy_is_charge_at_the_supply_voltage() -> None:
    charge = Charge(
        basis="modelled",
        elapsed_ns=DAY_NS,
        supply_v=3.0,
        rest_uc=1e6,
        poll_uc=2e6,
        wake_uc=4e6,
        transmit_uc=8e6,
        receive_uc=16e6,
        tail_uc=32e6,
        handshake_uc=64e6,
    )
    assert charge.total_uc == 127e6
    assert charge.energy_j == pytest.approx(381)


def test_a_battery_lasts_as_long_as_its_energy() -> None:
    charge = Charge(
        basis="modelled", elapsed_ns=DAY_NS // 2, supply_v=2.0, rest_uc=9e6
    )  # 18 J in half a day: 10 mWh a day
    assert charge.battery_days(5000) == pytest.approx(500)


def test_a_battery_that_feeds_nothing_lasts_for_ever() -> None:
    assert math.isinf(Charge(basis="mains power, not counted").battery_days(1))
