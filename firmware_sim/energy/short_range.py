"""Radios that reach a router in the same house: Thread end devices on Nordic's chips, and Bluetooth Low Energy.

They have no tail: whatever waits is fetched by a poll that takes place anyway, and a message costs the time it is on
the air. Nordic publishes what a poll takes and what a minute takes; the second is predicted from the first.
"""

import msgspec

from firmware_sim.energy.parameter import Parameter, assumed, sourced
from firmware_sim.energy.profile import Poll, Profile, Stage

_NORDIC = "Nordic Semiconductor, nRF Connect SDK, OpenThread power consumption, Thread 1.4, 3.0 V, 0 dBm"
_SECOND_MS = sourced(1000, _NORDIC)
_SSED_POLL_MS = sourced(20_000, f"{_NORDIC}: CSL timeout")


class ThreadChip(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between Thread chips."""

    name: str
    """Its name, for people."""
    sleep_ua: Parameter
    """Between polls."""
    poll_uc: Parameter
    """A data poll of a sleepy end device."""
    listen_uc: Parameter
    """One reception at the agreed time of a synchronized one."""
    synchronized_poll_uc: Parameter
    """A data poll of a synchronized one."""
    transmit_ua: Parameter
    """At 0 dBm."""
    receive_ua: Parameter
    """At 1 Mbit/s."""


NRF5340 = ThreadChip(
    name="nRF5340",
    sleep_ua=sourced(3.31, _NORDIC),
    poll_uc=sourced(17.8, _NORDIC),
    listen_uc=sourced(14.3, _NORDIC),
    synchronized_poll_uc=sourced(23.2, _NORDIC),
    transmit_ua=assumed(3400, "about as much as receiving takes, as on its siblings"),
    receive_ua=sourced(2700, "Nordic Semiconductor, nRF5340 product specification, radio, DC/DC, 3 V, 1 Mbit/s"),
)
NRF54L15 = ThreadChip(
    name="nRF54L15",
    sleep_ua=sourced(1.98, _NORDIC),
    poll_uc=sourced(14.3, _NORDIC),
    listen_uc=sourced(11.6, _NORDIC),
    synchronized_poll_uc=sourced(19.3, _NORDIC),
    transmit_ua=sourced(4800, "Nordic Semiconductor, nRF54L15 datasheet, current consumption, 0 dBm"),
    receive_ua=sourced(3400, "Nordic Semiconductor, nRF54L15 datasheet, current consumption, 1 Mbit/s"),
)


def sleepy_end_device(chip: ThreadChip) -> Profile:
    """A Thread child that asks its parent once a second."""
    polls = (Poll(name="data poll", every_ms=_SECOND_MS, charge_uc=chip.poll_uc),)
    return _thread(chip, "sleepy end device, asks every second", polls)


def synchronized_end_device(chip: ThreadChip) -> Profile:
    """A Thread child that listens once a second, when its parent knows it does."""
    polls = (
        Poll(name="CSL reception", every_ms=_SECOND_MS, charge_uc=chip.listen_uc),
        Poll(name="data poll", every_ms=_SSED_POLL_MS, charge_uc=chip.synchronized_poll_uc),
    )
    return _thread(chip, "synchronized sleepy end device, listens every second", polls)


def _thread(chip: ThreadChip, role: str, polls: tuple[Poll, ...]) -> Profile:
    return Profile(
        description=f"{chip.name}, Thread, {role}",
        supply_v=sourced(3.0, _NORDIC),
        stages=(
            Stage(
                name="sleep",
                current_ua=chip.sleep_ua,
                polls=polls,
                wake_to_send_uc=assumed(
                    chip.poll_uc.value, "a message begins as a data poll does: a frame with its answer"
                ),
            ),
        ),
        transmit_ua=chip.transmit_ua,
        receive_ua=chip.receive_ua,
        uplink_bit_per_s=sourced(250_000, "IEEE 802.15.4, 2.4 GHz"),
        downlink_bit_per_s=sourced(250_000, "IEEE 802.15.4, 2.4 GHz"),
        frame_payload_bytes=assumed(80, "802.15.4's 127 bytes less the headers"),
        frame_overhead_bytes=assumed(53, "PHY 6, MAC with security 25, 6LoWPAN with fragments and transport 22"),
        frame_gap_us=sourced(544, "IEEE 802.15.4: turnaround 192 us, acknowledgement 352 us"),
    )


_LAIRD = "Laird Connectivity, BL652 datasheet (nRF52832, 0 dBm)"


def bluetooth_low_energy() -> Profile:
    """A peripheral that keeps its connection, and advertises while its device sleeps."""
    idle_ua = sourced(2, _LAIRD)
    second_ms = assumed(1000, "one of the intervals between 7.5 ms and 4 s that Laird names")
    event = Poll(
        name="connection event",
        every_ms=second_ms,
        charge_uc=assumed(
            3.65, "an advert's average current, 2.431 mA, for the 1.5 ms that Silicon Labs give an event"
        ),
    )
    advert = Poll(name="advert", every_ms=second_ms, charge_uc=sourced(10.64, f"{_LAIRD}: 2.431 mA for 4.377 ms"))
    return Profile(
        description="nRF52832, Bluetooth Low Energy, connection interval 1 s; advertises while its device sleeps",
        supply_v=assumed(3.0, "a coin cell"),
        stages=(Stage(name="connected", current_ua=idle_ua, polls=(event,)),),
        off=Stage(
            name="advertising",
            current_ua=idle_ua,
            polls=(advert,),
            wake_to_send_uc=assumed(100, "some ten adverts' worth for connecting, parameters and encryption"),
        ),
        transmit_ua=assumed(5300, "about what the nRF52832 takes at 0 dBm with DC/DC"),
        receive_ua=assumed(5400, "about what the nRF52832 takes at 1 Mbit/s with DC/DC"),
        uplink_bit_per_s=sourced(1_000_000, "Bluetooth Core Specification, LE 1M"),
        downlink_bit_per_s=sourced(1_000_000, "Bluetooth Core Specification, LE 1M"),
        frame_payload_bytes=sourced(244, "Bluetooth Core Specification: 251 bytes less L2CAP 4 and ATT 3"),
        frame_overhead_bytes=sourced(21, "Bluetooth Core Specification: LE 1M framing 10, MIC 4, L2CAP 4, ATT 3"),
        frame_gap_us=sourced(380, "Bluetooth Core Specification: two gaps of 150 us, an empty packet of 80 us"),
    )
