"""Wi-Fi stations that stay associated and sleep between beacons: Espressif's ESP32 and ESP32-C3.

Espressif publishes average currents for three DTIM periods. They are taken apart into a current of sleep and the charge
of one beacon, I(dtim) = I_sleep + Q_beacon / (dtim * 102.4 ms), with the first and the last; the middle one is left to
be predicted.
"""

import msgspec

from firmware_sim.energy.parameter import Parameter, assumed, fitted, sourced
from firmware_sim.energy.profile import Poll, Profile, Stage

BEACON_MS = 102.4

_LOW_POWER = "Espressif, ESP-IDF programming guide, low power mode in Wi-Fi scenarios"
_TAKEN_APART = "average currents at DTIM 1 and 10 taken apart into sleep and beacons"


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between stations."""

    name: str
    """Its name, for people."""
    sleep_ua: Parameter
    """Between beacons, in automatic light sleep."""
    beacon_uc: Parameter
    """Waking for a beacon, above that."""
    deep_sleep_ua: Parameter
    """Not associated."""
    transmit_ua: Parameter
    """802.11n at MCS 7."""
    receive_ua: Parameter
    """Listening, as well."""


_ESP32_SHEET = "Espressif, ESP32 datasheet, RF power consumption"

ESP32 = Chip(
    name="ESP32",
    sleep_ua=fitted(2062, _TAKEN_APART, "esp32_light_dtim1", "esp32_light_dtim10"),
    beacon_uc=fitted(130.8, _TAKEN_APART, "esp32_light_dtim1", "esp32_light_dtim10"),
    deep_sleep_ua=sourced(5, _LOW_POWER),
    transmit_ua=sourced(180_000, f"{_ESP32_SHEET}: 802.11n, MCS 7"),
    receive_ua=sourced(97_500, f"{_ESP32_SHEET}: 95 to 100 mA"),
)
ESP32_C3 = Chip(
    name="ESP32-C3",
    sleep_ua=fitted(189, _TAKEN_APART, "esp32c3_light_dtim1", "esp32c3_light_dtim10"),
    beacon_uc=fitted(124.0, _TAKEN_APART, "esp32c3_light_dtim1", "esp32c3_light_dtim10"),
    deep_sleep_ua=sourced(4.8, _LOW_POWER),
    transmit_ua=assumed(276_000, "about what it takes for 802.11n at MCS 7; the datasheet was not at hand"),
    receive_ua=assumed(84_000, "about what it takes to listen; the datasheet was not at hand"),
)

_ESP32_MODEM_UA = fitted(29_842, "average current at DTIM 1 less the beacons of light sleep", "esp32_modem_dtim1")


def light_sleep(chip: Chip, dtim: int) -> Profile:
    """Automatic light sleep: clocks stop between beacons."""
    return _associated(chip, "automatic light sleep", chip.sleep_ua, dtim)


def modem_sleep(dtim: int) -> Profile:
    """The ESP32 in modem sleep: the processor runs on."""
    return _associated(ESP32, "modem sleep", _ESP32_MODEM_UA, dtim)


def _associated(chip: Chip, mode: str, sleep_ua: Parameter, dtim: int) -> Profile:
    beacons = Poll(
        name="beacon",
        every_ms=sourced(dtim * BEACON_MS, "IEEE 802.11: 100 time units of 1024 us, times the DTIM period"),
        charge_uc=chip.beacon_uc,
    )
    return Profile(
        description=f"{chip.name}, Wi-Fi, associated, {mode}, DTIM {dtim}",
        supply_v=assumed(3.3, "what the modules are specified at"),
        stages=(
            Stage(
                name="awake",
                is_tail=True,
                current_ua=chip.receive_ua,
                lasts_ms=assumed(50, "the least time awake after traffic that ESP-IDF sets by default"),
            ),
            Stage(
                name=mode,
                current_ua=sleep_ua,
                polls=(beacons,),
                wake_to_send_uc=assumed(chip.beacon_uc.value, "starting the radio takes as much as for a beacon"),
            ),
        ),
        off=Stage(
            name="deep sleep",
            current_ua=chip.deep_sleep_ua,
            wake_to_send_uc=assumed(100_000, "a second of boot, scan, association and DHCP at about 100 mA"),
        ),
        transmit_ua=chip.transmit_ua,
        receive_ua=chip.receive_ua,
        uplink_bit_per_s=sourced(65_000_000, "IEEE 802.11n, MCS 7, 20 MHz: what the transmit current was measured at"),
        downlink_bit_per_s=sourced(65_000_000, "IEEE 802.11n, MCS 7, 20 MHz"),
        frame_payload_bytes=assumed(1460, "Ethernet's 1500 bytes less IPv4 and TCP"),
        frame_overhead_bytes=assumed(86, "802.11 with CCMP and LLC 46, IPv4 20, TCP 20"),
        frame_gap_us=assumed(200, "DIFS and some backoff, preamble, SIFS, acknowledgement; a channel without rivals"),
    )
