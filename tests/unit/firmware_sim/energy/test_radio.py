"""The radio's state machine, with a profile whose numbers can be added up by hand, and with real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.energy import HANDSHAKES, Charge, Radio, new_radio
from firmware_sim.energy.parameter import Parameter, assumed
from firmware_sim.energy.profile import Poll, Profile, Stage

MS = 1_000_000
SECOND_NS = 1000 * MS
HOUR_NS = 3600 * SECOND_NS

CAUSES = ("rest_uc", "poll_uc", "wake_uc", "transmit_uc", "receive_uc", "tail_uc", "handshake_uc")


def number(value: float) -> Parameter:
    return assumed(value, "a test")


def profile(has_off: bool = True) -> Profile:
    """A byte takes 1 ms up and 0.5 ms down, a frame 10 bytes of headers and 2 ms, and carries 100 bytes."""
    return Profile(
        description="a test",
        supply_v=number(2),
        stages=(
            Stage(name="awake", is_tail=True, current_ua=number(1000), lasts_ms=number(1000)),
            Stage(
                name="dozing",
                is_tail=True,
                current_ua=number(100),
                lasts_ms=number(10_000),
                wake_to_send_uc=number(5),
                wake_to_receive_uc=number(3),
            ),
            Stage(
                name="asleep",
                current_ua=number(1),
                polls=(Poll(name="poll", every_ms=number(1000), charge_uc=number(2)),),
                wake_to_send_uc=number(50),
                wake_to_receive_uc=number(30),
            ),
        ),
        off=Stage(name="off", current_ua=number(0.5), wake_to_send_uc=number(700)) if has_off else None,
        transmit_ua=number(10_000),
        receive_ua=number(4000),
        uplink_bit_per_s=number(8000),
        downlink_bit_per_s=number(16_000),
        frame_payload_bytes=number(100),
        frame_overhead_bytes=number(10),
        frame_gap_us=number(2000),
    )


def awake_radio(handshake: str = "udp") -> Radio:
    """On since 0, and at that time just fallen silent."""
    radio = Radio(profile(), HANDSHAKES[handshake])
    radio.woke(0)
    return radio


def grown(radio: Radio, from_ns: int, to_ns: int) -> dict[str, float]:
    """What was spent between two times, where anything was."""
    before, after = radio.spent(from_ns), radio.spent(to_ns)
    parts = {cause: getattr(after, cause) - getattr(before, cause) for cause in CAUSES}
    return {cause: pytest.approx(part) for cause, part in parts.items() if abs(part) > 1e-9}


def spent(radio: Radio, now_ns: int) -> dict[str, float]:
    charge = radio.spent(now_ns)
    return {cause: getattr(charge, cause) for cause in CAUSES if getattr(charge, cause)}


def test_goes_down_its_stages_while_nothing_happens() -> None:
    radio = awake_radio()
    assert grown(radio, 0, SECOND_NS) == {"tail_uc": 1000}
    assert grown(radio, SECOND_NS, 11 * SECOND_NS) == {"tail_uc": 1000}
    assert grown(radio, 11 * SECOND_NS, 111 * SECOND_NS) == {"rest_uc": 100, "poll_uc": 200}


def test_a_message_costs_its_time_on_the_air_and_a_tail() -> None:
    radio = awake_radio()
    radio.sent(88, 111 * SECOND_NS)
    assert spent(radio, 211 * SECOND_NS + 100 * MS) == pytest.approx(
        {
            "wake_uc": 700 + 50,
            "transmit_uc": 1000,  # 88 bytes, 10 of headers, 2 ms: 100 ms at 10 mA
            "tail_uc": 2 * 2000,
            "rest_uc": 100 + 89,
            "poll_uc": 200 + 178,
        }
    )


def test_what_comes_is_charged_as_received() -> None:
    radio = awake_radio()
    radio.received(86, 5 * SECOND_NS)
    after_ns = 5 * SECOND_NS + 50 * MS  # 86 bytes and 10 of headers at 0.5 ms, 2 ms
    charge = radio.spent(after_ns)
    assert charge.receive_uc == pytest.approx(200)
    assert charge.wake_uc == 700 + 3
    assert charge.tail_uc == pytest.approx(1000 + 400)


def test_messages_in_a_row_share_wake_and_tail() -> None:
    together, apart = awake_radio(), awake_radio()
    for count in range(3):
        together.sent(10, HOUR_NS + count * 500 * MS)
        apart.sent(10, (1 + count) * HOUR_NS)
    end_ns = 5 * HOUR_NS
    assert together.spent(end_ns).wake_uc == 700 + 50
    assert apart.spent(end_ns).wake_uc == 700 + 150
    assert together.spent(end_ns).transmit_uc == apart.spent(end_ns).transmit_uc
    assert together.spent(end_ns).tail_uc < apart.spent(end_ns).tail_uc


def test_what_finds_the_air_busy_queues() -> None:
    radio = awake_radio()
    radio.sent(88, SECOND_NS)
    radio.sent(88, SECOND_NS + 1 * MS)  # on the air from 1.1 s to 1.2 s
    assert radio.spent(SECOND_NS + 1200 * MS).tail_uc == pytest.approx(2000)
    assert radio.spent(SECOND_NS + 1200 * MS).transmit_uc == pytest.approx(2000)


@pytest.mark.parametrize(("size_bytes", "on_air_ms"), [(0, 12), (100, 112), (101, 125), (200, 224), (201, 237)])
def test_long_messages_take_several_frames(size_bytes: int, on_air_ms: int) -> None:
    radio = awake_radio()
    radio.sent(size_bytes, 0)
    assert radio.spent(SECOND_NS).transmit_uc == pytest.approx(10 * on_air_ms)


def test_a_sleeping_device_has_its_radio_off() -> None:
    radio = awake_radio()
    radio.slept(SECOND_NS)
    assert grown(radio, SECOND_NS, 101 * SECOND_NS) == {"rest_uc": 50}
    radio.slept(50 * SECOND_NS)  # it does already
    radio.woke(101 * SECOND_NS)
    assert radio.spent(101 * SECOND_NS).wake_uc == 2 * 700
    assert grown(radio, 101 * SECOND_NS, 102 * SECOND_NS) == {"tail_uc": 1000}
    radio.woke(102 * SECOND_NS)  # it is already
    assert radio.spent(102 * SECOND_NS).wake_uc == 2 * 700


@pytest.mark.parametrize("happens", ["sent", "received"])
def test_traffic_wakes_a_radio_that_is_off(happens: str) -> None:
    radio = awake_radio()
    radio.slept(SECOND_NS)
    for _ in range(2):
        getattr(radio, happens)(10, 2 * SECOND_NS)
    assert radio.spent(3 * SECOND_NS).wake_uc == 2 * 700


def test_what_was_handed_over_before_sleep_is_sent() -> None:
    radio = awake_radio()
    radio.sent(88, SECOND_NS)
    radio.slept(SECOND_NS)
    assert grown(radio, SECOND_NS + 100 * MS, 11 * SECOND_NS + 100 * MS) == {"rest_uc": 5}


def test_a_radio_that_sleeps_by_itself_ignores_its_device() -> None:
    radio, left_alone = (Radio(profile(has_off=False)) for _ in range(2))
    radio.woke(0)
    left_alone.woke(0)
    radio.slept(100 * MS)
    assert radio.spent(HOUR_NS) == left_alone.spent(HOUR_NS)


def test_a_handshake_is_kept_apart() -> None:
    plain, secure = awake_radio("tcp"), awake_radio("tls")
    for radio in (plain, secure):
        radio.connected(500 * MS)
    # Sent 12 and 0 bytes, each with 10 of headers and 2 ms; received 12 bytes likewise.
    assert plain.spent(HOUR_NS).handshake_uc == pytest.approx(10 * (24 + 12) + 4 * 13)
    assert plain.spent(HOUR_NS).transmit_uc == plain.spent(HOUR_NS).receive_uc == 0
    # TLS besides: 162 and 233 bytes sent in 2 and 3 frames, 394 received in 4.
    assert secure.spent(HOUR_NS).handshake_uc - plain.spent(HOUR_NS).handshake_uc == pytest.approx(
        10 * (162 + 233 + 5 * 12) + 4 * (197 + 4 * 7)
    )
    plain.connected(2 * HOUR_NS)
    assert plain.spent(3 * HOUR_NS).handshake_uc == pytest.approx(2 * 412)


def test_nothing_was_spent_before_it_was_told_anything() -> None:
    radio = new_radio("wifi_esp32_dtim3")
    radio.slept(HOUR_NS)
    assert radio.spent(2 * HOUR_NS) == Charge(basis="modelled")
    radio.sent(10, 10 * HOUR_NS)
    assert radio.spent(11 * HOUR_NS).elapsed_ns == HOUR_NS


def test_a_message_waits_for_a_thread_device_at_no_price_but_its_reception() -> None:
    sender, listener = new_radio("thread_sed_nrf5340"), new_radio("thread_sed_nrf5340")
    for radio in (sender, listener):
        radio.woke(0)
    before_uc = sender.spent(HOUR_NS).wake_uc
    sender.sent(40, HOUR_NS)
    listener.received(40, HOUR_NS)
    assert sender.spent(HOUR_NS).wake_uc == before_uc + 17.8
    assert listener.spent(HOUR_NS).wake_uc == before_uc
    assert listener.spent(HOUR_NS).receive_uc > 0


def test_mains_power_counts_nothing_and_says_so() -> None:
    radio = new_radio("mains")
    radio.connected(0)
    radio.sent(1_000_000, SECOND_NS)
    charge = radio.spent(HOUR_NS)
    assert charge.total_uc == 0
    assert charge.basis == "mains power, not counted"


EVENTS = st.lists(
    st.tuples(st.sampled_from(["sent", "received", "connected", "slept", "woke"]), st.integers(0, 20_000)), max_size=30
)


def drive(radio: Radio, events: list[tuple[str, int]], is_watched: bool = False) -> int:
    """Let all of it happen, each so many milliseconds after the one before; the time at the end."""
    now_ns = 0
    for event, after_ms in events:
        now_ns += after_ms * MS
        if event in ("sent", "received"):
            getattr(radio, event)(after_ms % 300, now_ns)
        else:
            getattr(radio, event)(now_ns)
        if is_watched:
            radio.spent(now_ns)
    return now_ns


@given(EVENTS)
def test_all_time_is_charged_once(events: list[tuple[str, int]]) -> None:
    flat = profile()
    steady = number(1_000_000)
    stages = tuple(
        Stage(name=stage.name, is_tail=stage.is_tail, current_ua=steady, lasts_ms=stage.lasts_ms)
        for stage in flat.stages
    )
    same = Profile(
        **{name: getattr(flat, name) for name in flat.__struct_fields__}
        | {
            "stages": stages,
            "off": Stage(name="off", current_ua=steady),
            "transmit_ua": steady,
            "receive_ua": steady,
        }
    )
    radio = Radio(same)
    end_ns = drive(radio, events) + HOUR_NS  # longer than anything can queue
    charge = radio.spent(end_ns)
    assert charge.total_uc == pytest.approx(charge.elapsed_ns / 1000)


@given(EVENTS)
def test_asking_changes_nothing(events: list[tuple[str, int]]) -> None:
    watched, unwatched = Radio(profile()), Radio(profile())
    end_ns = drive(watched, events, is_watched=True)
    drive(unwatched, events)
    assert watched.spent(end_ns + HOUR_NS) == unwatched.spent(end_ns + HOUR_NS)


@given(EVENTS)
def test_no_cause_ever_shrinks(events: list[tuple[str, int]]) -> None:
    radio = Radio(profile())
    before = radio.spent(0)
    for count in range(1, len(events) + 1):
        radio = Radio(profile())
        after = radio.spent(drive(radio, events[:count]))
        assert all(getattr(after, cause) >= getattr(before, cause) - 1e-6 for cause in CAUSES)
        before = after
