"""A radio at work: told what its device sends and receives, it keeps count of the time in each of its stages.

Everything that happens is an event with a time. Between two events the radio goes down the stages of its profile by
itself, which is worked out at the second one; so a quiet radio costs nothing. Counts are integers of nanoseconds and
become charge only when somebody asks. A message is on the air for as long as its bytes take, at the current of sending
or receiving, and the stages begin after it; what is handed over while the air is busy queues. Polls are charged by time
(a period's share of a poll), not placed on a clock: the charge is right on average and independent of phase.

It knows no device, no protocol and no network: loss is whatever the sender repeats.
"""

from firmware_sim.energy.charge import SECOND_NS, Charge
from firmware_sim.energy.handshake import HANDSHAKES, Handshake
from firmware_sim.energy.parameter import Parameter
from firmware_sim.energy.profile import Profile, Stage

MILLISECOND_NS = 1_000_000
MICROSECOND_NS = 1_000
FOREVER_NS = 1 << 62


class Radio:
    """One radio of the kind `profile`, whose sessions begin with `handshake`.

    Times never go back. It begins, switched off, with the first thing it is told.
    """

    __slots__ = (
        "_began_ns",
        "_frame_bytes",
        "_handshake_received_ns",
        "_handshake_sent_ns",
        "_handshakes",
        "_is_off",
        "_lasts_ns",
        "_received_byte_ns",
        "_received_frame_ns",
        "_received_ns",
        "_sent_byte_ns",
        "_sent_frame_ns",
        "_sent_ns",
        "_since_ns",
        "_stage_ns",
        "_stages",
        "_wake_to_receive_uc",
        "_wake_to_send_uc",
        "_wake_uc",
        "profile",
    )

    def __init__(self, profile: Profile, handshake: Handshake = HANDSHAKES["tcp"]) -> None:
        self.profile = profile
        self._frame_bytes = int(profile.frame_payload_bytes.value)
        gap_ns = profile.frame_gap_us.value * MICROSECOND_NS
        overhead_bytes = profile.frame_overhead_bytes.value
        self._sent_byte_ns = round(8 * SECOND_NS / profile.uplink_bit_per_s.value)
        self._sent_frame_ns = round(overhead_bytes * self._sent_byte_ns + gap_ns)
        self._received_byte_ns = round(8 * SECOND_NS / profile.downlink_bit_per_s.value)
        self._received_frame_ns = round(overhead_bytes * self._received_byte_ns + gap_ns)
        self._handshake_sent_ns = sum(
            self._on_air_ns(size, self._sent_frame_ns, self._sent_byte_ns) for size in handshake.sent_bytes
        )
        self._handshake_received_ns = sum(
            self._on_air_ns(size, self._received_frame_ns, self._received_byte_ns) for size in handshake.received_bytes
        )
        # The last of the stages here is the one while the device sleeps; where there is none, the radio's own rest.
        # Nothing finds a radio there: whatever it does next begins with what it takes to send.
        off = profile.off or profile.stages[-1]
        self._stages = (*profile.stages, off)
        self._lasts_ns = [
            round(stage.lasts_ms.value * MILLISECOND_NS) if stage.lasts_ms else FOREVER_NS for stage in profile.stages
        ]
        self._wake_to_send_uc = [_value(stage.wake_to_send_uc) for stage in self._stages]
        self._wake_to_receive_uc = [_value(stage.wake_to_receive_uc) for stage in profile.stages]
        self._wake_to_receive_uc.append(_value(off.wake_to_send_uc))
        self._stage_ns = [0] * len(self._stages)
        self._wake_uc = 0.0
        self._sent_ns = self._received_ns = 0
        self._handshakes = 0
        self._began_ns: int | None = None
        self._since_ns = 0
        self._is_off = True

    def connected(self, now_ns: int) -> None:
        """A session was set up."""
        self._rouse(now_ns, self._wake_to_send_uc)
        self._handshakes += 1
        self._since_ns += self._handshake_sent_ns + self._handshake_received_ns

    def sent(self, size_bytes: int, now_ns: int) -> None:
        """So many bytes left, without the headers of transport, IP and link."""
        self._rouse(now_ns, self._wake_to_send_uc)
        on_air_ns = self._on_air_ns(size_bytes, self._sent_frame_ns, self._sent_byte_ns)
        self._sent_ns += on_air_ns
        self._since_ns += on_air_ns

    def received(self, size_bytes: int, now_ns: int) -> None:
        """So many bytes came, counted as those that leave."""
        self._rouse(now_ns, self._wake_to_receive_uc)
        on_air_ns = self._on_air_ns(size_bytes, self._received_frame_ns, self._received_byte_ns)
        self._received_ns += on_air_ns
        self._since_ns += on_air_ns

    def woke(self, now_ns: int) -> None:
        """The device is awake, and its radio with it: something is sent that counts for nothing else."""
        if self._is_off:
            self._rouse(now_ns, self._wake_to_send_uc)

    def slept(self, now_ns: int) -> None:
        """The device sleeps. What it handed over is sent before; a radio that sleeps by itself does what it does."""
        if self.profile.off is not None and not self._is_off:
            self._pass(now_ns, self._stage_ns)
            self._since_ns = max(self._since_ns, now_ns)
            self._is_off = True

    def spent(self, now_ns: int) -> Charge:
        """Everything until now, with all of what was handed over."""
        if self._began_ns is None:
            return Charge(basis=self.profile.basis)
        stage_ns = list(self._stage_ns)
        self._pass(now_ns, stage_ns)
        rest_uc = tail_uc = poll_uc = 0.0
        for stage, duration_ns in zip(self._stages, stage_ns, strict=True):
            current_uc = stage.current_ua.value * duration_ns / SECOND_NS
            if stage.is_tail:
                tail_uc += current_uc
            else:
                rest_uc += current_uc
            poll_uc += _polls_uc(stage, duration_ns)
        transmit_ua, receive_ua = self.profile.transmit_ua.value, self.profile.receive_ua.value
        handshake_uc_ns = self._handshake_sent_ns * transmit_ua + self._handshake_received_ns * receive_ua
        return Charge(
            basis=self.profile.basis,
            elapsed_ns=now_ns - self._began_ns,
            supply_v=self.profile.supply_v.value,
            rest_uc=rest_uc,
            poll_uc=poll_uc,
            wake_uc=self._wake_uc,
            transmit_uc=self._sent_ns * transmit_ua / SECOND_NS,
            receive_uc=self._received_ns * receive_ua / SECOND_NS,
            tail_uc=tail_uc,
            handshake_uc=self._handshakes * handshake_uc_ns / SECOND_NS,
        )

    def _on_air_ns(self, size_bytes: int, frame_ns: int, byte_ns: int) -> int:
        if size_bytes <= self._frame_bytes:
            return frame_ns + size_bytes * byte_ns
        return -(-size_bytes // self._frame_bytes) * frame_ns + size_bytes * byte_ns

    def _rouse(self, now_ns: int, wake_uc: list[float]) -> None:
        """Count the time since the last event, and what it takes to come back from where that led."""
        quiet_ns = now_ns - self._since_ns
        if 0 < quiet_ns <= self._lasts_ns[0] and not self._is_off:
            self._stage_ns[0] += quiet_ns
            self._wake_uc += wake_uc[0]
            self._since_ns = now_ns
        elif quiet_ns > 0 or self._is_off:
            if self._began_ns is None:
                self._began_ns = self._since_ns = now_ns
            self._wake_uc += wake_uc[self._pass(now_ns, self._stage_ns)]
            self._since_ns = max(self._since_ns, now_ns)
            self._is_off = False

    def _pass(self, now_ns: int, stage_ns: list[int]) -> int:
        """Count the time since the last event in `stage_ns`; the stage at its end."""
        left_ns = max(0, now_ns - self._since_ns)
        if self._is_off:
            stage_ns[-1] += left_ns
            return len(stage_ns) - 1
        stage = 0
        while left_ns > self._lasts_ns[stage]:
            stage_ns[stage] += self._lasts_ns[stage]
            left_ns -= self._lasts_ns[stage]
            stage += 1
        stage_ns[stage] += left_ns
        return stage


def _value(parameter: Parameter | None) -> float:
    return parameter.value if parameter else 0.0


def _polls_uc(stage: Stage, duration_ns: int) -> float:
    return sum(poll.charge_uc.value * duration_ns / (poll.every_ms.value * MILLISECOND_NS) for poll in stage.polls)
