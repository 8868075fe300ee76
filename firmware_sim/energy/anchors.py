"""What others published about whole radios, set against what the model says: how far it is to be believed.

An anchor is run like any device: the radio is told of traffic, and the charge of some time is read. Whether it proves
anything follows from the parameters: one that a fit used is `fitted`; one that is made of the very numbers the model
was given is `arithmetic`; the rest were predicted, and are `reproduced` within their tolerance or `missed`.
"""

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from firmware_sim.energy.charge import DAY_NS, SECOND_NS
from firmware_sim.energy.handshake import HANDSHAKES
from firmware_sim.energy.radio import Radio
from firmware_sim.energy.radios import RADIOS, new_radio

HOUR_NS = 3600 * SECOND_NS
YEAR_DAYS = 365.25
TR45820_BATTERY_MWH = 5000
COAP_AND_DTLS_BYTES = 17  # RFC 7252 and RFC 6347; the headers below are the radio's
ROUNDS = 10

_NORDIC = "Nordic, nRF Connect SDK, OpenThread power consumption"
_ESPRESSIF = "Espressif, low power mode in Wi-Fi scenarios"
_SAUTER = "3GPP TR 45.820, as quoted by Sauter"


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """One published figure."""

    key: str
    """By which a fitted parameter names it."""
    what: str
    """What was measured or calculated."""
    unit: str
    """Of both figures."""
    asked: float
    """The published figure."""
    model: Callable[[], float]
    """The model's."""
    tolerance: float
    """How far the model may be off, as a share of `asked`."""
    publication: str
    """Who published it."""
    is_arithmetic: bool = False
    """Whether it follows from the very numbers that the radio was given."""

    @property
    def error(self) -> float:
        """How far the model is off, as a share of `asked`."""
        return self.model() / self.asked - 1

    @property
    def status(self) -> str:
        """`fitted`, `arithmetic`, `reproduced` or `missed`."""
        if self.key in fitted_keys():
            return "fitted"
        if abs(self.error) > self.tolerance:
            return "missed"
        return "arithmetic" if self.is_arithmetic else "reproduced"


def fitted_keys() -> set[str]:
    """The anchors that parameters were fitted to."""
    every = (parameter for profile in RADIOS.values() for _, parameter in profile.parameters())
    return {key for parameter in every for key in parameter.provenance.anchors}


def anchors() -> Iterator[Anchor]:
    """All of them."""
    for kind, chip, asked_uc in (
        ("sed", "nRF5340", 1270),
        ("sed", "nRF54L15", 980),
        ("ssed", "nRF5340", 1130),
        ("ssed", "nRF54L15", 857),
    ):
        radio = f"thread_{kind}_{chip.lower()}"
        yield Anchor(
            key=radio,
            what=f"{chip}, Thread {kind.upper()}, 1 s, charge in a minute",
            unit="uC",
            asked=asked_uc,
            model=partial(_quiet_uc, radio, 60 * SECOND_NS),
            tolerance=0.05,
            publication=_NORDIC,
        )
    for size_bytes, every_ns, said, asked_years in (
        (200, 2 * HOUR_NS, "2h", 1.7),
        (50, DAY_NS, "day", 18.1),
    ):
        yield Anchor(
            key=f"tr45820_{size_bytes}b_{said}",
            what=f"NB-IoT, {size_bytes} bytes every {said}, life of 5 Wh",
            unit="years",
            asked=asked_years,
            model=partial(_reports_years, size_bytes, every_ns),
            tolerance=0.15,
            publication=_SAUTER,
        )
    for chip, mode, currents_ma in (
        ("ESP32", "light", {1: 3.34, 3: 2.33, 10: 2.19}),
        ("ESP32-C3", "light", {1: 1.4, 3: 0.62, 10: 0.31}),
        ("ESP32", "modem", {1: 31.12, 3: 28.81, 10: 29.66}),
    ):
        name = chip.lower().replace("-", "")
        for dtim, asked_ma in currents_ma.items():
            radio = f"wifi_{name}_{'modem_' if mode == 'modem' else ''}dtim{dtim}"
            yield Anchor(
                key=f"{name}_{mode}_dtim{dtim}",
                what=f"{chip}, Wi-Fi, {mode} sleep, DTIM {dtim}, average current",
                unit="mA",
                asked=asked_ma,
                model=partial(_quiet_ma, radio),
                tolerance=0.1,
                publication=_ESPRESSIF,
            )
    yield Anchor(
        key="lte_dongle_wake",
        what="LTE dongle, one message alone, above idle",
        unit="J",
        asked=5.44,
        model=_dongle_wake_j,
        tolerance=0.01,
        publication="Grunenberger: (184 - 93.3) mA for 12 s, at 5 V",
        is_arithmetic=True,
    )
    yield Anchor(
        key="ble_advert",
        what="nRF52832, one advert",
        unit="uC",
        asked=10.6,
        model=_advert_uc,
        tolerance=0.01,
        publication="Laird: 2.431 mA for 4.377 ms",
        is_arithmetic=True,
    )


def _quiet_uc(name: str, duration_ns: int) -> float:
    """What a radio at rest takes in some time."""
    radio = new_radio(name)
    radio.woke(0)
    return radio.spent(HOUR_NS + duration_ns).total_uc - radio.spent(HOUR_NS).total_uc


def _quiet_ma(name: str) -> float:
    return _quiet_uc(name, HOUR_NS) / 3600 / 1000


def report_life_years(radio: Radio, size_bytes: int, every_ns: int) -> float:
    """The life of TR 45.820's battery that pays for a report now and then, each acknowledged without content."""
    for number in range(ROUNDS):
        radio.sent(size_bytes + COAP_AND_DTLS_BYTES, number * every_ns)
        radio.received(COAP_AND_DTLS_BYTES, number * every_ns)
    return radio.spent(ROUNDS * every_ns).battery_days(TR45820_BATTERY_MWH) / YEAR_DAYS


def _reports_years(size_bytes: int, every_ns: int) -> float:
    return report_life_years(new_radio("nb_iot_164db", HANDSHAKES["udp"]), size_bytes, every_ns)


def _dongle_wake_j() -> float:
    """One small message and its tail, less what the same time would have taken anyway."""
    busy, idle = new_radio("lte_dongle"), new_radio("lte_dongle")
    for radio in (busy, idle):
        radio.woke(0)
    busy.sent(20, HOUR_NS)
    return busy.spent(2 * HOUR_NS).energy_j - idle.spent(2 * HOUR_NS).energy_j


def _advert_uc() -> float:
    radio = new_radio("ble_nrf52832")
    radio.woke(0)
    radio.slept(0)
    return radio.spent(HOUR_NS).poll_uc / 3600
