"""Noise on a line: the share that was asked, other bytes than before, the same for one seed."""

from random import Random

from firmware_sim.links.noise import Noise

ZEROS = bytes(20_000)


def test_damage_changes_bytes_and_no_length() -> None:
    arrived = Noise(Random(1), damaged=0.05).disturb(ZEROS)
    assert len(arrived) == len(ZEROS)
    assert abs(sum(map(bool, arrived)) - 1000) <= 93, "three sigma"


def test_insertion_adds_and_keeps_the_rest() -> None:
    sent = bytes(range(256)) * 80
    arrived = Noise(Random(1), inserted=0.05).disturb(sent)
    assert abs(len(arrived) - len(sent) - 1024) <= 94, "three sigma"
    rest = iter(arrived)
    assert all(byte in rest for byte in sent), "what was sent is still there, in order"


def test_one_seed_one_damage_however_the_bytes_are_cut() -> None:
    whole = Noise(Random(1), 0.05, 0.05).disturb(ZEROS)
    noise = Noise(Random(1), 0.05, 0.05)
    assert b"".join(noise.disturb(ZEROS[start : start + 7]) for start in range(0, len(ZEROS), 7)) == whole
    assert Noise(Random(2), 0.05, 0.05).disturb(ZEROS) != whole
