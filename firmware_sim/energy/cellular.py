"""Radios that reach a mast: NB-IoT and LTE-M with power saving, and an LTE dongle that knows none.

They have tails: after the last byte the network keeps a device connected, then reachable, before it may sleep. A report
once a day pays the tail and the way out of sleep once, ten reports in a row pay them once as well; so here it matters
most what is sent together.
"""

from firmware_sim.energy.parameter import assumed, fitted, sourced
from firmware_sim.energy.profile import Poll, Profile, Stage

NB_IOT_V = 3.6

_SAUTER = "3GPP TR 45.820 7.3.6.4, as quoted in Sauter, From GSM to LTE-Advanced Pro and 5G, page 318"
_RETOLD = "peteryej/LoRaWAN-NBIoTEnergyModels, NBIoTEnergyModel/config.py, after Andres-Maldonado et al."
_IPV6_UDP_BYTES = sourced(48, "RFC 8200 and RFC 768: IPv6 40, UDP 8, nothing compressed")


def _milliwatt(value: float) -> float:
    """Microamperes at NB-IoT's supply voltage."""
    return value * 1000 / NB_IOT_V


def nb_iot() -> Profile:
    """The NB-IoT device of 3GPP TR 45.820 at the edge of coverage, taken to be a coupling loss of 164 dB.

    The report gives powers and battery lives, in milliwatts and years, so the voltage only turns them into charge.
    """
    receive_ua = sourced(_milliwatt(90), f"{_RETOLD}, in a comment: 90 mW")
    rate = fitted(
        590, "bits a second on the air, both ways, at which 200 bytes every two hours last 1.7 years", "tr45820_200b_2h"
    )
    return Profile(
        description="NB-IoT as in 3GPP TR 45.820, coupling loss 164 dB, power saving mode",
        supply_v=assumed(NB_IOT_V, "a lithium cell; turns powers into currents, and cancels out of every energy"),
        stages=(
            Stage(
                name="connected",
                is_tail=True,
                current_ua=receive_ua,
                lasts_ms=assumed(1000, "released soon after the answer, with release assistance"),
            ),
            Stage(
                name="reachable",
                is_tail=True,
                current_ua=sourced(_milliwatt(3), f"{_RETOLD}, in a comment: 3 mW, light sleep"),
                lasts_ms=assumed(20_000, "an active timer (T3324) of 20 s"),
                wake_to_send_uc=assumed(_milliwatt(100), "random access: 0.2 s of sending"),
                wake_to_receive_uc=assumed(_milliwatt(100), "random access, after paging"),
            ),
            Stage(
                name="power saving mode",
                current_ua=sourced(_milliwatt(0.015), f"{_SAUTER}: 0.015 mW"),
                wake_to_send_uc=assumed(
                    _milliwatt(280), "2 s of synchronization and system information, random access"
                ),
                wake_to_receive_uc=assumed(_milliwatt(280), "unreachable: what comes all the same found it awake"),
            ),
        ),
        transmit_ua=sourced(_milliwatt(500), f"{_SAUTER}: 500 mW"),
        receive_ua=receive_ua,
        uplink_bit_per_s=rate,
        downlink_bit_per_s=rate,
        frame_payload_bytes=assumed(1232, "IPv6's least packet size; the link's own segments are in the fitted rate"),
        frame_overhead_bytes=_IPV6_UDP_BYTES,
        frame_gap_us=assumed(0, "in the fitted rate"),
    )


_SIM7000 = "SIMCom SIM7000 hardware design, as quoted in the Botletics SIM7000 wiki, current consumption"
_IDLE_UA = sourced(11_000, f"{_SIM7000}: idling on LTE")
_FLOOR_UA = sourced(9, f"{_SIM7000}: power saving mode")


def lte_m_power_saving() -> Profile:
    """LTE-M that is unreachable while it has nothing to say."""
    rest = Stage(
        name="power saving mode",
        current_ua=_FLOOR_UA,
        wake_to_send_uc=assumed(50_000, "half a second of synchronization and random access at about 100 mA"),
        wake_to_receive_uc=assumed(50_000, "unreachable: what comes all the same found it awake"),
    )
    return _lte_m("power saving mode", rest)


def lte_m_paged() -> Profile:
    """LTE-M with extended discontinuous reception: reachable once in 81.92 s."""
    paging = Poll(
        name="paging",
        every_ms=sourced(81_920, "3GPP TS 24.008, one of the cycles of eDRX"),
        charge_uc=assumed(14_080, "a paging window of 1.28 s at what idling on LTE takes"),
    )
    rest = Stage(
        name="eDRX",
        current_ua=_FLOOR_UA,
        polls=(paging,),
        wake_to_send_uc=assumed(25_000, "a quarter of a second of random access at about 100 mA"),
        wake_to_receive_uc=assumed(25_000, "the same, after paging"),
    )
    return _lte_m("eDRX of 81.92 s", rest)


def _lte_m(saving: str, rest: Stage) -> Profile:
    return Profile(
        description=f"SIM7000, LTE-M, good coverage, {saving}",
        supply_v=assumed(3.8, "a lithium polymer cell"),
        stages=(
            Stage(
                name="connected",
                is_tail=True,
                current_ua=_IDLE_UA,
                lasts_ms=assumed(10_000, "an inactivity timer of 10 s, as many networks have it"),
            ),
            Stage(
                name="reachable",
                is_tail=True,
                current_ua=sourced(1000, f"{_SIM7000}: sleep mode"),
                lasts_ms=assumed(10_000, "an active timer (T3324) of 10 s"),
                wake_to_send_uc=assumed(25_000, "a quarter of a second of random access at about 100 mA"),
                wake_to_receive_uc=assumed(25_000, "the same, after paging"),
            ),
            rest,
        ),
        transmit_ua=sourced(167_000, f"{_SIM7000}: LTE data at 23 dBm"),
        receive_ua=assumed(60_000, "a third of sending, as on its siblings"),
        uplink_bit_per_s=assumed(300_000, "LTE-M, half duplex, shared"),
        downlink_bit_per_s=assumed(300_000, "LTE-M, half duplex, shared"),
        frame_payload_bytes=assumed(1358, "the usual 1410 bytes of mobile networks less IPv4 and TCP"),
        frame_overhead_bytes=assumed(52, "IPv4 20, TCP 20, link 12"),
        frame_gap_us=assumed(20_000, "a scheduling request and its grant"),
    )


def lte_dongle() -> Profile:
    """An LTE dongle in a gateway: awake all the time, more so for 12 s after each message."""
    publication = "Grunenberger, 4G, 3G, 2G power consumption (2014), Huawei E3276"
    connected_ua = sourced(184_000, publication)
    return Profile(
        description="Huawei E3276, LTE dongle",
        supply_v=assumed(5.0, "USB"),
        stages=(
            Stage(name="connected", is_tail=True, current_ua=connected_ua, lasts_ms=sourced(12_000, publication)),
            Stage(name="idle", current_ua=sourced(93_300, publication)),
        ),
        transmit_ua=assumed(184_000, "what it takes connected; the peaks of sending were not read off"),
        receive_ua=assumed(184_000, "what it takes connected"),
        uplink_bit_per_s=assumed(5_000_000, "LTE in a city"),
        downlink_bit_per_s=assumed(20_000_000, "LTE in a city"),
        frame_payload_bytes=assumed(1358, "the usual 1410 bytes of mobile networks less IPv4 and TCP"),
        frame_overhead_bytes=assumed(52, "IPv4 20, TCP 20, link 12"),
        frame_gap_us=assumed(0, "within the time connected"),
    )
