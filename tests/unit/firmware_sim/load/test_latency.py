"""Latency of a sample: the right send time for each receipt, however messages were grouped."""

from firmware_sim.load.latency import Latency


def test_a_small_run_samples_every_message() -> None:
    latency = Latency(publishers=2, deliveries=6)
    latency.publish(0, 0, 2, 1000)
    latency.publish(1, 0, 1, 3000)
    latency.publish(0, 2, 1, 5000)
    latency.receive(0, 1, 2, 9000)
    latency.receive(1, 0, 1, 9500)
    assert list(latency.samples) == [8000, 4000, 6500]


def test_a_large_run_samples_some_and_finds_them_again() -> None:
    latency = Latency(publishers=1, deliveries=1_000_000)
    assert latency.every % 2 == 1
    for first in range(0, 1000, 10):
        latency.publish(0, first, 10, first)
    for first in range(0, 1000, 25):
        latency.receive(0, first, 25, first + 100_000)
    sampled = range(0, 1000, latency.every)
    assert list(latency.samples) == [100_000 + number // 25 * 25 - number // 10 * 10 for number in sampled]


def test_percentiles() -> None:
    latency = Latency(publishers=1, deliveries=101)
    for number in range(101):
        latency.publish(0, number, 1, 0)
        latency.receive(0, number, 1, number * 1000)
    assert latency.percentiles_us(0, 50, 99, 100) == [0, 50, 99, 100]


def test_no_message_no_latency() -> None:
    assert Latency(publishers=1, deliveries=1).percentiles_us(50) == [0]
