"""What the model is believed for: published figures, and which of them it was not fitted to."""

from collections import Counter

import msgspec
import pytest

from firmware_sim.energy.anchors import DAY_NS, HOUR_NS, Anchor, anchors, fitted_keys, report_life_years
from firmware_sim.energy.handshake import HANDSHAKES
from firmware_sim.energy.parameter import assumed
from firmware_sim.energy.profile import Profile
from firmware_sim.energy.radio import Radio
from firmware_sim.energy.radios import RADIOS

ANCHORS = {anchor.key: anchor for anchor in anchors()}


def test_keys_differ() -> None:
    assert [key for key, count in Counter(anchor.key for anchor in anchors()).items() if count > 1] == []


@pytest.mark.parametrize("anchor", ANCHORS.values(), ids=ANCHORS)
def test_meets_its_anchor(anchor: Anchor) -> None:
    assert anchor.status != "missed"
    assert abs(anchor.error) <= (0.01 if anchor.status == "fitted" else anchor.tolerance)


def test_fits_name_anchors_that_exist() -> None:
    assert fitted_keys() <= set(ANCHORS)


def test_what_a_fit_used_does_not_count_as_reproduced() -> None:
    assert {ANCHORS[key].status for key in fitted_keys()} == {"fitted"}


def test_an_anchor_that_is_not_met_is_missed() -> None:
    far = msgspec.structs.replace(ANCHORS["thread_sed_nrf5340"], asked=1400)
    assert far.status == "missed"


@pytest.mark.parametrize(
    ("key", "asked", "tolerance"),
    [
        ("thread_sed_nrf5340", 1270, 0.05),
        ("thread_sed_nrf54l15", 980, 0.05),
        ("thread_ssed_nrf5340", 1130, 0.05),
        ("thread_ssed_nrf54l15", 857, 0.05),
        ("tr45820_50b_day", 18.1, 0.15),
    ],
)
def test_what_was_asked_for_is_predicted(key: str, asked: float, tolerance: float) -> None:
    anchor = ANCHORS[key]
    assert (anchor.asked, anchor.tolerance, anchor.status) == (asked, tolerance, "reproduced")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_the_predicted_life_does_not_hang_on_the_assumed_wake(share: float) -> None:
    low, high = 100.0, 10_000.0
    while high - low > 0.1:  # the fit, again: a faster radio lasts longer
        rate = (low + high) / 2
        low, high = (rate, high) if life_years(share, rate, 200, 2 * HOUR_NS) < 1.7 else (low, rate)
    assert life_years(share, low, 50, DAY_NS) == pytest.approx(18.1, rel=0.15)


def life_years(share: float, rate: float, size_bytes: int, every_ns: int) -> float:
    """With so much of the wake, at so many bits a second."""
    radio = Radio(changed(RADIOS["nb_iot_164db"], share, rate), HANDSHAKES["udp"])
    return report_life_years(radio, size_bytes, every_ns)


def changed(profile: Profile, share: float, rate: float) -> Profile:
    *tail, rest = profile.stages
    assert rest.wake_to_send_uc is not None
    wake = assumed(rest.wake_to_send_uc.value * share, "a test")
    bit_per_s = assumed(rate, "a test")
    return msgspec.structs.replace(
        profile,
        stages=(*tail, msgspec.structs.replace(rest, wake_to_send_uc=wake)),
        uplink_bit_per_s=bit_per_s,
        downlink_bit_per_s=bit_per_s,
    )
