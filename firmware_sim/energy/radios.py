"""The radios by the names that a scenario uses."""

from firmware_sim.energy import cellular, short_range, wifi
from firmware_sim.energy.handshake import HANDSHAKES, Handshake
from firmware_sim.energy.parameter import assumed
from firmware_sim.energy.profile import Profile, Stage
from firmware_sim.energy.radio import Radio

_NOTHING = assumed(0, "mains power: not counted")
_PLENTY = assumed(1_000_000_000, "mains power: not counted")

_MAINS = Profile(
    description="a cable and mains power",
    basis="mains power, not counted",
    supply_v=_NOTHING,
    stages=(Stage(name="on", current_ua=_NOTHING),),
    transmit_ua=_NOTHING,
    receive_ua=_NOTHING,
    uplink_bit_per_s=_PLENTY,
    downlink_bit_per_s=_PLENTY,
    frame_payload_bytes=_PLENTY,
    frame_overhead_bytes=_NOTHING,
    frame_gap_us=_NOTHING,
)

RADIOS: dict[str, Profile] = {
    "mains": _MAINS,
    "wifi_esp32_dtim1": wifi.light_sleep(wifi.ESP32, 1),
    "wifi_esp32_dtim3": wifi.light_sleep(wifi.ESP32, 3),
    "wifi_esp32_dtim10": wifi.light_sleep(wifi.ESP32, 10),
    "wifi_esp32_modem_dtim1": wifi.modem_sleep(1),
    "wifi_esp32_modem_dtim3": wifi.modem_sleep(3),
    "wifi_esp32_modem_dtim10": wifi.modem_sleep(10),
    "wifi_esp32c3_dtim1": wifi.light_sleep(wifi.ESP32_C3, 1),
    "wifi_esp32c3_dtim3": wifi.light_sleep(wifi.ESP32_C3, 3),
    "wifi_esp32c3_dtim10": wifi.light_sleep(wifi.ESP32_C3, 10),
    "ble_nrf52832": short_range.bluetooth_low_energy(),
    "thread_sed_nrf5340": short_range.sleepy_end_device(short_range.NRF5340),
    "thread_sed_nrf54l15": short_range.sleepy_end_device(short_range.NRF54L15),
    "thread_ssed_nrf5340": short_range.synchronized_end_device(short_range.NRF5340),
    "thread_ssed_nrf54l15": short_range.synchronized_end_device(short_range.NRF54L15),
    "nb_iot_164db": cellular.nb_iot(),
    "lte_m_psm": cellular.lte_m_power_saving(),
    "lte_m_edrx": cellular.lte_m_paged(),
    "lte_dongle": cellular.lte_dongle(),
}


def new_radio(name: str, handshake: Handshake = HANDSHAKES["tcp"]) -> Radio:
    """One radio of the kind `name`. Raises KeyError."""
    return Radio(RADIOS[name], handshake)
